//go:build unix

package runscmd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// atWork is a run of one machine that somebody works on.
func atWork(t *testing.T, out io.Writer) (*Commands, *desk.Desk, *journal.Journal, *journal.Session) {
	t.Helper()
	d, err := desk.New(desk.Options{State: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	j, err := d.Journal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	source, err := playbook.FromCommand("exit 0")
	if err != nil {
		t.Fatal(err)
	}
	bound, err := source.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.New(plan.Input{Options: plan.DefaultOptions(), Now: time.Now(), Operator: "ada", Mode: agent.Fix,
		Source:  plan.Source{Playbook: bound},
		Entries: []plan.Entry{{Target: route.Target{ID: "m1", Name: "WS1"}, Route: "winrm"}}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.Create(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &Commands{Context: command.NewContext(terminal.Streams{Out: io.Discard, Err: out}, "test")}, d, j, s
}

// Whoever carries the run out was asked to stop and does not: the command that follows him ends all the same.
func TestAFollowerEndsThoughTheRunnerHangs(t *testing.T) {
	c, d, j, s := atWork(t, io.Discard)
	r, err := c.Drive(t.Context(), d, s.Plan(), CarryFlags{}, func(ctx context.Context, o runs.Options) (*journal.Run, error) {
		o.Begun(s.ID(), 1, func() {})
		return j.Run(ctx, s.ID())
	})
	if err != nil || r == nil || r.Owner == nil {
		t.Errorf("%+v %v", r, err)
	}
}

// A terminal that takes nothing of what is printed keeps no Ctrl-C from the run.
func TestCtrlCReachesTheRunThoughTheTerminalTakesNothing(t *testing.T) {
	screen, out := io.Pipe()
	c, d, _, s := atWork(t, out)
	ctx, end := terminal.Interruptible(t.Context())
	defer end()
	gone := errors.New("gone")
	_, err := c.Drive(ctx, d, s.Plan(), CarryFlags{}, func(ctx context.Context, o runs.Options) (*journal.Run, error) {
		stopped := make(chan struct{})
		o.Begun(s.ID(), 1, func() { close(stopped) })
		for _, reached := range []<-chan struct{}{stopped, ctx.Done()} {
			if err := syscall.Kill(syscall.Getpid(), syscall.SIGINT); err != nil {
				t.Error(err)
				break
			}
			<-reached
		}
		go io.Copy(io.Discard, screen) //nolint:errcheck // the terminal takes what there is
		return nil, gone
	})
	if !errors.Is(err, gone) {
		t.Error(err)
	}
	_ = out.Close()
}

// The log of a run is the runner's: it goes where it was asked for.
func TestTheRunnerLogsAsItWasAskedTo(t *testing.T) {
	c, d, _, s := atWork(t, io.Discard)
	c.Runner = []string{"fleetmend", RunnerCommand}
	root := &cobra.Command{}
	c.GlobalFlags(root)
	if err := root.ParseFlags([]string{"--log-level", "debug", "--log-file", "run.log"}); err != nil {
		t.Fatal(err)
	}
	gone := errors.New("gone")
	_, err := c.Drive(t.Context(), d, s.Plan(), CarryFlags{}, func(_ context.Context, o runs.Options) (*journal.Run, error) {
		if want := []string{"fleetmend", RunnerCommand, "--log-level", "debug", "--log-file", "run.log"}; !slices.Equal(o.Runner, want) {
			t.Errorf("%q", o.Runner)
		}
		return nil, gone
	})
	if !errors.Is(err, gone) {
		t.Error(err)
	}
}

// Nobody waits without knowing for what: a run that nobody can approve here says what it waits for and how it goes on, also with -q.
func TestAnApprovalIsNotAwaitedInSilence(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		var out bytes.Buffer
		c := command.NewContext(terminal.Streams{In: strings.NewReader(""), Out: io.Discard, Err: &out}, "test")
		c.Quiet = quiet
		_, _, _, s := atWork(t, io.Discard)
		p := newProgress(c, s.Plan())
		go func() {
			p.take(journal.Event{Run: "20240719-x", Kind: journal.Approval, Wave: 1, Text: "approval of wave 2 is awaited"})
			close(p.events)
		}()
		p.show()
		if want := "approval of wave 2 is awaited\n`fleetmend runs approve 20240719-x --wave 2` lets it begin, `fleetmend runs cancel 20240719-x` ends the run\n"; out.String() != want {
			t.Errorf("quiet %v: %q", quiet, out.String())
		}
	}
}
