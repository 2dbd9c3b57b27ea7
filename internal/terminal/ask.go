package terminal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// Ask puts q to the person at the terminal; it implements [question.Asker]. The status line is out of the way while a question
// stands. Ctrl-C ends it at once, as the end of ctx does, and the terminal is as it was before. What was typed before a
// confirmation was to be read does not confirm it.
//
// A read of a terminal cannot be taken back: after a question that ended with its context, one goroutine waits for the line
// that may still be typed, and the next question takes that wait over.
func (t *Terminal) Ask(ctx context.Context, q question.Question) (question.Answer, error) {
	if !t.CanAsk() {
		return question.Nobody{}.Ask(ctx, q)
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return question.Answer{}, context.Cause(ctx)
	}
	ctx, release := untilInterrupted(ctx)
	defer release()
	t.hold(true)
	defer t.hold(false)
	answer, err := t.put(ctx, q)
	if ended := (*endedError)(nil); errors.As(err, &ended) {
		err = hint.Wrap(&question.UnansweredError{Question: q, Err: ended.err}, q.Flag)
	}
	return answer, err
}

func (t *Terminal) put(ctx context.Context, q question.Question) (question.Answer, error) {
	switch q.Kind {
	case question.Word:
		return t.confirm(ctx, strings.TrimSpace(q.Text+" Type "+q.Word+" to go on:")+" ", q.Word)
	case question.YesNo:
		return t.confirm(ctx, q.Text+" Type yes: ", "yes")
	case question.Secret:
		text, err := t.unseen(ctx, q.Text+": ")
		return question.Answer{Secret: text}, err
	case question.NewSecret:
		return t.chosen(ctx, q)
	}
	line, err := t.readLine(ctx, q.Text+": ", false)
	return question.Answer{Text: strings.TrimSpace(line)}, err
}

func (t *Terminal) confirm(ctx context.Context, text, word string) (question.Answer, error) {
	line, err := t.readLine(ctx, text, true)
	if err != nil {
		return question.Answer{}, err
	}
	if strings.TrimSpace(line) != word {
		return question.Answer{}, question.ErrDeclined
	}
	return question.Answer{Text: word}, nil
}

func (t *Terminal) chosen(ctx context.Context, q question.Question) (question.Answer, error) {
	first, err := t.unseen(ctx, q.Text+": ")
	if err != nil {
		return question.Answer{}, err
	}
	again, err := t.unseen(ctx, "The same again: ")
	if err != nil {
		return question.Answer{}, err
	}
	if !first.Equal(again) {
		return question.Answer{}, hint.Wrap(errors.New("the two are not the same, nothing was changed"), "type it once more")
	}
	return question.Answer{Secret: first}, nil
}

// unseen reads a line without echo.
func (t *Terminal) unseen(ctx context.Context, text string) (secret.String, error) {
	f, ok := t.In.(*os.File)
	if !ok {
		return secret.String{}, errors.New("a secret can only be typed at a terminal")
	}
	show, err := hideEcho(f)
	if err != nil {
		return secret.String{}, fmt.Errorf("keep the terminal from showing what is typed: %w", err)
	}
	defer fmt.Fprintln(t.Err)
	defer show()
	line, err := t.readLine(ctx, text, false)
	return secret.New(line), err
}

// endedError says that no whole line came: what was typed of one answers nothing.
type endedError struct{ err error }

func (e *endedError) Error() string { return "read the answer: " + e.err.Error() }
func (e *endedError) Unwrap() error { return e.err }

type typed struct {
	line string
	err  error
}

// readLine shows text and returns the line typed, without its end. The caller has the turn.
func (t *Terminal) readLine(ctx context.Context, text string, fresh bool) (string, error) {
	if fresh {
		t.forget()
	}
	fmt.Fprint(t.Err, prose.Clean(text))
	if !t.reading {
		t.reading = true
		if t.buffer == nil {
			t.buffer = bufio.NewReader(t.In)
		}
		go func() {
			line, err := t.buffer.ReadString('\n')
			t.lines <- typed{line, err}
		}()
	}
	select {
	case got := <-t.lines:
		t.reading = false
		if got.err != nil {
			fmt.Fprintln(t.Err)
			return "", &endedError{got.err}
		}
		return strings.TrimRight(got.line, "\r\n"), nil
	case <-ctx.Done():
		fmt.Fprintln(t.Err)
		return "", context.Cause(ctx)
	}
}

// forget drops what was typed before a question was to be read.
func (t *Terminal) forget() {
	f, ok := t.In.(*os.File)
	if !ok {
		return
	}
	flushInput(f)
	if t.buffer != nil && !t.reading {
		_, _ = t.buffer.Discard(t.buffer.Buffered())
	}
	select {
	case <-t.lines:
		t.reading = false
	default:
	}
}
