package demo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/report"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// endedRun puts a run of two machines into the journal of a folder: one was fixed, the other could not be reached.
func endedRun(t *testing.T, dir string) (*journal.Journal, string) {
	t.Helper()
	source, err := playbook.Builtin(Playbook)
	if err != nil {
		t.Fatal(err)
	}
	bound, err := source.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	in := plan.Input{Source: plan.Source{Playbook: bound, Digest: source.Digest}, Mode: agent.Fix, Options: plan.DefaultOptions(), Now: time.Now(), Operator: "ada"}
	for i := range 2 {
		in.Entries = append(in.Entries, plan.Entry{Target: route.Target{ID: fmt.Sprintf("m%d", i), Name: fmt.Sprintf("PC%d", i)}, Route: "winrm"})
	}
	p, err := plan.New(in)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(t.Context(), filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := j.Create(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(s.Lease("m0", "m1"), s.Begin("m0", 1),
		s.Finish("m0", journal.End{Outcome: journal.Fixed, Result: &agent.Result{Outcome: agent.Fixed, Changed: 1}}),
		s.Finish("m1", journal.End{Outcome: journal.Unreachable, Class: route.Unreachable, Reason: "off"}), s.End(journal.RunDone, ""), s.Close())
	if err != nil {
		t.Fatal(err)
	}
	return j, s.ID()
}

// TestDemoAsksForAMedium: at a terminal the demonstration ends with a question, and only a whole yes builds the image.
func TestDemoAsksForAMedium(t *testing.T) {
	const question = "1 machine could not be repaired over the network. Build a USB image for them? Type yes: "
	for _, c := range []struct {
		name, typed           string
		terminal, flag, built bool
	}{
		{"yes", "yes\n", true, false, true},
		{"no", "no\n", true, false, false},
		{"enter", "\n", true, false, false},
		{"end of input", "", true, false, false},
		{"nobody there", "yes\n", false, false, false},
		{"flag", "", false, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir) // no source checkout: the program for the medium cannot be compiled
			t.Setenv("XDG_STATE_HOME", dir)
			t.Setenv("LOCALAPPDATA", dir)
			t.Setenv("HOME", dir)
			_, id := endedRun(t, filepath.Join(dir, "fleetmend"))
			var out, errs bytes.Buffer
			person := terminal.New(terminal.Streams{In: strings.NewReader(c.typed), Out: &out, Err: &errs, InTTY: c.terminal, OutTTY: false, ErrTTY: c.terminal, Width: 100})
			d, err := desk.New(desk.Options{State: filepath.Join(dir, "fleetmend"), Ask: person})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = d.Close() })
			s := &story{Request: Request{Dir: dir, Medium: c.flag, Ask: true}, face: told{out: &out}, desk: d}
			if _, _, err := s.end(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if asked := strings.Contains(errs.String(), question); asked != c.terminal {
				t.Errorf("asked: %v\n%s", asked, errs.String())
			}
			image := filepath.Join(dir, "fleetmend.img")
			if _, err := os.Stat(image); (err == nil) != c.built {
				t.Fatalf("built: %v\n%s", err == nil, out.String())
			}
			if !c.built {
				return
			}
			for _, want := range []string{"A stick is built", "one in name only", "a stand-in takes its place", "every file compared with its hash", "media build winre.wim --run " + id} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the story does not say %q:\n%s", want, out.String())
				}
			}
			if in, err := media.Inspect(t.Context(), image); err != nil || in.Medium == nil || in.Medium.Run != id || in.Medium.Playbooks[0].Name != Playbook {
				t.Errorf("%+v, %v", in, err)
			}
		})
	}
}

// told is a face that only tells.
type told struct {
	Face
	out io.Writer
}

func (t told) Tell(text string) { fmt.Fprintln(t.out, text) }
func (t told) Result(r *report.Report) error {
	return r.WriteText(t.out, report.TextOptions{Width: 100})
}
