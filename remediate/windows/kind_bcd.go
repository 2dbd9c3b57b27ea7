package windows

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

var bcdKind = stepKind{
	name:   "bcd",
	target: func(a playbook.Action) string { return a.BCD.Delete + a.BCD.Set },
	ahead:  func(r *run, _ playbook.Action) error { return r.needBoot() },
	act:    func(r *run, a playbook.Action, done *agent.StepDone) error { return r.changeBCD(*a.BCD, done) },
}

var bcdChange = changeKind{
	name: "bcd",
	undo: func(r *run, _ int, u undoRecord) (bool, error) { return r.restoreBCD(u) },
	back: func(r *run, u undoRecord) (bool, error) {
		entry, err := r.bootEntry()
		return entry.is(u.Name, u.Old), err
	},
}

// Made for safe mode: see safeMode.
var keyChange = changeKind{name: "key", undo: func(r *run, _ int, u undoRecord) (bool, error) { return r.removeKey(u) }}

var bcdTest = testKind{
	name:  "bcd",
	words: func(c playbook.Condition) string { return "bcd " + c.BCD },
	holds: (*run).bcdHolds,
}

// bootEntry is a boot entry as bcdedit.exe shows it.
type bootEntry struct {
	name  string // {current} or {default}
	lines []string
}

// bootEntry reads the boot entry of the Windows under repair. {default} is what the boot menu starts, which may be another
// Windows: where a Windows runs, it is taken only if {current} is not answered and {default} names this Windows' drive.
func (r *run) bootEntry() (bootEntry, error) {
	const current, other = "{current}", "{default}"
	if r.BootEntry != "" {
		lines, exit, err := r.tool("bcdedit.exe", "/enum", r.BootEntry, "/v")
		if err == nil && (exit != 0 || !namesEntry(lines)) {
			err = unread{r.BootEntry, exit, lines}
		}
		return bootEntry{r.BootEntry, lines}, err
	}
	lines, exit, err := r.tool("bcdedit.exe", "/enum", current, "/v")
	if err != nil || exit == 0 && namesEntry(lines) {
		return bootEntry{current, lines}, err
	}
	drive := r.System.Variable("SystemDrive")
	if drive == "" {
		drive = "C:"
	}
	more, code, err := r.tool("bcdedit.exe", "/enum", other, "/v")
	if err == nil && code == 0 {
		own := lazyregexp.New(`(?i)^device\s+partition=` + regexp.QuoteMeta(drive) + `\s*$`)
		for _, line := range more {
			if own.MatchString(line) {
				return bootEntry{other, more}, nil
			}
		}
	}
	return bootEntry{}, unread{current, exit, lines}
}

var entryName = lazyregexp.New(`\S\s+\{[^{}]+\}\s*$`)

// namesEntry: a listing names its entry, {a GUID}, before anything else. One that does not is no answer, whatever its exit
// code, and says of no element that it is not set.
func namesEntry(lines []string) bool { return slices.ContainsFunc(lines, entryName.MatchString) }

// unread is a boot configuration that bcdedit.exe cannot read.
type unread struct {
	entry string
	exit  int
	lines []string
}

func (u unread) Error() string {
	return fmt.Sprintf("the boot configuration could not be read: bcdedit.exe /enum %s /v ended with %d: %s", u.entry, u.exit, strings.Join(u.lines, " "))
}

// element returns an element: nil where it is not set.
func (b bootEntry) element(name string) *string {
	for _, line := range b.lines {
		head, rest, ok := strings.Cut(line, " ")
		if value := strings.TrimSpace(rest); ok && fold(head) == fold(name) && value != "" {
			return &value
		}
	}
	return nil
}

// is reports whether an element is as a record says: nil is not set.
func (b bootEntry) is(name string, d *data) bool {
	now := b.element(name)
	if now == nil || d == nil {
		return now == nil && d == nil
	}
	return sameElement(*now, strings.Join(unguard(d.Data), ""))
}

// sameElement: bcdedit takes on and off and shows Yes and No.
func sameElement(now, want string) bool {
	first, second := elementWord(now), elementWord(want)
	if first == "ON" || first == "OFF" {
		second = strings.ReplaceAll(strings.ReplaceAll(second, "1", "ON"), "0", "OFF")
	}
	return first == second
}

func elementWord(value string) string {
	word := fold(value)
	if known, ok := map[string]string{"YES": "ON", "TRUE": "ON", "NO": "OFF", "FALSE": "OFF"}[word]; ok {
		return known
	}
	return word
}

func (r *run) needBoot() error {
	if r.Tools == nil || r.request.Root != "" {
		return errors.New("not possible on an offline installation: bcdedit.exe")
	}
	return nil
}

func (r *run) changeBCD(c playbook.BCDChange, done *agent.StepDone) error {
	name := c.Delete + c.Set
	if err := r.needBoot(); err != nil {
		return err
	}
	entry, err := r.bootEntry()
	if err != nil {
		// What cannot be looked at cannot be set. To delete what is set on few machines is no reason to leave the rest
		// undone: verify decides.
		if c.Delete == "" || !errors.As(err, new(unread)) {
			return err
		}
		done.Note = bound(err.Error())
		r.remarks = append(r.remarks, done.Note)
		return nil
	}
	now := entry.element(name)
	if c.Delete != "" && now == nil || c.Delete == "" && now != nil && sameElement(*now, c.Value) {
		return nil
	}
	if c.Delete == "" && fold(name) == "SAFEBOOT" && fold(c.Value) == "NETWORK" && r.BootEntry == "" {
		if err := r.safeMode("WinRM", 0); err != nil {
			return err
		}
	}
	u := undoRecord{Action: "bcd", Target: name, Name: name, Entry: entry.name}
	if now != nil {
		u.Old = &data{Type: "bcd", Data: guard([]string{*now})}
	}
	if c.Delete == "" {
		u.New = &data{Type: "bcd", Data: guard([]string{c.Value})}
	}
	if err := r.record(u); err != nil {
		return err
	}
	return r.setElement(entry.name, name, u.New)
}

func (r *run) setElement(entry, name string, d *data) error {
	if d == nil {
		_, err := r.mustTool("bcdedit.exe", "/deletevalue", entry, name)
		return err
	}
	value := strings.Join(unguard(d.Data), "")
	if word := fold(value); word == "YES" || word == "NO" {
		value = strings.ToLower(elementWord(value))
	}
	_, err := r.mustTool("bcdedit.exe", "/set", entry, name, value)
	return err
}

func (r *run) restoreBCD(u undoRecord) (bool, error) {
	entry, err := r.bootEntry()
	if err != nil || entry.is(u.Name, u.Old) {
		return false, err
	}
	if !entry.is(u.Name, u.New) {
		return false, fmt.Errorf("will not overwrite the boot element %s: it was changed since", u.Name)
	}
	if err := r.setElement(entry.name, u.Name, u.Old); err != nil {
		return false, err
	}
	if entry, err = r.bootEntry(); err != nil || !entry.is(u.Name, u.Old) {
		return false, cmpErr(err, fmt.Errorf("the boot element %s is not as it was after it was set back", u.Name))
	}
	return true, nil
}

// safeMode lets a service, and what it needs, start in safe mode with network, where only what stands below SafeBoot\Network
// starts: the service by which the machine is reached is put there before the way back is needed.
func (r *run) safeMode(service string, depth int) error {
	if err := r.needRegistry(); err != nil {
		return err
	}
	key, own := `HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\SafeBoot\Network\`+service, servicesKey+`\`+service
	there, err := r.Registry.HasKey(own)
	if err != nil || !there && depth > 0 {
		return err
	}
	if !there {
		return fmt.Errorf("no service '%s': in safe mode nobody would reach this machine", service)
	}
	needs, err := r.value(own, "DependOnService")
	if err != nil {
		return err
	}
	if needs != nil && depth < 5 {
		for _, one := range unguard(needs.Data) {
			if one == "" {
				continue
			}
			if err := r.safeMode(one, depth+1); err != nil {
				return err
			}
		}
	}
	if there, err = r.Registry.HasKey(key); err != nil {
		return err
	}
	word := &data{Type: "string", Data: []string{"=Service"}}
	if there {
		// A request that was ended may have made it, and no more.
		_, ours := r.counted[countKey(r.step, key)]
		if now, err := r.value(key, ""); err != nil || !ours || now != nil {
			return err
		}
		return r.setValue(key, "", word)
	}
	keys, ok := r.Registry.(Keys)
	if !ok {
		return errors.New("registry keys cannot be made here")
	}
	if err := r.record(undoRecord{Action: "key", Target: key, Key: key}); err != nil {
		return err
	}
	if err := keys.MakeKey(key); err != nil {
		return fmt.Errorf("make key %s: %w", key, err)
	}
	return r.setValue(key, "", word)
}

// removeKey takes a key out that was made for safe mode, unless somebody put more into it.
func (r *run) removeKey(u undoRecord) (bool, error) {
	there, err := r.Registry.HasKey(u.Key)
	if err != nil || !there {
		return false, err
	}
	now, err := r.value(u.Key, "")
	if err != nil {
		return false, err
	}
	keys, ok := r.Registry.(Keys)
	if !ok || now != nil && !now.equal(&data{Type: "string", Data: []string{"=Service"}}) {
		return false, fmt.Errorf("will not remove %s: it was changed since", u.Key)
	}
	if err := keys.RemoveKey(u.Key); err != nil {
		return false, fmt.Errorf("remove key %s: %w", u.Key, err)
	}
	return true, nil
}

func (r *run) bcdHolds(c playbook.Condition) (bool, error) {
	entry, err := r.bootEntry()
	if err != nil {
		return false, err
	}
	now := entry.element(c.BCD)
	if c.Equals != nil {
		_, texts, ok := wanted(c.Equals)
		return ok && now != nil && len(texts) == 1 && sameElement(*now, texts[0]), nil
	}
	return (now != nil) == (c.Present == nil || *c.Present), nil
}
