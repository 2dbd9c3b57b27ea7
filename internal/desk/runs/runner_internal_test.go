package runs

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// A runner that neither reads its order nor answers ends with the time of whoever started it.
func TestARunnerThatSaysNothingIsNotAwaitedForEver(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("no program sleep here")
	}
	d, err := desk.New(desk.Options{State: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	long := json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`) // more than a pipe takes
	if _, err := detach(ctx, d, []string{sleep, "1000"}, order{V: 1, Plan: long}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(filepath.Join(d.State, "runners")); err != nil || len(left) != 0 {
		t.Errorf("left of it: %v %v", left, err)
	}
}

// The log gets the name of its run, and is taken away, while the runner and whoever started it have it open.
func TestALogIsRenamedAndRemovedWhileItIsOpen(t *testing.T) {
	dir := t.TempDir()
	log, err := makeLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // as in the runner
	if _, err := log.WriteString("text"); err != nil {
		t.Fatal(err)
	}
	named := filepath.Join(dir, "run.log")
	if err := os.Rename(log.Name(), named); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(named); err != nil || string(data) != "text" {
		t.Errorf("%q %v", data, err)
	}
	if err := os.Remove(named); err != nil {
		t.Error(err)
	}
}

type saying struct{ strings.Builder }

func (*saying) Close() error { return nil }

// What a runner refuses is said in its words and keeps its type: it is no failure to start one.
func TestARefusalIsNoFailureToStart(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no POSIX shell here")
	}
	d, err := desk.New(desk.Options{State: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, refusal := range []error{
		hint.Wrap(errors.New("incident x was closed"), "open it again"),
		hint.Wrap(&journal.LockedError{Owner: journal.Owner{PID: 4711, Host: "desk", Run: "r1"}}, "follow it"),
	} {
		var said saying
		if err := greet(&said, hello{}, refusal); !errors.Is(err, refusal) {
			t.Fatal(err)
		}
		_, err := detach(t.Context(), d, []string{sh, "-c", `cat >/dev/null; printf %s "$0"; exit 1`, said.String()}, order{V: 1})
		if err == nil || err.Error() != refusal.Error() || !slices.Equal(hint.Of(err), hint.Of(refusal)) {
			t.Errorf("%v %q, want %v %q", err, hint.Of(err), refusal, hint.Of(refusal))
		}
		_, locked := errors.AsType[*journal.LockedError](err)
		if _, want := errors.AsType[*journal.LockedError](refusal); locked != want {
			t.Errorf("%v: %T", refusal, err)
		}
	}
}
