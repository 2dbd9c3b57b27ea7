package runs

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWhereLogindEndsRunners(t *testing.T) {
	const session = "0::/user.slice/user-1000.slice/session-7.scope\n"
	const yes = "[Login]\nKillUserProcesses=yes\n"
	for _, c := range []struct {
		name, who string
		files     map[string]string
		ends      bool
	}{
		{"told so", "ada", map[string]string{"proc/self/cgroup": session, "etc/systemd/logind.conf": yes}, true},
		{"root is spared", "root", map[string]string{"proc/self/cgroup": session, "etc/systemd/logind.conf": yes}, false},
		{"root is not spared", "root", map[string]string{"proc/self/cgroup": session, "etc/systemd/logind.conf": yes + "KillExcludeUsers=\n"}, true},
		{"others only", "ada", map[string]string{"proc/self/cgroup": session, "etc/systemd/logind.conf": yes + "KillOnlyUsers=eve kim\n"}, false},
		{"ada too", "ada", map[string]string{"proc/self/cgroup": session, "etc/systemd/logind.conf": yes + "KillOnlyUsers=eve ada\n"}, true},
		{"no session", "ada", map[string]string{"proc/self/cgroup": "0::/system.slice/cron.service\n", "etc/systemd/logind.conf": yes}, false},
		{"a comment", "ada", map[string]string{"proc/self/cgroup": session, "etc/systemd/logind.conf": "[Login]\n#KillUserProcesses=yes\n"}, false},
		{"another section", "ada", map[string]string{"proc/self/cgroup": session, "etc/systemd/logind.conf": "[Other]\nKillUserProcesses=yes\n"}, false},
		{"the file beside it", "ada", map[string]string{"proc/self/cgroup": session, "etc/systemd/logind.conf": yes, "usr/lib/systemd/logind.conf.d/50-no.conf": "[Login]\nKillUserProcesses = no\n"}, false},
		{"the administrator's of one name", "ada", map[string]string{"proc/self/cgroup": session, "usr/lib/systemd/logind.conf.d/50.conf": "[Login]\nKillUserProcesses=no\n", "etc/systemd/logind.conf.d/50.conf": yes}, true},
		{"the last name", "ada", map[string]string{"proc/self/cgroup": session, "usr/lib/systemd/logind.conf.d/60.conf": "[Login]\nKillUserProcesses=no\n", "etc/systemd/logind.conf.d/50.conf": yes}, false},
		{"nothing there", "ada", nil, false},
	} {
		root := t.TempDir()
		for name, text := range c.files {
			path := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := endsAtLogoff(root, c.who); (got != "") != c.ends {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}
