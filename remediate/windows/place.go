package windows

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

// resolve turns a path of a playbook into one of Files.
func (r *run) resolve(path string) (string, error) {
	full := path
	for _, found := range variable.FindAllStringSubmatch(path, -1) {
		value := r.System.Variable(found[1])
		if r.request.Root != "" {
			value = OfflineVariable(found[1])
		}
		if value == "" || strings.Contains(value, "%") {
			return "", fmt.Errorf("unknown variable in path '%s'", path)
		}
		full = strings.ReplaceAll(full, found[0], value)
	}
	if slices.Contains(strings.FieldsFunc(full, func(c rune) bool { return c == '\\' || c == '/' }), "..") {
		return "", fmt.Errorf("path climbs: '%s'", path)
	}
	if !drive.MatchString(full) {
		return "", fmt.Errorf("not a full path: '%s'", path)
	}
	if r.request.Root == "" {
		return r.onSystemDrive(full), nil
	}
	if full[0] != 'C' && full[0] != 'c' {
		return "", fmt.Errorf("path outside C: '%s'", path)
	}
	return join(r.request.Root, full[3:]), nil
}

var systemFolder = lazyregexp.New(`(?i)^C:\\(Windows|Program Files|Program Files \(x86\)|ProgramData|Users)\\`)

// onSystemDrive: where Windows is on another drive, the folders of Windows on C: are those of that drive.
func (r *run) onSystemDrive(full string) string {
	drive := fold(r.System.Variable("SystemDrive"))
	if len(drive) == 2 && drive != "C:" && systemFolder.MatchString(full) {
		return drive + full[2:]
	}
	return full
}

// paths gives a playbook's path with its variables expanded, in the words of the running system, and where it is here.
func (r *run) paths(path string) (words, place string, err error) {
	place, err = r.resolve(path)
	if err != nil || r.request.Root == "" {
		return place, place, err
	}
	return `C:\` + strings.TrimPrefix(place, strings.TrimRight(r.request.Root, `\`)+`\`), place, nil
}

// place tells where a path of a record is here. It has no variables any more: a % in it belongs to a name.
func (r *run) place(words string) string {
	if r.request.Root == "" || len(words) < 3 {
		return words
	}
	return join(r.request.Root, words[3:])
}

// OfflineVariable is what an environment variable of the system says on an installation that does not run.
func OfflineVariable(name string) string {
	switch strings.ToLower(name) {
	case "systemdrive":
		return "C:"
	case "systemroot", "windir":
		return `C:\Windows`
	case "programdata", "allusersprofile":
		return `C:\ProgramData`
	case "programfiles", "programw6432":
		return `C:\Program Files`
	case "programfiles(x86)":
		return `C:\Program Files (x86)`
	case "public":
		return `C:\Users\Public`
	}
	return ""
}

// exists reports whether anything is there.
func (r *run) exists(path string) (bool, error) {
	kind, err := r.Files.Look(path)
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", path, err)
	}
	return kind != Nothing, nil
}

func (r *run) tool(name string, args ...string) ([]string, int, error) {
	if r.Tools == nil || r.request.Root != "" {
		return nil, 0, fmt.Errorf("not possible on an offline installation: %s", name)
	}
	ctx, cancel := context.WithTimeout(r.ctx, toolTime)
	defer cancel()
	output, exit, err := r.Tools.Run(ctx, name, args...)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && r.ctx.Err() == nil {
		return output, exit, fmt.Errorf("%s %s did not end within a minute and was stopped: %s", name, strings.Join(args, " "), strings.Join(output, " "))
	}
	return output, exit, err
}

// toolTime is how long one of Windows' tools may take.
const toolTime = time.Minute

// mustTool is tool with an exit code of 0.
func (r *run) mustTool(name string, args ...string) ([]string, error) {
	output, exit, err := r.tool(name, args...)
	if err != nil {
		return nil, err
	}
	if exit != 0 {
		return nil, fmt.Errorf("%s %s ended with %d: %s", name, strings.Join(args, " "), exit, strings.Join(output, " "))
	}
	return output, nil
}

// join puts path parts together with backslashes.
func join(parts ...string) string {
	for i := range parts[:len(parts)-1] {
		parts[i] = strings.TrimRight(parts[i], `\`)
	}
	return strings.Join(parts, `\`)
}

// bound keeps a text within what a result carries.
func bound(text string) string {
	const most = 2000
	runes := []rune(strings.ToValidUTF8(text, "\uFFFD"))
	if len(runes) <= most {
		return string(runes)
	}
	return string(runes[:most])
}

func upperHex(raw []byte) string { return strings.ToUpper(hex.EncodeToString(raw)) }
