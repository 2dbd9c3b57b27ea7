package signin_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/signin"
)

// answers are what machines say when they are asked, by ID, and who was.
type answers struct {
	say   map[string]signin.State // "": accepted
	asked []string
}

func (s *answers) ask(ctx context.Context, m route.Target, begin func(string) (route.Trial, error)) error {
	s.asked = append(s.asked, m.Name)
	in := domainOf(m)
	if strings.HasPrefix(m.ID, "dc:") {
		in = "" // which does not say
	}
	trial, err := begin(in)
	if err != nil {
		return err
	}
	switch s.say[m.ID] {
	case signin.Refused:
		return trial.Refused(ctx)
	case signin.Sent: // nothing is told
	case signin.Unanswered:
		trial.Unanswered()
	default:
		trial.Accepted()
	}
	return nil
}

func isBarred(t *testing.T, err error) *route.BarredError {
	t.Helper()
	var barred *route.BarredError
	if !errors.As(err, &barred) {
		t.Fatalf("not barred: %v", err)
	}
	return barred
}

// Where one domain has taken the account the first sign-in of another is one at a machine that has not, and leaves the place of the question.
func TestANewDomainWaitsForWhoIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s, m, began := signin.New(&signin.Memory{}, signin.Rule{}), &answers{}, fleet("CORP", 2), make(chan route.Trial, 1)
		begun(t, l, m[0], s.ask).Accepted()
		first := begun(t, l, m[1], s.ask)
		go func() { began <- begun(t, l, fleet("OTHER", 1)[0], s.ask) }()
		synctest.Wait()
		if len(began) > 0 {
			t.Error("two at machines that have not taken it")
		}
		first.Accepted()
		(<-began).Accepted()
	})
}

// Where a doubt is left since nobody is there to be asked, a sign-in is written down before it is made.
func TestASignInInDoubtIsWrittenDownFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, book, m := newWorld(), &signin.Memory{}, fleet("CORP", 3)
		l := signin.New(book, signin.Rule{})
		w.one(t.Context(), l, m[0])
		w.down[m[0].ID] = true
		begun(t, l, m[1], w.ask).Unanswered()
		trial := begun(t, l, m[2], w.ask)
		if got := book.States(); got[len(got)-1] != signin.Sent {
			t.Errorf("%v", got)
		}
		trial.Accepted()
	})
}

// A process that was killed left a sign-in at one machine: the next one is another's.
func TestWhatAKilledProcessLeftIsASilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book, m, s, later := &signin.Memory{}, fleet("CORP", 2), &answers{}, (*route.NotYetError)(nil)
		begun(t, signin.New(book, signin.Rule{}), m[0], s.ask)
		if _, err := signin.New(book, signin.Rule{}).Try(t.Context(), account(m[0]), m[0], s.ask); !errors.As(err, &later) {
			t.Errorf("%v", err)
		}
	})
}

// Who is asked and says nothing has not answered; and when that was the last sign-in that may fail, nobody else is asked.
func TestWhoIsAskedAndSilentIsTheLast(t *testing.T) {
	for _, silent := range []signin.State{signin.Sent, signin.Unanswered} {
		synctest.Test(t, func(t *testing.T) {
			l, m := signin.New(&signin.Memory{}, signin.Rule{}), fleet("CORP", 3)
			s := &answers{say: map[string]signin.State{m[0].ID: silent, m[1].ID: silent}}
			begun(t, l, m[0], s.ask).Accepted()
			begun(t, l, m[1], s.ask).Accepted()
			err := begun(t, l, m[2], s.ask).Refused(t.Context())
			if no := isBarred(t, err); !no.All || !strings.Contains(no.Why, "were refused or had no answer (CORP-PC2, CORP-PC1)") || len(s.asked) != 1 {
				t.Errorf("%v, asked %v", err, s.asked)
			}
		})
	}
}

// What another domain than its own says bars the account everywhere when it was the last that may fail.
func TestTheLastThatMayFailBarsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book, s, other := &signin.Memory{}, &answers{}, fleet("OTHER", 3)
		begun(t, signin.New(book, signin.Rule{}), fleet("CORP", 1)[0], s.ask)
		if no := isBarred(t, begun(t, signin.New(book, signin.Rule{}), other[0], s.ask).Refused(t.Context())); !no.All {
			t.Errorf("refused: %v", no)
		}
		l := signin.New(&signin.Memory{}, signin.Rule{})
		begun(t, l, other[0], s.ask).Unanswered()
		begun(t, l, other[1], s.ask).Unanswered()
		if _, err := l.Try(t.Context(), account(other[2]), other[2], s.ask); !isBarred(t, err).All {
			t.Errorf("unanswered: %v", err)
		}
	})
}

// Where a secret goes with every request, one that was accepted may be refused later, and counts.
func TestAcceptedAndRefusedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book, s, m := &signin.Memory{}, &answers{}, fleet("CORP", 2)
		l := signin.New(book, signin.Rule{})
		begun(t, l, m[0], s.ask).Accepted()
		trial := begun(t, l, m[1], s.ask)
		trial.Accepted()
		if err := trial.Refused(t.Context()); err != nil || !slices.Equal(s.asked, []string{"CORP-PC0"}) || !slices.Contains(book.States(), signin.Cleared) {
			t.Errorf("%v, asked %v: %v", err, s.asked, book.States())
		}
	})
}

// No machine of a domain that rejects the account by now is asked about it.
func TestADomainThatRejectsIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, corp, other := signin.New(&signin.Memory{}, signin.Rule{Limit: 5}), fleet("CORP", 1), fleet("OTHER", 2)
		s := &answers{say: map[string]signin.State{}}
		begun(t, l, corp[0], s.ask).Accepted()
		begun(t, l, other[0], s.ask).Accepted()
		s.say[other[0].ID] = signin.Refused
		if err := begun(t, l, other[1], s.ask).Refused(t.Context()); isBarred(t, err).All || !slices.Equal(s.asked, []string{"OTHER-PC0"}) {
			t.Errorf("%v, asked %v", err, s.asked)
		}
		if _, err := l.Try(t.Context(), account(other[1]), other[1], s.ask); isBarred(t, err).All {
			t.Errorf("%v", err)
		}
		again := begun(t, l, corp[0], s.ask)
		s.asked = nil
		if err := again.Refused(t.Context()); err == nil || len(s.asked) > 0 {
			t.Errorf("%v, asked %v", err, s.asked)
		}
	})
}

// turns is a book with one lock, for which is looked every millisecond, as for that of a file.
type turns struct {
	signin.Memory
	held chan struct{}
}

type turn struct{ held chan struct{} }

func (turn) Mark() int64      { return 0 }
func (turn) Note(int64) error { return nil }
func (t turn) Release() error { <-t.held; return nil }

func (b *turns) Lock(ctx context.Context, _ string) (signin.Lock, error) {
	for {
		select {
		case b.held <- struct{}{}:
			return turn{b.held}, nil
		default:
			time.Sleep(time.Millisecond)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// A process that always has a sign-in under way leaves the account to others all the same.
func TestProcessesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, book, m := newWorld(), &turns{held: make(chan struct{}, 1)}, fleet("CORP", 2)
		busy, over := signin.New(book, signin.Rule{Limit: 5}), make(chan struct{})
		for _, one := range m {
			w.one(t.Context(), busy, one)
		}
		ctx, cancel := context.WithCancel(t.Context())
		for _, one := range m {
			go func() {
				defer func() { over <- struct{}{} }()
				for ctx.Err() == nil {
					trial := begun(t, busy, one, w.ask)
					time.Sleep(w.rtt)
					trial.Accepted()
				}
			}()
			time.Sleep(w.rtt / 2) // when one ends the other is under way
		}
		time.Sleep(time.Second)
		began := time.Now()
		w.one(t.Context(), signin.New(book, signin.Rule{Limit: 5}), m[0])
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("after %s", took)
		}
		cancel()
		for range m {
			<-over
		}
	})
}

// A machine that may have been changed, and had no answer when it was signed in to, waits for no chance: another one that will be signed in
// to anyway goes first. One of another domain is sent nothing, the limit holds, and where nobody is there that is said.
func TestWhoMayHaveBeenChangedDoesNotStandStill(t *testing.T) {
	m, other := fleet("CORP", 6), fleet("OTHER", 6)
	all := slices.Concat(m[:2], other[:2], m[2:])
	for name, c := range map[string]struct {
		due   bool
		down  []string
		say   map[string]signin.State
		asked string
		want  string // what is said; "" is nothing
	}{
		"another takes it":  {due: true, asked: "CORP-PC1"},
		"some are down":     {due: true, down: []string{"CORP-PC1", "CORP-PC2"}, asked: "OTHER-PC0 OTHER-PC1 CORP-PC3"},
		"another rejects":   {due: true, say: map[string]signin.State{"CORP1": signin.Refused}, asked: "CORP-PC1", want: `CORP-PC1 rejected CORP\admin`},
		"another is silent": {due: true, say: map[string]signin.State{"CORP1": signin.Unanswered}, asked: "CORP-PC1", want: `two sign-ins of CORP\admin had no answer (CORP-PC0, CORP-PC1)`},
		"nobody is there": {due: true, down: []string{"CORP-PC1", "CORP-PC2", "CORP-PC3", "CORP-PC4", "CORP-PC5"}, asked: "OTHER-PC0 OTHER-PC1",
			want: "CORP-PC0 did not answer when it was signed in to"},
		"not changed": {want: "CORP-PC0 did not answer when it was signed in to"},
	} {
		synctest.Test(t, func(t *testing.T) {
			book, s := &signin.Memory{}, &answers{say: c.say}
			begun(t, signin.New(book, signin.Rule{}), m[0], s.ask) // and the process is killed
			ask := func(ctx context.Context, m route.Target, begin func(string) (route.Trial, error)) error {
				if slices.Contains(c.down, m.Name) {
					return errCut
				}
				return s.ask(ctx, m, begin)
			}
			ctx := t.Context()
			if c.due {
				ctx = route.WithDue(ctx)
			}
			l := signin.New(book, signin.Rule{}).Among(slices.Values(all))
			trial, err := l.Try(ctx, account(m[0]), m[0], ask)
			if got := strings.Join(s.asked, " "); got != c.asked {
				t.Errorf("%s: asked %q", name, got)
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("%s: %v", name, err)
			}
			later := (*route.NotYetError)(nil)
			if errors.As(err, &later) && later.Nobody != c.due {
				t.Errorf("%s: nobody is there: %v", name, later.Nobody)
			}
			if err == nil {
				trial.Accepted()
			}
			if n := len(slices.DeleteFunc(book.States(), func(s signin.State) bool { return !s.Counts() })); n > signin.Limit || err == nil && n > 0 {
				t.Errorf("%s: %d count", name, n)
			}
		})
	}
}

// Who had no answer either is not the one that goes first.
func TestWhoWasSilentTooIsNotLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book, s, m, rule := &signin.Memory{}, &answers{}, fleet("CORP", 4), signin.Rule{Limit: 5}
		begun(t, signin.New(book, rule), m[1], s.ask) // and the process is killed
		l := signin.New(book, rule).Among(slices.Values(m))
		begun(t, l, m[0], s.ask).Unanswered()
		trial, err := l.Try(route.WithDue(t.Context()), account(m[0]), m[0], s.ask)
		if err == nil {
			trial.Accepted()
		}
		if err != nil || strings.Join(s.asked, " ") != "CORP-PC2" {
			t.Errorf("%v, asked %v", err, s.asked)
		}
	})
}
