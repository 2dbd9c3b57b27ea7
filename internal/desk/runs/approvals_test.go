package runs_test

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// standing is an asker whose questions stand until their context ends.
type standing struct{ asked, gone chan string }

func (s standing) Ask(ctx context.Context, q question.Question) (question.Answer, error) {
	s.asked <- q.ID
	<-ctx.Done()
	s.gone <- q.ID
	return question.Answer{}, context.Cause(ctx)
}

// TestTheQuestionForAWaveGoesAway: it stands while the wave waits, what happens to machines leaves it alone, and the next event of
// the run takes it back. Nothing of that is said aloud; nor where nobody can be asked.
func TestTheQuestionForAWaveGoesAway(t *testing.T) {
	var said []string
	open := func(ask question.Asker) *desk.Desk {
		d, err := desk.New(desk.Options{State: filepath.Join(t.TempDir(), "state"), Ask: ask, Tell: func(text string) { said = append(said, text) }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		return d
	}
	person := standing{make(chan string, 1), make(chan string, 1)}
	a := runs.Approvals{Desk: open(person)}
	a.Take(t.Context(), journal.Event{Run: "r", Kind: journal.Approval, Text: "wave 1 is over"})
	<-person.asked
	a.Take(t.Context(), journal.Event{Run: "r", Kind: journal.MachineMove, Machine: "WS1"})
	select {
	case <-person.gone:
		t.Fatal("a machine took the question away")
	default:
	}
	a.Take(t.Context(), journal.Event{Run: "r", Kind: journal.WaveStarted})
	<-person.gone
	a.End()

	nobody := runs.Approvals{Desk: open(nil)}
	nobody.Take(t.Context(), journal.Event{Run: "r", Kind: journal.Approval})
	nobody.End()
	if len(said) > 0 {
		t.Errorf("said %q", said)
	}
}

// ended is an asker whose input has ended.
type ended struct{}

func (ended) Ask(_ context.Context, q question.Question) (question.Answer, error) {
	return question.Answer{}, &question.UnansweredError{Question: q, Err: io.EOF}
}

// The end of the input is no answer: the wave waits on, which is said with what answers it. A no would end the run.
func TestTheEndOfTheInputRefusesNoWave(t *testing.T) {
	said := make(chan string, 1)
	d, err := desk.New(desk.Options{State: filepath.Join(t.TempDir(), "state"), Ask: ended{}, Tell: func(text string) { said <- text }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	a := runs.Approvals{Desk: d}
	a.Take(t.Context(), journal.Event{Run: "r", Kind: journal.Approval, Wave: 1, Text: "wave 1 is over"})
	if text := <-said; !strings.Contains(text, "nothing was answered: the run waits. `fleetmend runs approve r --wave 2` lets the wave begin") {
		t.Error(text)
	}
	a.End()
}
