// Package question holds what a use case asks a person, as values: a face (terminal, screen, page) shows them its own way.
//
// What must be known before anything is done is an argument: a use case that lacks it returns a [NeededError] and has done
// nothing; the face asks and calls again with [Answers]. What turns up in the middle (the passphrase of a locked vault, the
// password of an account, the approval of a wave) is put to an [Asker], which ends with its context. The package asks nobody,
// prints nothing, and no answer is logged: secrets travel as [secret.String].
package question

import (
	"context"
	"errors"
	"fmt"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// Kind is how a question is answered.
type Kind int

// The kinds of questions.
const (
	Line      Kind = iota // a line of text; an empty one is an answer
	Word                  // the word that stands for what is about to happen, typed whole
	YesNo                 // yes, typed whole; everything else is no
	Secret                // a secret, typed unseen
	NewSecret             // a secret that is chosen now, typed unseen and twice
)

// Question is one question to a person. It is immutable.
type Question struct {
	ID   string // "run.confirm", "keys.reason", "disk.erase", "vault.passphrase", "winrm.password", "wave.approve"
	Kind Kind
	Text string // a sentence or the beginning of one; a face adds how it is answered
	Word string // for Word: what has to be typed, such as "200" or "/dev/sdb 60A44C"
	Flag string // what answers it where nobody can be asked, such as "--yes" or `--reason "INC-1234"`; a whole advice
	// About is what a page may show beside it: *plan.Plan, []usb.Disk, run.Wave.
	About any
}

// Answer is what was said. Secret holds it for the kinds Secret and NewSecret, Text for the others ("yes" for YesNo).
type Answer struct {
	Text   string
	Secret secret.String
}

// Asker puts a question to a person. It returns when ctx ends, with its error; with [ErrDeclined] where a word or a yes was
// asked for and something else was said; with an [UnansweredError] where the input ended; with a [NeededError] where nobody can be asked. It is safe for concurrent use: one
// question stands at a time.
type Asker interface {
	Ask(ctx context.Context, q Question) (Answer, error)
}

// ErrDeclined says that a person was asked and did not agree.
var ErrDeclined = errors.New("not confirmed, nothing was done")

// UnansweredError says that the input ended at a question: Ctrl-D, a terminal that went away. What is before the end of a line
// answers nothing.
type UnansweredError struct {
	Question Question
	Err      error // io.EOF, or why nothing could be read
}

func (e *UnansweredError) Error() string {
	return "the input ended at the question: nothing was answered, and nothing was begun"
}
func (e *UnansweredError) Unwrap() error { return e.Err }

// NeededError says that a question has to be answered before anything is done, and nothing was done.
type NeededError struct{ Question Question }

func (e *NeededError) Error() string {
	if e.Question.Text == "" {
		return "an answer is needed (" + e.Question.ID + "), and there is nobody to ask"
	}
	return e.Question.Text
}

// Needed makes the error of a question; why is what the person reads, q.Flag becomes the advice.
func Needed(q Question, why string) error {
	q.Text = why
	return hint.Wrap(&NeededError{q}, q.Flag)
}

// Answers are given with a call: by the ID of the question.
type Answers map[string]Answer

// Has reports whether q is answered: with its word for Word, with yes for YesNo.
func (a Answers) Has(q Question) bool {
	answer, ok := a[q.ID]
	switch {
	case !ok:
		return false
	case q.Kind == Word:
		return answer.Text == q.Word
	case q.Kind == YesNo:
		return answer.Text == "yes"
	}
	return true
}

// Nobody is the Asker of a program that nobody sits at.
type Nobody struct{}

// Ask returns a [NeededError].
func (Nobody) Ask(_ context.Context, q Question) (Answer, error) {
	why := q.Text
	if why == "" {
		why = q.ID
	}
	return Answer{}, Needed(q, fmt.Sprintf("%s: this has to be answered, and there is nobody to ask", why))
}
