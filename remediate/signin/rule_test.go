package signin_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/signin"
)

// An account that bears one is signed in with at one machine at a time, and everywhere; one refusal or silence is the end.
func TestAnAccountThatBearsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(), signin.New(&signin.Memory{}, signin.Rule{Limit: 1})
		if counts, _ := w.run(t, l, append(fleet("CORP", 30), fleet("OTHER", 5)...), 9); counts["done"] != 35 || w.mostOut != 1 {
			t.Errorf("%v, %d at once", counts, w.mostOut)
		}
	})
	for _, cut := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w, l, m := newWorld(), signin.New(&signin.Memory{}, signin.Rule{Limit: 1}), fleet("CORP", 5)
			w.one(t.Context(), l, m[0])
			w.broken[m[1].ID], w.cut[m[1].ID] = !cut, cut
			w.one(t.Context(), l, m[1])
			before, want := w.attempts, `one sign-in of CORP\admin was refused (CORP-PC1)`
			if cut {
				want = `one sign-in of CORP\admin had no answer (CORP-PC1)`
			}
			_, err := l.Try(t.Context(), account(m[2]), m[2], w.ask)
			if !cut && (isBarred(t, err) == nil || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), "--sign-ins 2 where fewer than 4 wrong passwords lock no account")) {
				t.Errorf("%v", err)
			}
			if w.attempts > before {
				t.Errorf("%d more were sent", w.attempts-before)
			}
		})
	}
}

// What was not accepted counts until nothing was wrong for the window of the domain, as its controllers count; and no longer.
func TestHowLongASignInCounts(t *testing.T) {
	const window = 10 * time.Minute
	for _, c := range []struct {
		pauses []time.Duration // between refused sign-ins
		after  time.Duration   // the last
		sent   bool
	}{
		{[]time.Duration{9 * time.Minute}, 9 * time.Minute, true},                   // two of three
		{[]time.Duration{9 * time.Minute, 9 * time.Minute}, 9 * time.Minute, false}, // the first is older than the window, and counts
		{[]time.Duration{9 * time.Minute, 9 * time.Minute}, window, true},
		{[]time.Duration{window, 9 * time.Minute}, time.Minute, true}, // the first was forgotten
	} {
		synctest.Test(t, func(t *testing.T) {
			w, book, m, s := newWorld(), &signin.Memory{}, fleet("CORP", 1)[0], &answers{}
			rule := signin.Rule{Limit: 3, Window: window}
			w.wrong = func(string) bool { return true }
			w.one(t.Context(), signin.New(book, rule), m)
			for _, pause := range c.pauses {
				time.Sleep(pause)
				w.one(t.Context(), signin.New(book, rule), m)
			}
			time.Sleep(c.after)
			if _, err := signin.New(book, rule).Try(t.Context(), account(m), m, s.ask); (err == nil) != c.sent {
				t.Errorf("%v, %v: %v", c.pauses, c.after, err)
			}
		})
	}
}

// A domain controller is not asked elsewhere about: what it says of an account is so, also where others took it before.
func TestADomainControllerHasTheLastWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book, s, m := &signin.Memory{}, &answers{}, fleet("CORP", 2)
		dc, who := route.Target{ID: "dc:dc1", Name: "dc1"}, account(m[0])
		who.Final = true
		l := signin.New(book, signin.Rule{})
		begun(t, l, m[0], s.ask).Accepted()
		trial, err := l.Try(t.Context(), who, dc, s.ask)
		if err != nil {
			t.Fatal(err)
		}
		if no := isBarred(t, trial.Refused(t.Context())); !no.All || len(s.asked) > 0 {
			t.Errorf("%v, asked %v", no, s.asked)
		}
		// In another process it is not asked who took the account either, and a silence does not send it to the end of the queue.
		l = signin.New(book, signin.Rule{Limit: 3})
		for range 2 {
			if trial, err = l.Try(t.Context(), who, dc, s.ask); err != nil || len(s.asked) > 0 {
				t.Fatalf("%v, asked %v", err, s.asked)
			}
			trial.Unanswered()
		}
		if _, err = l.Try(t.Context(), who, dc, s.ask); !strings.HasPrefix(isBarred(t, err).Why, `two sign-ins of CORP\admin had no answer (dc1)`) {
			t.Errorf("%v", err)
		}
		// Accepted there, it is proven for the machines of the domain.
		l = signin.New(book, signin.Rule{Limit: 5})
		if trial, err = l.Try(t.Context(), who, dc, s.ask); err != nil {
			t.Fatal(err)
		}
		trial.Accepted()
		l = signin.New(book, signin.Rule{})
		begun(t, l, m[1], s.ask)
		if strings.Join(s.asked, " ") != "dc1" {
			t.Errorf("asked %v", s.asked)
		}
	})
}

// What a machine says is enough where its domain has taken the account and nothing counts: others do not wait for the proof. It is no
// witness until that comes, and counts as nothing if none does.
func TestWhatAMachineSaysHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book, m, s := &signin.Memory{}, fleet("CORP", 40), &answers{}
		l := signin.New(book, signin.Rule{})
		first := begun(t, l, m[0], s.ask)
		if first.Taken() {
			t.Error("the first of its domain")
		}
		first.Accepted()
		for _, one := range m[1:30] {
			trial := begun(t, l, one, s.ask)
			if !trial.Taken() || trial.Taken() {
				t.Error("it has to be proven, or is taken twice")
			}
			defer trial.Unanswered()
		}
		proven := begun(t, l, m[30], s.ask)
		proven.Taken()
		proven.Accepted()
		trial := begun(t, l, m[31], s.ask)
		trial.Taken()
		trial.Unanswered()
		if states := book.States(); slices.ContainsFunc(states, signin.State.Counts) {
			t.Errorf("%v", states)
		}
		refused := begun(t, l, m[32], s.ask)
		if err := refused.Refused(t.Context()); err != nil || strings.Join(s.asked, " ") != "CORP-PC30" {
			t.Errorf("%v, asked %v", err, s.asked)
		}
		who := account(m[33])
		who.Word = true
		word, err := l.Try(t.Context(), who, m[33], s.ask)
		if err != nil || word.Taken() {
			t.Error("its word is all there is", err)
		}
		word.Accepted()
		other, err := l.Try(t.Context(), account(fleet("OTHER", 1)[0]), fleet("OTHER", 1)[0], s.ask)
		if err != nil || other.Taken() {
			t.Error("the first of another domain", err)
		}
	})
}

// What was written down before it was sent has to be proven: else the book would never know what came of it.
func TestASignInThatIsWrittenDownIsProven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(), fleet("CORP", 3)
		l := signin.New(&signin.Memory{}, signin.Rule{})
		w.one(t.Context(), l, m[0])
		w.down[m[0].ID] = true
		begun(t, l, m[1], w.ask).Unanswered()
		trial := begun(t, l, m[2], w.ask) // in doubt
		time.Sleep(signin.Window)         // and in none any more
		if trial.Taken() {
			t.Error("it was written down, and has no proof")
		}
		trial.Accepted()
	})
}
