package signin_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/signin"
)

// forest is a world with a controller of each domain. One that trusts CORP hands its sign-ins on; another has an account of that name, with a
// password and a count of its own.
type forest struct {
	*world
	alone   map[string]bool // domains that trust nobody
	rejects map[string]bool // controllers that reject the password
	count   map[string]int  // in a row, by controller
	most    map[string]int
}

func newForest() *forest {
	return &forest{newWorld(), map[string]bool{}, map[string]bool{}, map[string]int{}, map[string]int{}}
}

func (f *forest) one(ctx context.Context, l route.Ledger, m route.Target) error {
	trial, err := l.Try(ctx, account(m), m, f.ask)
	if err != nil {
		return err
	}
	return f.tell(ctx, m, trial)
}

func (f *forest) ask(ctx context.Context, m route.Target, begin func(string) (route.Trial, error)) error {
	f.mu.Lock()
	down := f.down[m.ID]
	f.mu.Unlock()
	if down {
		return errors.New("down")
	}
	trial, err := begin(domainOf(m))
	if err != nil {
		return err
	}
	return f.tell(ctx, m, trial)
}

// controller is who counts the sign-ins at machines of a domain.
func (f *forest) controller(domain string) string {
	if f.alone[domain] {
		return domain
	}
	return "CORP"
}

func (f *forest) tell(ctx context.Context, m route.Target, trial route.Trial) error {
	time.Sleep(f.rtt)
	f.mu.Lock()
	by := f.controller(domainOf(m))
	cut, broken, rejects := f.cut[m.ID], f.broken[m.ID], f.rejects[by]
	f.attempts++
	switch {
	case broken:
	case rejects:
		f.count[by]++
		f.most[by] = max(f.most[by], f.count[by])
	default:
		f.count[by] = 0
	}
	f.mu.Unlock()
	switch {
	case cut:
		trial.Unanswered()
		return errCut
	case broken || rejects:
		return trial.Refused(ctx)
	}
	trial.Accepted()
	return nil
}

// What one domain accepts tells nothing of what another has counted: a domain that has an account of that name with another password is
// asked once, and in no later run while that counts, unless somebody says so; never more often than that domain bears.
func TestADomainWithAnAccountOfThatNameIsNotAskedInEachRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, book := newForest(), &signin.Memory{}
		f.alone["OTHER"], f.rejects["OTHER"] = true, true
		life := func(rule signin.Rule) (good int, why error) {
			l := signin.New(book, rule)
			for i := range 10 {
				if f.one(t.Context(), l, fleet("CORP", 10)[i]) == nil {
					good++
				}
				if err := f.one(t.Context(), l, fleet("OTHER", 10)[i]); err != nil {
					why = err
				}
			}
			return good, why
		}
		for n := range 6 {
			good, why := life(signin.Rule{Limit: 5, Safe: 5})
			if good != 10 || f.count["OTHER"] != 1 {
				t.Fatalf("run %d: %d in CORP, OTHER counts %d", n, good, f.count["OTHER"])
			}
			want := `OTHER-PC0 rejected CORP\admin at ` + time.Now().Add(-20*f.rtt).Local().Format("15:04") + `, which its own domain takes: it is not sent there again before ` +
				soon() + `, or at once with --sign-ins 2 where fewer than 4 wrong passwords lock no account (domain OTHER)`
			if n == 0 && why.Error() != `OTHER-PC0 rejected CORP\admin: it is not sent there again before `+soon()+
				", or at once with --sign-ins 2 where fewer than 4 wrong passwords lock no account (domain OTHER)" {
				t.Errorf("the first run: %v", why)
			}
			if n > 0 && (isBarred(t, why).All || why.Error() != want) {
				t.Errorf("run %d: %v", n, why)
			}
		}
		if life(signin.Rule{Limit: 2, Safe: 5, Said: true}); f.count["OTHER"] != 2 {
			t.Errorf("somebody said 2: %d", f.count["OTHER"])
		}
		for _, n := range []int{2, 5, 9} {
			_, why := life(signin.Rule{Limit: n, Safe: 5, Said: true})
			if f.count["OTHER"] != 2 || isBarred(t, why).More > 0 {
				t.Errorf("somebody said %d: %d, %v", n, f.count["OTHER"], why)
			}
		}
		time.Sleep(signin.Window)
		f.rejects["OTHER"] = false
		if _, why := life(signin.Rule{}); why != nil {
			t.Errorf("after the window: %v", why)
		}
	})
}

// Each domain has its own threshold.
func TestADomainBearsWhatItToldItself(t *testing.T) {
	for bears, want := range map[int]int{0: 2, 1: 1, 3: 3, 7: 5} {
		synctest.Test(t, func(t *testing.T) {
			f, book := newForest(), &signin.Memory{}
			f.alone["OTHER"], f.rejects["OTHER"] = true, true
			rule := signin.Rule{Limit: 5, Safe: 5}
			if bears > 0 {
				rule.Elsewhere = map[string]signin.Rule{"OTHER": {Limit: bears, Window: time.Hour}}
			}
			for range 8 {
				_ = f.one(t.Context(), signin.New(book, rule), fleet("OTHER", 1)[0]) //nolint:errcheck // it is counted
			}
			if f.most["OTHER"] != want {
				t.Errorf("%d of %d", f.most["OTHER"], bears)
			}
			time.Sleep(signin.Window)
			before := f.attempts
			_ = f.one(t.Context(), signin.New(book, rule), fleet("OTHER", 1)[0]) //nolint:errcheck // it is counted
			if again := f.attempts > before; again != (bears == 0) {
				t.Errorf("%d: after half an hour %v", bears, again)
			}
		})
	}
}

// Whatever happens, in however many runs: no controller counts more than its domain bears, whoever hands sign-ins on to whom.
func TestNoControllerLocksAnAccount(t *testing.T) {
	for seed := range uint64(120) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			f, book := newForest(), &signin.Memory{}
			rule := signin.Rule{Limit: 1 + r.IntN(5), Elsewhere: map[string]signin.Rule{}, Said: r.IntN(2) == 0}
			bears := map[string]int{"CORP": rule.Limit}
			var machines []route.Target
			for _, d := range []string{"CORP", "OTHER", "THIRD", "FOURTH"} {
				f.alone[d] = d != "CORP" && r.IntN(2) == 0
				f.rejects[d] = r.IntN(2) == 0
				if d != "CORP" {
					bears[d] = signin.Limit
					if r.IntN(2) == 0 {
						bears[d] = 1 + r.IntN(4)
						rule.Elsewhere[d] = signin.Rule{Limit: bears[d]}
					}
				}
				machines = append(machines, fleet(d, r.IntN(12))...)
			}
			r.Shuffle(len(machines), func(i, j int) { machines[i], machines[j] = machines[j], machines[i] })
			for _, some := range []map[string]bool{f.broken, f.cut, f.down} {
				share := r.Float64() * r.Float64() / 2
				for _, m := range machines {
					some[m.ID] = r.Float64() < share
				}
			}
			for range 1 + r.IntN(5) {
				l := signin.New(book, rule)
				var group sync.WaitGroup
				for m := range slices.Chunk(machines, 1+r.IntN(6)) {
					group.Go(func() {
						for range 2 {
							for _, m := range m {
								_ = f.one(t.Context(), l, m) //nolint:errcheck // it is counted
							}
						}
					})
				}
				group.Wait()
				if change := r.IntN(8); change < 4 { // somebody changes a password
					d := []string{"CORP", "OTHER", "THIRD", "FOURTH"}[change]
					f.rejects[d] = !f.rejects[d]
				}
			}
			for _, d := range slices.Sorted(maps.Keys(f.most)) {
				if f.most[d] > bears[d] {
					t.Errorf("seed %d: %s counted %d, and bears %d (%s)", seed, d, f.most[d], bears[d], strings.TrimSpace(fmt.Sprint(f.alone)))
				}
			}
		})
	}
}

// A number of sign-ins is named where it is known to be safe, or on which condition it is, and never where it does not help.
func TestNoNumberIsNamedThatLocksTheAccount(t *testing.T) {
	for _, c := range []struct {
		domain string
		rule   signin.Rule
		more   int
		unless string
	}{
		{"CORP", signin.Rule{}, 3, " where fewer than 6 wrong passwords lock no account"},
		{"CORP", signin.Rule{Limit: 2, Safe: 2}, 0, ""},
		{"CORP", signin.Rule{Limit: 2, Safe: 5}, 3, ""},
		{"OTHER", signin.Rule{Limit: 5, Safe: 5}, 0, ""}, // it bears two, whatever is said
		{"OTHER", signin.Rule{Limit: 1, Safe: 5}, 2, " where fewer than 4 wrong passwords lock no account"},
		{"OTHER", signin.Rule{Limit: 1, Safe: 5, Elsewhere: map[string]signin.Rule{"OTHER": {Limit: 3}}}, 2, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			f, book, m := newForest(), &signin.Memory{}, fleet(c.domain, 1)[0]
			f.alone["OTHER"], f.rejects["CORP"], f.rejects["OTHER"] = true, true, true
			limit := min(max(c.rule.Limit, 1), signin.Limit)
			if c.rule.Limit == 0 {
				limit = signin.Limit
			}
			var first *route.BarredError
			for range limit {
				first = isBarred(t, f.one(t.Context(), signin.New(book, c.rule), m))
			}
			no := isBarred(t, f.one(t.Context(), signin.New(book, c.rule), m))
			if first.Until.Sub(no.Until).Abs() > f.rtt || first.More != no.More || first.Locks != no.Locks || !strings.Contains(first.Error(), " "+first.Until.Local().Format("15:04")) {
				t.Errorf("%+v: the refusal that was the last one says %v, and what came after it is told %v", c, first, no)
			}
			if f.attempts != limit || no.More != c.more || no.Unless() != c.unless || c.more > 0 && !strings.Contains(no.Error(), fmt.Sprintf("--sign-ins %d%s", c.more, c.unless)) {
				t.Errorf("%+v: after %d: %v", c, f.attempts, no)
			}
			if c.more == 0 {
				return
			}
			c.rule.Limit, c.rule.Said = c.more, true
			if _ = f.one(t.Context(), signin.New(book, c.rule), m); f.attempts != limit+1 { //nolint:errcheck // it is counted
				t.Errorf("%+v: the number that is named does not help", c)
			}
		})
	}
}

// A doubt in one domain is settled before a sign-in in another could take it the last one that may fail, with which it asks.
func TestADomainPaysForNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s, corp, other := signin.New(&signin.Memory{}, signin.Rule{}), &answers{}, fleet("CORP", 3), fleet("OTHER", 4)
		begun(t, l, corp[0], s.ask).Accepted()
		begun(t, l, other[0], s.ask).Accepted()
		begun(t, l, other[1], s.ask).Unanswered()
		silent := begun(t, l, corp[1], s.ask)
		if got := strings.Join(s.asked, " "); got != "CORP-PC0 OTHER-PC0" {
			t.Errorf("asked %s", got)
		}
		silent.Unanswered()
		for _, m := range []route.Target{other[2], corp[2]} {
			begun(t, l, m, s.ask).Accepted()
		}
	})
}

// What the account of one machine alone was refused counts for no later run, so that no hour is named for it.
func TestNoHourIsNamedForTheAccountOfOneMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // and what another domain refused counts for the account's own
		f, book := newForest(), &signin.Memory{}
		f.rejects["CORP"] = true
		first := isBarred(t, f.one(t.Context(), signin.New(book, signin.Rule{}), fleet("OTHER", 1)[0]))
		if first.Until.IsZero() || !strings.Contains(first.Why, ": if its own domain takes it, it is not sent there again before ") {
			t.Errorf("nobody knows yet whether that is this domain's trouble, and no hour is named: %+v", first)
		}
		no := isBarred(t, f.one(t.Context(), signin.New(book, signin.Rule{}), fleet("CORP", 1)[0]))
		if no.More != 3 || no.Until.IsZero() || isBarred(t, f.one(t.Context(), signin.New(book, signin.Rule{}), fleet("CORP", 1)[0])).Until.IsZero() || f.attempts != 2 {
			t.Errorf("after %d: %+v", f.attempts, no)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f, m := newForest(), fleet("CORP", 1)[0]
		trial, err := signin.New(&signin.Memory{}, signin.Rule{Limit: 1}).Try(t.Context(), route.Account{Name: m.Name + `\Administrator`, Domain: m.Name, Home: true, Own: true}, m, f.ask)
		if err != nil {
			t.Fatal(err)
		}
		if no := isBarred(t, trial.Refused(t.Context())); !no.Until.IsZero() || no.More != 0 || no.Why != m.Name+` rejected `+m.Name+`\Administrator` {
			t.Errorf("%+v", no)
		}
	})
}
