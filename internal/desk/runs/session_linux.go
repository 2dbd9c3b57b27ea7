package runs

import (
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
)

// EndsAtLogoff says why a runner that is started here ends when its operator logs off; empty: it does not. systemd-logind ends all
// processes of a session where it was told so (logind.conf(5), KillUserProcesses), also those that have left their terminal.
func EndsAtLogoff() string {
	who, err := user.Current()
	if err != nil {
		return ""
	}
	return endsAtLogoff("/", who.Username)
}

func endsAtLogoff(root, who string) string {
	cgroup, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil || !strings.Contains(string(cgroup), "/session-") || !strings.Contains(string(cgroup), ".scope") {
		return "" // no session of logind: a service, a container
	}
	login := loginSettings(root)
	switch strings.ToLower(login["KillUserProcesses"]) {
	case "yes", "true", "on", "1", "y", "t":
	default:
		return ""
	}
	only, spared := strings.Fields(login["KillOnlyUsers"]), []string{"root"}
	if text, said := login["KillExcludeUsers"]; said {
		spared = strings.Fields(text)
	}
	if len(only) > 0 && !slices.Contains(only, who) || slices.Contains(spared, who) {
		return ""
	}
	return "systemd-logind ends every process of a session when its user logs off (KillUserProcesses), runners too"
}

// OutlivesLogoff is what to do about it.
const OutlivesLogoff = "begin the session in one that stays: `loginctl enable-linger`, then `systemd-run --user --scope tmux`, and work in there; or set KillUserProcesses=no in logind.conf"

// loginSettings are the settings of logind: its own file, then the files beside it by their names, those of the administrator before
// those of the vendor of one name.
func loginSettings(root string) map[string]string {
	var files []string
	for _, dir := range []string{"usr/lib/systemd", "run/systemd", "etc/systemd"} {
		if file := filepath.Join(root, dir, "logind.conf"); exists(file) {
			files = []string{file}
		}
	}
	beside := map[string]string{} // by name
	for _, dir := range []string{"usr/lib/systemd", "run/systemd", "etc/systemd"} {
		found, _ := filepath.Glob(filepath.Join(root, dir, "logind.conf.d/*.conf")) //nolint:errcheck // the pattern is right
		for _, file := range found {
			beside[filepath.Base(file)] = file
		}
	}
	for _, name := range slices.Sorted(maps.Keys(beside)) {
		files = append(files, beside[name])
	}
	set := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		section := ""
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "[") {
				section = line
			}
			if key, value, ok := strings.Cut(line, "="); ok && section == "[Login]" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ";") {
				set[strings.TrimSpace(key)] = strings.TrimSpace(value)
			}
		}
	}
	return set
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
