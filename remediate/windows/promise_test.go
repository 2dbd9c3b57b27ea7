package windows

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

var written = time.Date(2024, 7, 19, 4, 20, 0, 0, time.UTC)

// threeFiles is a machine with three files, and a playbook that moves two away and replaces the third.
func threeFiles() (*Memory, playbook.Playbook, map[string]string) {
	m := NewMemory(NewBase(22631))
	m.Clock = func() time.Time { return time.Unix(1_800_000_000, 0) }
	before := map[string]string{`C:\Data\a.sys`: "a", `C:\Data\b.sys`: "b", `C:\Data\c.cfg`: "c"}
	for path, content := range before {
		m.WriteFile(path, []byte(content), written)
	}
	return m, playbook.Playbook{Name: "x", Detect: []playbook.Condition{}, Verify: []playbook.Condition{}, Fix: []playbook.Action{
		{Quarantine: &playbook.Quarantine{File: `C:\Data\*.sys`}},
		{Put: &playbook.Put{File: `C:\Data\c.cfg`, Hex: upperHex([]byte("new")), SHA256: sumOf([]byte("new"))}},
	}}, before
}

func contents(m *Memory) map[string]string {
	all := map[string]string{}
	for _, f := range m.Snapshot() {
		if !ours("", f.Path) {
			all[f.Path] = string(f.Content)
		}
	}
	return all
}

func request(mode agent.Mode, nonce string, p playbook.Playbook) agent.Request {
	return agent.Request{Run: "r-1", Nonce: nonce, Mode: mode, Playbook: p}
}

// fullDisk keeps the first bytes that are written and says nothing of the rest, as PowerShell does when the last write of a
// file does not fit.
type fullDisk struct {
	*Memory
	room int
}

func (f *fullDisk) Create(path string, content []byte) error {
	fits := min(f.room, len(content))
	f.room -= fits
	return f.Memory.Create(path, content[:fits])
}

// TestFullDisk fills the disk at each byte of what a fix writes: no change is made without a whole record of it, and undo
// takes back all that has one.
func TestFullDisk(t *testing.T) {
	for room := 0; ; room++ {
		m, p, before := threeFiles()
		disk := &fullDisk{m, room}
		parts := m.Parts()
		parts.Files = disk
		got := New(parts).Do(t.Context(), request(agent.Fix, "n-1", p))
		if got.Outcome == agent.Fixed {
			if room < 500 {
				t.Fatalf("%d bytes were enough", room)
			}
			return
		}
		back := New(m.Parts()).Do(t.Context(), request(agent.Undo, "n-2", p))
		if now := contents(m); fmt.Sprint(now) != fmt.Sprint(before) || back.Outcome != agent.Undone {
			t.Fatalf("%d bytes: fix %+v, undo %+v, left %v", room, got, back, now)
		}
	}
}

// TestTwoAtOnce sends two requests of one run at once: the machine is changed once, and what is answered is true.
func TestTwoAtOnce(t *testing.T) {
	for range 200 {
		m, p, _ := threeFiles()
		answers := make([]agent.Result, 2)
		var both sync.WaitGroup
		for i := range answers {
			both.Go(func() {
				answers[i] = New(m.Parts()).Do(t.Context(), request(agent.Fix, fmt.Sprint("n-", i), p))
			})
		}
		both.Wait()
		acted := 0
		for _, a := range answers {
			switch {
			case a.Outcome == agent.Fixed && !a.Repeated && a.Changed == 3:
				acted++
			case a.Outcome == agent.Fixed && a.Repeated, a.Outcome == agent.Busy:
			default:
				t.Fatalf("%+v", answers)
			}
		}
		if now := contents(m); acted != 1 || len(now) != 1 || now[`C:\Data\c.cfg`] != "new" {
			t.Fatalf("%d acted: %+v, left %v", acted, answers, now)
		}
		if again := New(m.Parts()).Do(t.Context(), request(agent.Fix, "n-3", p)); again.Outcome != agent.Fixed || !again.Repeated {
			t.Fatalf("asked again: %+v", again)
		}
	}
}

// TestUndoTellsTheTruth does fix, undo, foreign changes and damage in random order. What undo says is held against what is
// there: undone means that every file has its old content, and what somebody wrote since is never lost.
func TestUndoTellsTheTruth(t *testing.T) {
	runs := 2_000
	if os.Getenv("FLEETMEND_LONG") != "" {
		runs = 10_000
	}
	for seed := range runs {
		random := rand.New(rand.NewPCG(uint64(seed), 7)) //nolint:gosec // a test's
		m, p, _ := threeFiles()
		foreign, record := map[string]string{}, ""
		var said []string
		for n := range 3 + random.IntN(6) {
			nonce := fmt.Sprint("n-", n)
			paths := []string{`C:\Data\a.sys`, `C:\Data\b.sys`, `C:\Data\c.cfg`}
			path := paths[random.IntN(3)]
			folder := `C:\ProgramData\fleetmend\runs\r-1\`
			switch random.IntN(6) {
			case 0, 1:
				got := New(m.Parts()).Do(t.Context(), request(agent.Fix, nonce, p))
				said = append(said, fmt.Sprintf("fix %s %s", got.Outcome, got.Message))
				if got.Record != "" {
					record = got.Record
				}
				if got.Outcome == agent.Fixed && !got.Repeated {
					clear(foreign) // it is kept, or replaced, by the fix
				}
			case 2, 3:
				r := request(agent.Undo, nonce, p)
				if random.IntN(2) == 0 {
					r.Record = record
				}
				got := New(m.Parts()).Do(t.Context(), r)
				said = append(said, fmt.Sprintf("undo %s %s", got.Outcome, got.Message))
				if got.Outcome != agent.Undone || got.Message == "this run changed nothing here" {
					continue
				}
				now := contents(m)
				for _, path := range paths {
					if _, theirs := foreign[path]; !theirs && now[path] == "" {
						t.Fatalf("seed %d: undone, and %s is not there: %q", seed, path, said)
					}
				}
				if now[`C:\Data\c.cfg`] == "new" {
					t.Fatalf("seed %d: undone, and the new file is still there: %q", seed, said)
				}
			case 4:
				content := fmt.Sprint("foreign ", n)
				m.WriteFile(path, []byte(content), written)
				foreign[path] = content
				said = append(said, "write "+path)
			case 5:
				victim := folder + []string{"kept-0000", "kept-0001", "kept-0002", "undo-0000.json", "undo-0001.json", "undo-0002.json"}[random.IntN(6)]
				if kind, _ := m.Look(victim); kind == File {
					m.RemoveFile(victim)
					said = append(said, "lose "+victim)
				}
			}
			now := contents(m)
			for path, content := range foreign {
				if now[path] != content {
					t.Fatalf("seed %d: %s was %q, which somebody wrote, and is %q: %q", seed, path, content, now[path], said)
				}
			}
		}
	}
}

// ended is a machine whose agent is ended: it removes nothing.
type ended struct{ *cutter }

func (ended) Remove(string) error { return errCut }

// A request that ends early leaves its lock only where its process ends with it.
func TestStaleLock(t *testing.T) {
	m, p, _ := threeFiles()
	dead := m.Parts()
	dead.Process = Process{Host: "h", PID: 7, Started: 1, Alive: func(int, int64) bool { return true }}
	dead.Files = ended{&cutter{m, 4, false}}
	New(dead).Do(t.Context(), request(agent.Fix, "n-1", p))
	if kind, _ := m.Look(`C:\ProgramData\fleetmend\runs\r-1\lock.json`); kind != File {
		t.Fatal("the cut request left no lock: this tries nothing")
	}
	later := m.Parts()
	later.Process = Process{Host: "h", PID: 8, Started: 9, Alive: func(pid int, started int64) bool { return pid == 7 && started == 1 }}
	for _, mode := range []agent.Mode{agent.Detect, agent.Fix, agent.Verify, agent.Undo} {
		if got := New(later).Do(t.Context(), request(mode, "n-2", p)); got.Outcome != agent.Busy || got.Changed != 0 {
			t.Errorf("its process is there: %+v", got)
		}
	}
	later.Process.Alive = func(int, int64) bool { return false }
	if got := New(later).Do(t.Context(), request(agent.Fix, "n-3", p)); got.Outcome != agent.Fixed {
		t.Errorf("gone: %+v", got)
	}
}

func TestProveRights(t *testing.T) {
	for sddl, good := range map[string]bool{
		OwnRights: true,
		"O:SYG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)":                      true,
		"O:S-1-5-32-544D:P(D;;FA;;;BU)(A;;FA;;;S-1-5-18)":                    true,
		"O:BAG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)S:AI(AU;SAFA;FA;;;WD)": true,
		"O:BUG:SYD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)":                        false, // a user owns it
		"O:BAG:SYD:P(A;OICI;FA;;;SY)(A;OICI;0x1301bf;;;BU)":                  false, // users may write
		"O:BAG:SYD:AI(A;OICIIO;FA;;;CO)(A;OICI;FA;;;SY)":                     false,
		"O:BAG:SYD:P(XA;OICI;FA;;;BA;(x))":                                   false,
		"O:BAG:SYD:P(OA;OICI;FA;;;BA)":                                       false,
		"O:BAG:SYD:NO_ACCESS_CONTROL":                                        false,
		"O:BAG:SY":                                                           false,
		"":                                                                   false,
		"O:S-1-5-32-5440D:P(A;OICI;FA;;;SY)":                                 false,
		"O:S-1-5-21-1-2-3-1001G:DUD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)":       false,
		"O:BAG:SYD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;S-1-5-32-545)":              false,
	} {
		if err := ProveRights(`C:\x`, sddl); (err == nil) != good {
			t.Errorf("%q: %v", sddl, err)
		}
	}
	mine := "O:S-1-5-21-1-2-3-1001G:DUD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;S-1-5-21-1-2-3-1001)"
	if err := ProveRights(`C:\x`, mine, "S-1-5-21-1-2-3-1001"); err != nil {
		t.Errorf("the account that runs: %v", err)
	}
	if err := ProveRights(`C:\x`, mine, "S-1-5-21-1-2-3-1002"); err == nil {
		t.Error("another account passes for the one that runs")
	}
}

func TestFolderOwn(t *testing.T) {
	root := t.TempDir()
	f, err := OpenFolder(root)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Own(`C:\ProgramData\fleetmend`); err != nil {
		t.Fatal(err)
	}
	if err := f.Own(`C:\ProgramData\fleetmend`); err != nil {
		t.Errorf("its own folder: %v", err)
	}
	if err := os.Mkdir(root+"/open", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root+"/open", 0o777); err != nil { //nolint:gosec // that is what is tried
		t.Fatal(err)
	}
	if err := f.Own(`C:\open`); err != nil { // an empty one of ours is what a power cut leaves
		t.Error(err)
	}
	if info, err := os.Stat(root + "/open"); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("left by a power cut: %v, %v", info, err)
	}
	if os.Geteuid() == 0 { // only who may give folders away can try what one of somebody else gets
		const theirs = 12345
		if err := errors.Join(os.Chmod(root+"/open", 0o777), os.Chown(root+"/open", theirs, theirs)); err != nil { //nolint:gosec // that is what is tried
			t.Fatal(err)
		}
		if err := f.Own(`C:\open`); err == nil || !strings.Contains(err.Error(), "can be written by others") {
			t.Errorf("an empty folder of somebody else: %v", err)
		}
	}
	if err := errors.Join(os.WriteFile(root+"/open/x", nil, 0o600), os.Chmod(root+"/open", 0o777)); err != nil { //nolint:gosec // that is what is tried
		t.Fatal(err)
	}
	if err := os.Symlink(root+"/ProgramData", root+"/link"); err != nil {
		t.Skip("no links here: ", err)
	}
	for path, want := range map[string]string{`C:\open`: "can be written by others", `C:\link`: "is a link", `C:\link\fleetmend`: "is a link"} {
		if err := f.Own(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if kind, err := f.Look(`C:\link\fleetmend`); kind != Link || err != nil {
		t.Errorf("behind a link: %v, %v", kind, err)
	}
}

// TestMarks: what is put or brought back has the rights of what stood there, or of its folder; a record that says nothing of rights
// changes none.
func TestMarks(t *testing.T) {
	for sddl, same := range map[string]bool{
		"O:BAG:SYD:P(A;;FA;;;BA)": true, "O:BAD:PAI(A;;FA;;;BA)": true, "O:SYG:DUD:P(A;;FA;;;BA)": false, "O:BAG:DUD:AI(A;;FA;;;BA)": false,
		"O:BAG:DUD:PAI(A;;FR;;;BA)": false,
	} {
		if sameRights("O:BAG:DUD:PAI(A;;FA;;;BA)", sddl) != same {
			t.Error(sddl)
		}
	}
	m := NewMemory(NewBase(0))
	m.WriteFile(`C:\Data\a`, []byte("a"), written)
	m.SetRights(`C:\Data\a`, "O:SYG:SYD:P(A;;FA;;;SY)")
	r := &run{Parts: m.Parts()}
	for _, c := range []struct {
		u    undoRecord
		want string
	}{
		{undoRecord{Kept: "kept-0000"}, "O:SYG:SYD:P(A;;FA;;;SY)"},
		{undoRecord{Kept: "kept-0000", SDDL: "O:BAG:BAD:P(A;;FR;;;BU)"}, "O:BAG:SYD:P(A;;FR;;;BU)"},
		{undoRecord{}, "O:BAG:SYD:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;0x1200a9;;;BU)"},
	} {
		if err := r.mark(`C:\Data\a`, c.u); err != nil || m.Rights(`C:\Data\a`) != c.want || len(r.remarks) > 0 {
			t.Errorf("%+v: %s, %v, %v", c.u, m.Rights(`C:\Data\a`), err, r.remarks)
		}
	}
}

// swapper changes a file in the moment in which it is moved away.
type swapper struct {
	*Memory
	swapped bool
}

func (s *swapper) Move(from, to string) error {
	if !s.swapped && from == `C:\Data\a.sys` {
		s.swapped = true
		s.WriteFile(from, []byte("swapped"), written)
	}
	return s.Memory.Move(from, to)
}

// TestChangedInThatMoment: what somebody writes between record and move is not kept under a hash that it does not have.
func TestChangedInThatMoment(t *testing.T) {
	m, p, before := threeFiles()
	parts := m.Parts()
	parts.Files = &swapper{Memory: m}
	got := New(parts).Do(t.Context(), request(agent.Fix, "n-1", p))
	want := `C:\Data\a.sys was changed while it was moved away: it is back in its place`
	before[`C:\Data\a.sys`] = "swapped"
	if got.Outcome != agent.Failed || got.Message != want || got.Changed != 0 || fmt.Sprint(contents(m)) != fmt.Sprint(before) {
		t.Fatalf("%+v, %v", got, contents(m))
	}
	if got = New(parts).Do(t.Context(), request(agent.Fix, "n-2", p)); got.Outcome != agent.Fixed || got.Changed != 3 {
		t.Fatalf("asked again: %+v", got)
	}
	for nonce := range 2 {
		if got = New(parts).Do(t.Context(), request(agent.Undo, fmt.Sprint("n-", nonce), p)); got.Outcome != agent.Undone || fmt.Sprint(contents(m)) != fmt.Sprint(before) {
			t.Errorf("undo %d: %+v, %v", nonce, got, contents(m))
		}
	}
}

// linker makes a folder lead elsewhere once a record of a change in it is written.
type linker struct{ *Memory }

func (l linker) Create(path string, content []byte) error {
	err := l.Memory.Create(path, content)
	if strings.Contains(path, "seal-0000") {
		l.SetLink(`C:\Data`, `C:\Elsewhere`)
		l.WriteFile(`C:\Elsewhere\a.sys`, []byte("a"), written)
	}
	return err
}

func TestLinkInThatMoment(t *testing.T) {
	m, p, _ := threeFiles()
	parts := m.Parts()
	parts.Files = linker{m}
	got := New(parts).Do(t.Context(), request(agent.Fix, "n-1", p))
	if got.Outcome != agent.Failed || got.Message != `C:\Data is a link: nothing is done through it` || contents(m)[`C:\Elsewhere\a.sys`] != "a" {
		t.Fatalf("%+v, %v", got, contents(m))
	}
}

// TestToolsHaveAnEnd: a tool that never ends is stopped by its context, which ends before the request.
func TestToolsHaveAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p, _ := threeFiles()
		p.Fix = []playbook.Action{{BCD: &playbook.BCDChange{Set: "safeboot", Value: "minimal"}}}
		parts := m.Parts()
		parts.Tools = stuckTools{}
		got := New(parts).Do(t.Context(), request(agent.Fix, "n-1", p))
		if want := "bcdedit.exe /enum {current} /v did not end within a minute and was stopped: "; got.Outcome != agent.Failed || got.Message != want {
			t.Errorf("%+v", got)
		}
	})
}

type stuckTools struct{ Tools }

func (stuckTools) Run(ctx context.Context, _ string, _ ...string) ([]string, int, error) {
	<-ctx.Done()
	return nil, -1, ctx.Err()
}

func TestHalfACharacter(t *testing.T) {
	m, p, _ := threeFiles()
	m.WriteFile("C:\\Data\\0\xed\xa0\xbd.sys", []byte("x"), written)
	got := New(m.Parts()).Do(t.Context(), request(agent.Fix, "n-1", p))
	if got.Outcome != agent.Failed || !strings.Contains(got.Message, "holds half a character") || len(contents(m)) != 4 {
		t.Errorf("%+v, %v", got, contents(m))
	}
}

// The wait for a service has an end also where the request has none.
func TestServiceThatNeverStops(t *testing.T) {
	m := NewMemory(NewBase(22631))
	m.NeverStops = "Stuck"
	m.SetServiceState("Stuck", StateRunning)
	p := parts(m)
	r := &run{Parts: p, ctx: context.Background()}
	err := r.stop("Stuck")
	if err == nil || !strings.Contains(err.Error(), "is StopPending, not Stopped") || errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
