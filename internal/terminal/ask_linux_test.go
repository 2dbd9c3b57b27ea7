package terminal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/question"
)

// seat is a terminal of the kernel: what is typed at its outer end is read at the inner one.
type seat struct {
	*Terminal
	keys  *os.File
	inner *os.File
	shown chan string // pieces of what the screen shows, as they come
}

func sitDown(t *testing.T) *seat {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminal here: %v", err)
	}
	t.Cleanup(func() { keys.Close() })
	if err := unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inner.Close() })
	s := &seat{Terminal: New(Streams{In: inner, Out: inner, Err: inner, InTTY: true, OutTTY: true, ErrTTY: true, Width: 60}), keys: keys, inner: inner, shown: make(chan string, 4096)}
	go func() {
		r := bufio.NewReader(keys)
		for {
			b, err := r.ReadByte()
			if err != nil {
				close(s.shown)
				return
			}
			s.shown <- string(b)
		}
	}()
	return s
}

// until waits for the screen to show text and returns all that it showed.
func (s *seat) until(t *testing.T, text string) string {
	t.Helper()
	var all strings.Builder
	for {
		select {
		case piece, ok := <-s.shown:
			all.WriteString(piece)
			if strings.Contains(all.String(), text) {
				return all.String()
			}
			if !ok {
				t.Fatalf("the terminal ended without %q: %q", text, all.String())
			}
		case <-time.After(2 * time.Minute):
			t.Fatalf("no %q within two minutes: %q", text, all.String())
		}
	}
}

func (s *seat) echoes(t *testing.T) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(s.inner.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

type asked struct {
	question.Answer
	err error
}

func (s *seat) ask(ctx context.Context, q question.Question) chan asked {
	done := make(chan asked, 1)
	go func() {
		answer, err := s.Ask(ctx, q)
		done <- asked{answer, err}
	}()
	return done
}

var approve = question.Question{ID: "wave.approve", Kind: question.YesNo, Text: "Go on?"}

func TestAQuestionEndsWithItsContext(t *testing.T) {
	s := sitDown(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := s.ask(ctx, approve)
	s.until(t, "Type yes: ")
	cancel()
	if got := <-done; !errors.Is(got.err, context.Canceled) {
		t.Fatalf("ended with %v", got.err)
	}
	// The next one takes over the wait of the first: what is typed now answers it, once.
	done = s.ask(t.Context(), approve)
	s.until(t, "Type yes: ")
	fmt.Fprint(s.keys, "yes\n")
	if got := <-done; got.err != nil || got.Text != "yes" {
		t.Fatalf("answered %+v", got)
	}
}

func TestWhatWasTypedBeforeConfirmsNothing(t *testing.T) {
	s := sitDown(t)
	fmt.Fprint(s.keys, "yes\n")
	s.until(t, "yes\r\n") // it is in the terminal
	done := s.ask(t.Context(), approve)
	s.until(t, "Type yes: ")
	fmt.Fprint(s.keys, "no\n")
	if got := <-done; !errors.Is(got.err, question.ErrDeclined) {
		t.Fatalf("a yes typed before the question was shown was taken for its answer: %+v", got)
	}
}

func TestALineTypedForAnEndedQuestionConfirmsNothing(t *testing.T) {
	s := sitDown(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := s.ask(ctx, approve)
	s.until(t, "Type yes: ")
	cancel()
	<-done
	fmt.Fprint(s.keys, "yes\n")
	s.until(t, "yes\r\n")
	for len(s.lines) == 0 { // the goroutine of the ended question has read it
		runtime.Gosched()
	}
	done = s.ask(t.Context(), approve)
	s.until(t, "Type yes: ")
	fmt.Fprint(s.keys, "no\n")
	if got := <-done; !errors.Is(got.err, question.ErrDeclined) {
		t.Fatalf("answered %+v", got)
	}
}

func TestASecretIsUnseenAndTheTerminalIsGivenBack(t *testing.T) {
	s := sitDown(t)
	secretQuestion := question.Question{ID: "vault.passphrase", Kind: question.Secret, Text: "Passphrase"}
	done := s.ask(t.Context(), secretQuestion)
	s.until(t, "Passphrase: ")
	if s.echoes(t) {
		t.Error("the terminal shows what is typed")
	}
	fmt.Fprint(s.keys, "correct horse\n")
	if got := <-done; got.err != nil || got.Secret.Reveal() != "correct horse" {
		t.Fatalf("read %v", got.err)
	}
	if !s.echoes(t) {
		t.Error("the terminal stays without echo")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done = s.ask(ctx, secretQuestion)
	s.until(t, "Passphrase: ")
	cancel()
	if got := <-done; !errors.Is(got.err, context.Canceled) {
		t.Fatalf("ended with %v", got.err)
	}
	if !s.echoes(t) {
		t.Error("after an ended question the terminal stays without echo")
	}
}

func TestANewSecretIsTypedTwice(t *testing.T) {
	s := sitDown(t)
	q := question.Question{ID: "vault.new-passphrase", Kind: question.NewSecret, Text: "New passphrase"}
	done := s.ask(t.Context(), q)
	s.until(t, "New passphrase: ")
	fmt.Fprint(s.keys, "one\n")
	s.until(t, "The same again: ")
	fmt.Fprint(s.keys, "two\n")
	if got := <-done; got.err == nil {
		t.Fatal("two that differ were taken")
	}
}

func TestAQuestionIsReadableWhileProgressIsShown(t *testing.T) {
	s := sitDown(t)
	s.Status("wave 1/4 87/200")
	s.until(t, "87/200")
	done := s.ask(t.Context(), approve)
	s.until(t, "Type yes: ")
	for range 20 {
		s.Status("wave 2/4 99/200")
		s.Say("PC-0001 fixed")
	}
	fmt.Fprint(s.keys, "yes\n")
	if got := <-done; got.err != nil {
		t.Fatal(got.err)
	}
	after := s.until(t, "99/200") // the status line is back, and all that was said meanwhile
	if strings.Count(after, "PC-0001 fixed") != 20 || strings.Index(after, "yes") > strings.Index(after, "PC-0001") {
		t.Errorf("%q", after)
	}
}

func TestCtrlCEndsAQuestion(t *testing.T) {
	s := sitDown(t)
	ctx, stop := Interruptible(t.Context())
	defer stop()
	stopped := make(chan struct{})
	release := OnFirstInterrupt(ctx, func() { close(stopped) }, func() {})
	defer release()
	done := s.ask(ctx, approve)
	s.until(t, "Type yes: ")
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if got := <-done; !errors.Is(got.err, context.Canceled) {
		t.Fatalf("ended with %v", got.err)
	}
	<-stopped // and the command has its first interrupt all the same
	if ctx.Err() != nil {
		t.Error("the first Ctrl-C of a command that claimed it cancelled everything")
	}
}

// The end of the input answers nothing, whatever was typed of a line before, and says what would have answered.
func TestTheEndOfTheInputAnswersNothing(t *testing.T) {
	const ctrlD = "\x04"
	for kind, prompt := range map[question.Kind]string{question.Line: "What: ", question.Word: "go on: ", question.YesNo: "Type yes: ", question.Secret: "What: ", question.NewSecret: "What: "} {
		for _, typed := range []string{ctrlD, "yes" + ctrlD + ctrlD} {
			s := sitDown(t)
			done := s.ask(t.Context(), question.Question{ID: "q", Kind: kind, Text: "What", Word: "yes", Flag: "add --yes"})
			s.until(t, prompt)
			fmt.Fprint(s.keys, typed)
			got := <-done
			unanswered := (*question.UnansweredError)(nil)
			if !errors.As(got.err, &unanswered) || !errors.Is(got.err, io.EOF) || got.Text != "" || !slices.Equal(hint.Of(got.err), []string{"add --yes"}) {
				t.Errorf("kind %d, %q: %+v %v", kind, typed, got, hint.Of(got.err))
			}
			if !s.echoes(t) {
				t.Errorf("kind %d, %q: the terminal stays without echo", kind, typed)
			}
		}
	}
}
