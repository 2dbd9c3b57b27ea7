package windows

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// What a folder of this computer is to an offline Windows: drive C alone, names in any case, no way out, and only files where files
// are asked for.
func TestAFolderIsDriveC(t *testing.T) {
	root := t.TempDir()
	f, err := OpenFolder(root)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "Data", "Sub"), 0o700), os.WriteFile(filepath.Join(root, "Data", "B.sys"), []byte("b"), 0o600), os.WriteFile(filepath.Join(root, "Data", "a.sys"), []byte("aa"), 0o600),
		os.Symlink("B.sys", filepath.Join(root, "Data", "c.sys"))); err != nil {
		t.Skip("no links here: ", err)
	}
	list, err := f.List(`c:\DATA\`)
	if err != nil || len(list) != 2 || list[0].Name != "B.sys" || list[1].Name != "a.sys" || list[1].Size != 2 || list[1].Modified.Location() != time.UTC {
		t.Errorf("%+v %v", list, err)
	}
	for path, want := range map[string]Kind{`C:`: Directory, `c:\`: Directory, `C:\data`: Directory, `C:\Data\\b.SYS`: File, `C:\Data\c.sys`: Link, `C:\Data\none`: Nothing, `C:\Data\b.sys\x`: Nothing, `C:\none\x`: Nothing} {
		if got, err := f.Look(path); got != want || err != nil {
			t.Errorf("%s: %v %v, want %v", path, got, err, want)
		}
	}
	for _, path := range []string{``, `C`, `D:\Data`, `Data`, `C:\Data\..\..\x`, `C:\Data/x`, "C:\\Data\x00"} {
		if got, err := f.Look(path); err == nil {
			t.Errorf("%q is %v", path, got)
		}
		if _, err := f.List(path); err == nil {
			t.Errorf("%q is listed", path)
		}
		if _, err := f.Open(path); err == nil {
			t.Errorf("%q is opened", path)
		}
		if _, err := f.Path(path); err == nil {
			t.Errorf("%q is found", path)
		}
		if errors.Join(f.Create(path, nil), f.Move(`C:\Data\B.sys`, path)) == nil || f.Remove(path) == nil || f.Own(path) == nil {
			t.Errorf("%q is written to", path)
		}
	}
	if got, err := f.Path(`C:\DATA\b.SYS`); err != nil || got != filepath.Join(root, "Data", "B.sys") {
		t.Errorf("%s %v", got, err)
	}
	if _, err := f.Path(`C:\Data\none`); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for what, err := range map[string]error{"made": f.Create(`C:\data\B.SYS`, nil), "moved onto": f.Move(`C:\Data\a.sys`, `C:\Data\b.sys`)} {
		if !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s what is there: %v", what, err)
		}
	}
	var names []string
	for n := range 40 {
		names = append(names, fmt.Sprintf("%02d", n*7%40))
		if err := f.Create(`C:\Many\`+names[n], nil); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(names)
	if list, err := f.List(`C:\Many`); err != nil || !slices.EqualFunc(list, names, func(f FileInfo, name string) bool { return f.Name == name }) {
		t.Errorf("%v %v", list, err)
	}
	if err := f.Own(`C:\Data\B.sys`); err == nil || !strings.Contains(err.Error(), "is no folder: refused") {
		t.Error(err)
	}
	if err := f.Create(`C:\New\Way\x.cfg`, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(filepath.Join(root, "New", "Way", "x.cfg")); err != nil || string(raw) != "x" {
		t.Errorf("%q %v", raw, err)
	}
	if left, err := os.ReadDir(filepath.Join(root, "New", "Way")); err != nil || len(left) != 1 {
		t.Errorf("left beside it: %v %v", left, err)
	}
}

// Where a path of a playbook leads, and what is refused before anything is looked at.
func TestWhereAPathLeads(t *testing.T) {
	for _, c := range []struct{ path, root, system, want string }{
		{`C:\a`, "", "", `C:\a`}, {`d:\a`, "", "", `d:\a`}, {`%SystemRoot%\a`, "", "", `C:\Windows\a`}, {`C:\..\a`, "", "", ""}, {`C:\a/../b`, "", "", ""}, {`C:\a..b`, "", "", `C:\a..b`},
		{`a`, "", "", ""}, {`C:\`, "", "", ""}, {`C:a`, "", "", ""}, {`\\server\a`, "", "", ""}, {`%Nothing%\a`, "", "", ""}, {`C:\100%`, "", "", `C:\100%`},
		{`C:\Windows\a`, "", "D:", `D:\Windows\a`}, {`C:\users\a`, "", "d:", `D:\users\a`}, {`C:\Program Files (x86)\a`, "", "D:", `D:\Program Files (x86)\a`}, {`C:\Data\a`, "", "D:", `C:\Data\a`}, {`E:\Windows\a`, "", "D:", `E:\Windows\a`},
		{`C:\a`, `X:\`, "", `X:\a`}, {`c:\a`, `X:\mnt`, "D:", `X:\mnt\a`}, {`D:\a`, `X:\`, "", ""}, {`%ProgramData%\a`, `X:\`, "", `X:\ProgramData\a`},
	} {
		m := NewMemory(NewBase(0))
		m.SystemDrive = c.system
		r := bare(t, m.Parts())
		r.request.Root = c.root
		if got, err := r.resolve(c.path); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: %q %v", c, got, err)
		}
	}
	m := NewMemory(NewBase(0))
	r := bare(t, m.Parts())
	r.request.Root = `X:\mnt\`
	if words, place, err := r.paths(`%SystemRoot%\a`); words != `C:\Windows\a` || place != `X:\mnt\Windows\a` || err != nil || r.place(words) != place || r.place(`C:`) != `C:` {
		t.Errorf("%s %s %v", words, place, err)
	}
}

// What is refused before anything is put, and what a put does not leave behind.
func TestWhatIsNotPut(t *testing.T) {
	put := func(path, text, hash string) playbook.Playbook {
		return playbook.Playbook{Name: "x", Detect: []playbook.Condition{}, Verify: []playbook.Condition{}, Fix: []playbook.Action{{Put: &playbook.Put{File: path, Hex: text, SHA256: hash}}}}
	}
	good := sumOf([]byte("new"))
	for want, p := range map[string]playbook.Playbook{
		`no wildcards here: 'C:\Data\?.cfg'`:                          put(`C:\Data\?.cfg`, upperHex([]byte("new")), good),
		`no wildcards here: 'C:\Data\*.cfg'`:                          put(`C:\Data\*.cfg`, upperHex([]byte("new")), good),
		`content of 'C:\Data\c.cfg' is no hex`:                        put(`C:\Data\c.cfg`, "0g", good),
		`content of 'C:\Data\c.cfg' does not have the hash it should`: put(`C:\Data\c.cfg`, upperHex([]byte("old")), good),
		`C:\Data is a folder`:                                         put(`C:\Data`, upperHex([]byte("new")), good),
		`C:\Link is a link: nothing is done through it`:               put(`C:\Link\x`, upperHex([]byte("new")), good),
	} {
		m, _, before := threeFiles()
		m.SetLink(`C:\Link`, `C:\Data`)
		got := New(m.Parts()).Do(t.Context(), request(agent.Fix, "n-1", p))
		if now := contents(m); got.Outcome != agent.Failed || got.Message != want || now[`C:\Data\c.cfg`] != before[`C:\Data\c.cfg`] || got.Changed != 0 {
			t.Errorf("%+v, want %q", got, want)
		}
	}
	m := NewMemory(NewBase(0))
	r := bare(t, m.Parts())
	m.WriteFile(r.folder+`\put-0000`, []byte("cut"), written)
	if err := r.aside(r.folder+`\put-0000`, []byte("whole")); err != nil {
		t.Fatal(err)
	}
	if sum, err := r.sum(r.folder + `\put-0000`); err != nil || sum != sumOf([]byte("whole")) {
		t.Errorf("%s %v", sum, err)
	}
	if missing, err := r.missing(`C:\One\Two\x`); err != nil || strings.Join(missing, " ") != `C:\One C:\One\Two` {
		t.Errorf("%q %v", missing, err)
	}
	if changed, err := r.takeBack(0, undoRecord{Action: "dance"}); changed || err == nil {
		t.Errorf("%v %v", changed, err)
	}
}

// nameless is a system that does not say where its data lies.
type nameless struct{ System }

func (nameless) Variable(string) string { return " " }

// Where nothing can be kept nothing is begun, and a file in the place of our folder is refused by name.
func TestWithoutAPlaceForRecords(t *testing.T) {
	m, p, before := threeFiles()
	parts := m.Parts()
	parts.System = nameless{parts.System}
	if got := New(parts).Do(t.Context(), request(agent.Fix, "n-1", p)); got.Outcome != agent.Failed || got.Message != "%ProgramData% is not set" {
		t.Errorf("%+v", got)
	}
	m.WriteFile(`C:\ProgramData\fleetmend\runs`, []byte("x"), written)
	m.SetRights(`C:\ProgramData\fleetmend`, OwnRights)
	for _, mode := range []agent.Mode{agent.Fix, agent.Undo} {
		if got := New(m.Parts()).Do(t.Context(), request(mode, "n-1", p)); got.Outcome != agent.Failed || !strings.Contains(got.Message, `C:\ProgramData\fleetmend\runs is no folder: refused`) {
			t.Errorf("%s: %+v", mode, got)
		}
	}
	if got := New(m.Parts()).Do(t.Context(), request("dance", "n-1", p)); got.Outcome != agent.Failed || got.Message != "unknown mode 'dance'" {
		t.Errorf("%+v", got)
	}
	now := contents(m)
	for path, text := range before {
		if now[path] != text {
			t.Errorf("%s is %q", path, now[path])
		}
	}
}

// What a folder hands down to what is made in it.
func TestWhatAFolderHandsDown(t *testing.T) {
	const sddl = "O:BAG:SYD:P(A;OICI;FA;;;SY)(A;CI;FR;;;BA)(A;OICIIO;FA;;;CO)(A;CIIOID;FX;;;WD)(A;;FA;;;BU)(A)(A;OI;FW;;;AU)"
	if got := handedDown(sddl, false); got != "(A;ID;FA;;;SY)(A;ID;FA;;;CO)(A;ID;FW;;;AU)" {
		t.Error(got)
	}
	if got := handedDown(sddl, true); got != "(A;OICIID;FA;;;SY)(A;CIID;FR;;;BA)(A;OICIID;FA;;;CO)(A;CIID;FX;;;WD)" {
		t.Error(got)
	}
	if owner, list := splitRights(sddl); owner != "BA" || list != sddl[strings.Index(sddl, "D:"):] {
		t.Errorf("%s %s", owner, list)
	}
	if v := DecodeValue(3, nil); v.Type != "binary" || v.Data.([]byte) == nil {
		t.Errorf("%#v", v)
	}
	for kind, name := range map[uint32]string{0: "none", 5: "dword-big-endian", 6: "link", 8: "resource-list", 12: "type-12", 1048577: "type-1048577"} {
		if got, ok := typeNumber(name); typeName(kind) != name || got != kind || !ok {
			t.Errorf("%d %s: %s %d %v", kind, name, typeName(kind), got, ok)
		}
	}
	for _, bad := range []string{"type-", "type-x", "type-4294967296", "dance", ""} {
		if n, ok := typeNumber(bad); ok {
			t.Errorf("%s is %d", bad, n)
		}
	}
}

// lent counts the files that are open.
type lent struct {
	*Memory
	opened, open int
}

type lentFile struct {
	io.ReadCloser
	to *lent
}

func (l *lent) Open(path string) (io.ReadCloser, error) {
	f, err := l.Memory.Open(path)
	if err != nil {
		return nil, err
	}
	l.opened++
	l.open++
	return &lentFile{f, l}, nil
}

func (f *lentFile) Close() error {
	f.to.open--
	return f.ReadCloser.Close()
}

// A file that stays open could not be moved, and would be in use for whoever comes next.
func TestNothingStaysOpen(t *testing.T) {
	m, p, _ := threeFiles()
	l := &lent{Memory: m}
	parts := m.Parts()
	parts.Files = l
	p.Detect = []playbook.Condition{{File: `C:\Data\*.sys`, FileTest: playbook.FileTest{Header: "61"}}, {File: `C:\Data\b.sys`, FileTest: playbook.FileTest{SHA256: sumOf([]byte("b"))}}}
	for n, mode := range []agent.Mode{agent.Detect, agent.Fix, agent.Fix, agent.Undo, agent.Undo} {
		if got := New(parts).Do(t.Context(), request(mode, fmt.Sprint("n-", n), p)); got.Outcome == agent.Failed || l.open != 0 {
			t.Errorf("%s: %d files are open (%+v)", mode, l.open, got)
		}
	}
	if l.opened < 10 {
		t.Errorf("only %d files were opened", l.opened)
	}
	if err := m.Own(`C:\ProgramData\fleetmend`); err != nil {
		t.Fatal(err)
	}
	i := New(parts)
	for range 2 {
		if kept, err := i.keep(""); err != nil || !kept || l.open != 0 {
			t.Errorf("%v %v, %d files are open", kept, err, l.open)
		}
	}
}

// Whether a restart that was wanted has happened is told by how long the machine has been up, an uptime of nothing included; where that
// is not known, by whether one was scheduled.
func TestWhetherARestartIsMissing(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		name           string
		then, ago, now int64
		scheduled      bool
		missing        bool
	}{
		{"up since before", 100, 30, 130, true, true}, {"up for the slack less", 100, 30, 125, true, true}, {"up for less", 100, 30, 124, false, false}, {"up for less than then", 100, 0, 99, false, false},
		{"just started", 100, 30, 0, false, false}, {"had just started", 0, 30, 50, true, true}, {"had just started, and again", 0, 30, 10, false, false},
		{"unknown now", 100, 30, -1, false, true}, {"unknown now, scheduled", 100, 30, -1, true, false}, {"unknown then", -1, 30, 500, false, true}, {"unknown then, scheduled", -1, 30, 500, true, false},
	} {
		m := NewMemory(NewBase(0))
		m.Clock = func() time.Time { return now }
		r := bare(t, m.Parts())
		if c.scheduled {
			m.WriteFile(r.folder+`\fix-restart.json`, []byte("{}"), now)
		}
		if got := r.restartMissing(outcome{Uptime: c.then, Time: now.Unix() - c.ago}, c.now); got != c.missing {
			t.Errorf("%s: missing %v", c.name, got)
		}
	}
}
