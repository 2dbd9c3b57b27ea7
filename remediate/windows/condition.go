package windows

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// all reports whether every condition holds, and else which one does not.
func (r *run) all(conditions []playbook.Condition) (ok bool, words string, err error) {
	for _, c := range conditions {
		if err := r.ctx.Err(); err != nil {
			return false, "", fmt.Errorf("stopped: %w", err)
		}
		ok, words, err := r.holds(c)
		if err != nil || !ok {
			return false, words, err
		}
	}
	return true, "", nil
}

func (r *run) holds(c playbook.Condition) (ok bool, words string, err error) {
	switch {
	case c.File != "":
		found, err := r.find(c.File, c.FileTest)
		return len(found) > 0, "file " + c.File, err
	case c.NoFile != "":
		found, err := r.find(c.NoFile, c.FileTest)
		return len(found) == 0, "no-file " + c.NoFile, err
	case c.Registry != "":
		ok, err := r.registryHolds(c)
		return ok, "registry " + c.Registry + " " + c.Name, err
	case c.Service != "":
		ok, err := r.serviceHolds(c.Service, c, true)
		return ok, "service " + c.Service, err
	case c.Driver != "":
		ok, err := r.serviceHolds(c.Driver, c, false)
		return ok, "driver " + c.Driver, err
	case c.BCD != "":
		ok, err := r.bcdHolds(c)
		return ok, "bcd " + c.BCD, err
	case c.OS != nil:
		ok, err := r.osHolds(*c.OS)
		return ok, "os", err
	case c.Script != nil:
		_, exit, err := r.script(c.Script.Shell, c.Script.Body, c.Script.Args, c.Script.Timeout)
		want := 0
		if c.ExitCode != nil {
			want = *c.ExitCode
		}
		return exit == want, "script", err
	}
	return false, "", errors.New("unknown condition")
}

// found is one file that matched: its path in the words of the playbook, and where it is.
type found struct {
	FileInfo
	path, place string
}

// find returns the files that match a pattern and its test. A folder that is not there has no files.
func (r *run) find(pattern string, test playbook.FileTest) ([]found, error) {
	words, _, err := r.paths(pattern)
	if err != nil {
		return nil, err
	}
	folder, name := splitPath(words)
	if strings.ContainsAny(folder, "*?") {
		return nil, fmt.Errorf("wildcards only in the last part: '%s'", pattern)
	}
	_, place, err := r.paths(folder + `\-`)
	if err != nil {
		return nil, err
	}
	place, _ = splitPath(place)
	list, err := r.Files.List(place)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", place, err)
	}
	var all []found
	for _, info := range list {
		if !match(name, info.Name) {
			continue
		}
		f := found{info, join(folder, info.Name), join(place, info.Name)}
		ok, err := r.fileHolds(f, test)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, f)
		}
	}
	return all, nil
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

func (r *run) fileHolds(f found, test playbook.FileTest) (bool, error) {
	if w := test.Modified; w != nil {
		if !w.After.IsZero() && f.Modified.Before(w.After) || !w.Before.IsZero() && !f.Modified.Before(w.Before) {
			return false, nil
		}
	}
	if test.Header != "" {
		head, err := r.head(f.place, len(test.Header)/2)
		if err != nil || !strings.EqualFold(head, test.Header) {
			return false, err
		}
	}
	if test.SHA256 != "" {
		sum, err := r.sum(f.place)
		if err != nil || !strings.EqualFold(sum, test.SHA256) {
			return false, err
		}
	}
	return true, nil
}

// head returns the first bytes in hex, or "" where the file is shorter.
func (r *run) head(place string, count int) (string, error) {
	f, err := r.Files.Open(place)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", place, err)
	}
	defer func() { _ = f.Close() }()
	raw := make([]byte, count)
	if _, err := io.ReadFull(f, raw); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return "", nil
		}
		return "", fmt.Errorf("read %s: %w", place, err)
	}
	return upperHex(raw), nil
}

// sum returns a file's SHA-256 in upper-case hex.
func (r *run) sum(place string) (string, error) {
	f, err := r.Files.Open(place)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", place, err)
	}
	defer func() { _ = f.Close() }()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", fmt.Errorf("read %s: %w", place, err)
	}
	return upperHex(hash.Sum(nil)), nil
}

// match compares a name with a pattern of * and ?, without regard to case. A character is what Windows takes for one: a
// UTF-16 unit, so an emoji is two.
func match(pattern, name string) bool {
	p, n := foldUnits(pattern), foldUnits(name)
	star, mark, i, j := -1, 0, 0, 0
	for j < len(n) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == n[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

func foldUnits(text string) []uint16 {
	runes := []rune(text)
	for i, c := range runes {
		runes[i] = unicode.ToUpper(c)
	}
	return utf16.Encode(runes)
}

func (r *run) registryHolds(c playbook.Condition) (bool, error) {
	now, err := r.value(c.Registry, c.Name)
	if err != nil {
		return false, err
	}
	if c.Equals != nil {
		return now != nil && equals(now, c.Equals), nil
	}
	return (now != nil) == (c.Present == nil || *c.Present), nil
}

// equals compares a value with what a playbook says; the kinds must fit.
func equals(now *data, want any) bool {
	kind, texts, ok := wanted(want)
	if !ok {
		return false
	}
	switch now.Type {
	case "dword", "qword":
		return kind == "number" && now.Data[0][1:] == texts[0]
	case "string", "expand-string", "binary":
		return kind == "text" && fold(now.Data[0][1:]) == fold(texts[0])
	case "multi-string":
		if kind != "list" || len(texts) != len(now.Data) {
			return false
		}
		for i, text := range texts {
			if fold(now.Data[i][1:]) != fold(text) {
				return false
			}
		}
		return true
	}
	return false
}

func (r *run) serviceHolds(name string, c playbook.Condition, service bool) (bool, error) {
	key := servicesKey + `\` + name
	if err := r.needRegistry(); err != nil {
		return false, err
	}
	there, err := r.Registry.HasKey(key)
	if err != nil {
		return false, fmt.Errorf("look for service %q: %w", name, err)
	}
	if c.Present != nil && *c.Present != there {
		return false, nil
	}
	if !there {
		return c.Present != nil && c.Start == "" && c.State == "", nil
	}
	if c.Start != "" {
		number, err := startNumber(c.Start)
		if err != nil {
			return false, err
		}
		now, err := r.value(key, "Start")
		if err != nil || now == nil || len(now.Data) == 0 || now.Data[0] != "="+strconv.Itoa(number) {
			return false, err
		}
	}
	switch {
	case c.State == "":
		return true, nil
	case !service:
		return false, errors.New("a driver has no state")
	case c.State != "running" && c.State != "stopped":
		return false, fmt.Errorf("unknown state '%s'", c.State)
	}
	if err := r.needServices(); err != nil {
		return false, err
	}
	running, ok, err := r.Services.Running(name)
	return ok && running == (c.State == "running"), err
}

func startNumber(start playbook.StartType) (int, error) {
	for n, s := range []playbook.StartType{playbook.StartBoot, playbook.StartSystem, playbook.StartAuto, playbook.StartManual, playbook.StartDisabled} {
		if s == start {
			return n, nil
		}
	}
	return 0, fmt.Errorf("unknown start type '%s'", start)
}

func (r *run) bcdHolds(c playbook.Condition) (bool, error) {
	now, err := r.bcd(c.BCD)
	if err != nil {
		return false, err
	}
	if c.Equals != nil {
		_, texts, ok := wanted(c.Equals)
		return ok && now != nil && len(texts) == 1 && fold(*now) == fold(texts[0]), nil
	}
	return (now != nil) == (c.Present == nil || *c.Present), nil
}

// bcd reads an element of the boot entry {default}: nil where it is not set.
func (r *run) bcd(name string) (*string, error) {
	output, err := r.mustTool("bcdedit.exe", "/enum", "{default}", "/v")
	if err != nil {
		return nil, err
	}
	for _, line := range output {
		head, rest, ok := strings.Cut(line, " ")
		if value := strings.TrimSpace(rest); ok && fold(head) == fold(name) && value != "" {
			return &value, nil
		}
	}
	return nil, nil
}

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

func (r *run) osHolds(want playbook.OSTest) (bool, error) {
	if r.request.Root != "" {
		return false, errors.New("not possible on an offline installation: os")
	}
	build, err := r.System.Build()
	if err != nil {
		return false, fmt.Errorf("the build number is unknown: %w", err)
	}
	return (want.MinBuild == 0 || build >= want.MinBuild) && (want.MaxBuild == 0 || build <= want.MaxBuild), nil
}

// script runs a body within its time.
func (r *run) script(shell, body string, args []string, seconds int) (output string, exit int, err error) {
	if shell != "powershell" && shell != "cmd" {
		return "", 0, fmt.Errorf("unknown shell '%s'", shell)
	}
	if r.Tools == nil || r.request.Root != "" {
		return "", 0, errors.New("not possible on an offline installation: script")
	}
	if seconds <= 0 {
		seconds = 300
	}
	ctx, cancel := context.WithTimeout(r.ctx, time.Duration(seconds)*time.Second)
	defer cancel()
	output, exit, err = r.Tools.Script(ctx, shell, body, args)
	if errors.Is(err, context.DeadlineExceeded) && r.ctx.Err() == nil {
		return output, exit, fmt.Errorf("script was stopped after %d seconds: %s", seconds, bound(output))
	}
	if err != nil {
		return output, exit, fmt.Errorf("run script: %w", err)
	}
	return output, exit, nil
}
