package signin_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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

// world is a domain controller and the machines that ask it. It counts as Windows does: a right password clears.
type world struct {
	mu       sync.Mutex
	rtt      time.Duration
	rand     func() float64
	wrong    func(domain string) bool // the password, at this moment
	broken   map[string]bool          // machines that reject whatever they get
	cut      map[string]bool          // machines that hang up before they answer
	hang     map[string]bool          // machines that never answer
	down     map[string]bool
	liars    map[string]bool // machines that take whatever they get
	word     bool            // nothing proves that a machine took it
	attempts int
	failed   int // in a row, at the domain controller
	worst    int
	refused  int // answers
	out      int
	mostOut  int
	aside    int // told to let another one go first
}

func newWorld() *world {
	return &world{rtt: 20 * time.Millisecond, rand: rand.New(rand.NewPCG(1, 2)).Float64, wrong: func(string) bool { return false },
		broken: map[string]bool{}, cut: map[string]bool{}, down: map[string]bool{}, hang: map[string]bool{}, liars: map[string]bool{}}
}

// left are the machines that reject whatever they get.
func (w *world) left(machines []route.Target) []route.Target {
	return slices.DeleteFunc(slices.Clone(machines), func(m route.Target) bool { return !w.broken[m.ID] })
}

var errCut = errors.New("cut")

// send is a secret on its way to a machine and the answer on its way back.
func (w *world) send(m route.Target, domain string) (took bool, err error) {
	w.mu.Lock()
	w.attempts++
	w.out++
	w.mostOut = max(w.mostOut, w.out)
	there := time.Duration(w.rand() * float64(w.rtt))
	w.mu.Unlock()
	time.Sleep(there)
	w.mu.Lock()
	took = !w.broken[m.ID] && !w.wrong(domain) || w.liars[m.ID]
	switch {
	case w.liars[m.ID]:
	case w.broken[m.ID]: // the domain controller is not asked
	case took:
		w.failed = 0
	default:
		w.failed++
		w.worst = max(w.worst, w.failed)
	}
	if w.cut[m.ID] {
		err = errCut
	} else if !took {
		w.refused++
	}
	w.mu.Unlock()
	time.Sleep(w.rtt - there)
	w.mu.Lock()
	w.out--
	w.mu.Unlock()
	return took, err
}

func domainOf(m route.Target) string {
	domain, _, _ := strings.Cut(m.Name, "-")
	return domain
}

func account(m route.Target) route.Account {
	return route.Account{Name: `CORP\admin`, Domain: domainOf(m), Home: domainOf(m) == "CORP"}
}

// tell gives a trial what came of it.
func (w *world) tell(ctx context.Context, m route.Target, trial route.Trial) (string, error) {
	if w.hang[m.ID] {
		w.mu.Lock()
		w.attempts++
		w.mu.Unlock()
		time.Sleep(cmp.Or(trial.Wait(), 30*time.Second))
		trial.Unanswered()
		return "unanswered", errCut
	}
	took, err := w.send(m, domainOf(m))
	switch {
	case err != nil:
		trial.Unanswered()
		return "unanswered", err
	case took:
		trial.Accepted()
		return "done", nil
	}
	if err := trial.Refused(ctx); err != nil {
		return "refused", err
	}
	return "denied", nil
}

func (w *world) ask(ctx context.Context, m route.Target, begin func(string) (route.Trial, error)) error {
	time.Sleep(w.rtt)
	w.mu.Lock()
	down := w.down[m.ID]
	w.mu.Unlock()
	if down {
		return errors.New("down")
	}
	trial, err := begin(domainOf(m))
	if err != nil {
		return err
	}
	_, err = w.tell(ctx, m, trial)
	return err
}

// run signs in at all machines, as many at a time as forks, and counts what they come to.
func (w *world) run(t *testing.T, l route.Ledger, machines []route.Target, forks int) (counts map[string]int, named []string) {
	t.Helper()
	counts = map[string]int{}
	jobs := make(chan route.Target)
	var mu sync.Mutex
	var group sync.WaitGroup
	for range forks {
		group.Go(func() {
			for m := range jobs {
				what := w.one(t.Context(), l, m)
				mu.Lock()
				counts[what]++
				if what != "done" && what != "held" {
					named = append(named, m.Name)
				}
				mu.Unlock()
			}
		})
	}
	for _, m := range machines {
		jobs <- m
	}
	close(jobs)
	group.Wait()
	return counts, named
}

func (w *world) one(ctx context.Context, l route.Ledger, m route.Target) (what string) {
	for range 4 {
		time.Sleep(w.rtt)
		who := account(m)
		who.Word = w.word
		trial, err := l.Try(ctx, who, m, w.ask)
		if later := (*route.NotYetError)(nil); errors.As(err, &later) {
			w.mu.Lock()
			w.aside++
			w.mu.Unlock()
			what = "unanswered"
			time.Sleep(w.rtt)
			continue
		}
		if err != nil {
			if what == "unanswered" {
				return what
			}
			return "held"
		}
		if what, _ = w.tell(ctx, m, trial); what != "unanswered" {
			return what
		}
		time.Sleep(w.rtt)
	}
	return what
}

func fleet(domain string, n int) (out []route.Target) {
	for i := range n {
		out = append(out, route.Target{ID: fmt.Sprint(domain, i), Name: fmt.Sprintf("%s-PC%d", domain, i)})
	}
	return out
}

// five breaks five machines, none of those of which any may be the first when a hundred work at once.
func (w *world) five(machines []route.Target) {
	for i := range 5 {
		w.broken[machines[100+i*80].ID] = true
	}
}

func TestFiveOfFiveHundredRejectAGoodAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, book, machines := newWorld(), &signin.Memory{}, fleet("CORP", 500)
		w.five(machines)
		counts, named := w.run(t, signin.New(book, signin.Rule{}), machines, 100)
		if counts["done"] != 495 || counts["denied"] != 5 || w.worst > 0 || w.mostOut > signin.Limit {
			t.Errorf("%v %v, %d at once", counts, named, w.mostOut)
		}
		// Those that are left, alone: a retry, and with a password that is wrong by now.
		left := w.left(machines)
		if counts, named := w.run(t, signin.New(book, signin.Rule{}), left, 100); counts["denied"] != 5 {
			t.Errorf("retry: %v %v", counts, named)
		}
		w.wrong = func(string) bool { return true }
		before := w.attempts
		if counts, named := w.run(t, signin.New(book, signin.Rule{}), left, 100); counts["held"] != 5 || w.attempts-before != 1 {
			t.Errorf("wrong password: %v %v after %d", counts, named, w.attempts-before)
		}
	})
}

// soon is when what counts now does not any more, in words.
func soon() string { return time.Now().Add(signin.Window).Local().Format("15:04") }

// A machine that refused twice is named once.
func TestWhatIsSaidNamesAMachineOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, book, m := newWorld(), &signin.Memory{}, fleet("CORP", 1)[0]
		w.wrong = func(string) bool { return true }
		for range 2 {
			w.one(t.Context(), signin.New(book, signin.Rule{}), m)
		}
		want := `two sign-ins of CORP\admin were refused (CORP-PC0) and none was accepted since: see that the password is right, then go on after ` + soon() + `, or at once with --sign-ins 3 where fewer than 6 wrong passwords lock no account`
		if _, err := signin.New(book, signin.Rule{}).Try(t.Context(), account(m), m, w.ask); err == nil || err.Error() != want {
			t.Error(err)
		}
	})
}

// Where nothing but its own word says that a machine took the account, one that lies clears two refusals of a wrong password and no third,
// also when it is asked first in a later run, and also when there are more of its kind.
func TestOneMachinesWordIsNotBelievedForLong(t *testing.T) {
	for liars := range 4 {
		synctest.Test(t, func(t *testing.T) {
			w, book, machines := newWorld(), &signin.Memory{}, fleet("CORP", 100)
			w.word, w.wrong = true, func(string) bool { return true }
			for i := range liars {
				w.liars[machines[i].ID] = true
			}
			for life := range 2 {
				w.refused = 0
				if counts, _ := w.run(t, signin.New(book, signin.Rule{}), machines, 1+life*50); w.refused > 2*liars+1 {
					t.Errorf("%d liars, life %d: %d refused, %v", liars, life, w.refused, counts)
				}
			}
		})
	}
}

// One machine that proves its word is enough for any number of others; one that only says so is believed twice.
func TestOneWitnessForManyRefusals(t *testing.T) {
	for word, denied := range map[bool]int{false: 10, true: 2} {
		synctest.Test(t, func(t *testing.T) {
			w, machines := newWorld(), fleet("CORP", 11)
			w.word = word
			for _, m := range machines[1:] {
				w.broken[m.ID] = true
			}
			if counts, named := w.run(t, signin.New(&signin.Memory{}, signin.Rule{}), machines, 1); counts["done"] != 1 || counts["denied"] != denied {
				t.Errorf("%v: %v %v", word, counts, named)
			}
		})
	}
}

// Those that reject a good account are told apart all the same, as long as enough others take it: in this run or in an earlier one.
func TestFiveOfFiveHundredWhereOnlyTheirWordIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, book, machines := newWorld(), &signin.Memory{}, fleet("CORP", 500)
		w.word = true
		w.five(machines)
		if counts, named := w.run(t, signin.New(book, signin.Rule{}), machines, 100); counts["done"] != 495 || counts["denied"] != 5 {
			t.Errorf("%v %v", counts, named)
		}
		left := w.left(machines)
		if counts, named := w.run(t, signin.New(book, signin.Rule{}), left, 100); counts["denied"] != 5 {
			t.Errorf("retry: %v %v", counts, named)
		}
	})
}

func TestAWrongPasswordIsTriedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, book := newWorld(), &signin.Memory{}
		w.wrong = func(string) bool { return true }
		for life, attempts := range []int{1, 2, 2, 2} { // a third would be one too many
			counts, _ := w.run(t, signin.New(book, signin.Rule{}), fleet("CORP", 200), 100)
			if w.attempts != attempts || counts["held"] < 199 {
				t.Errorf("life %d: %d attempts, %v", life, w.attempts, counts)
			}
		}
		if _, err := signin.New(book, signin.Rule{}).Try(t.Context(), account(fleet("CORP", 1)[0]), fleet("CORP", 1)[0], w.ask); err == nil ||
			!strings.HasPrefix(err.Error(), `two sign-ins of CORP\admin were refused (CORP-PC`) {
			t.Errorf("%v", err)
		}
		if w.run(t, signin.New(book, signin.Rule{Limit: 3}), fleet("CORP", 200), 100); w.attempts != 3 {
			t.Errorf("--sign-ins 3: %d", w.attempts)
		}
		time.Sleep(signin.Window)
		w.wrong = func(string) bool { return false }
		if counts, _ := w.run(t, signin.New(book, signin.Rule{}), fleet("CORP", 200), 100); counts["done"] != 200 {
			t.Errorf("after the window: %v", counts)
		}
	})
}

func TestThePasswordIsChangedInMidRun(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.rand = rand.New(rand.NewPCG(seed, 1)).Float64
			at := time.Now().Add(time.Duration(seed) * 53 * time.Millisecond)
			w.wrong = func(string) bool { return time.Now().After(at) }
			machines := append(fleet("CORP", 300), fleet("CORP", 300)...) // each twice: the verify after a restart
			counts, named := w.run(t, signin.New(&signin.Memory{}, signin.Rule{}), machines, 200)
			if w.refused > signin.Limit || w.worst > signin.Limit || counts["denied"] > 0 {
				t.Errorf("seed %d: %d refused, %v %v", seed, w.refused, counts, named)
			}
		})
	}
}

// The order is that of priorities and waves: any.
func TestOneOfTwoDomainsRejects(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			r := rand.New(rand.NewPCG(seed, 1))
			w.rand = r.Float64
			w.wrong = func(domain string) bool { return domain == "OTHER" }
			machines := append(fleet("CORP", 100), fleet("OTHER", 100)...)
			switch seed {
			case 0:
			case 1:
				machines = append(fleet("OTHER", 100), fleet("CORP", 100)...)
			default:
				r.Shuffle(len(machines), func(i, j int) { machines[i], machines[j] = machines[j], machines[i] })
			}
			counts, named := w.run(t, signin.New(&signin.Memory{}, signin.Rule{}), machines, 1+int(seed)*5)
			if w.refused != 1 || counts["done"] != 100 || counts["held"] != 99 {
				t.Errorf("seed %d: %d refused, %v %v", seed, w.refused, counts, named)
			}
		})
	}
}

func TestMachinesThatHangUpBeforeTheyAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, book := newWorld(), &signin.Memory{}
		for _, m := range fleet("CORP", 40) {
			w.cut[m.ID] = true
		}
		counts, _ := w.run(t, signin.New(book, signin.Rule{}), fleet("CORP", 40), 40)
		if w.attempts != 2 || counts["held"] != 38 || counts["unanswered"] != 2 {
			t.Errorf("%d attempts, %v", w.attempts, counts)
		}
		_, err := signin.New(book, signin.Rule{}).Try(t.Context(), account(fleet("CORP", 1)[0]), fleet("CORP", 1)[0], w.ask)
		barred := (*route.BarredError)(nil)
		if !errors.As(err, &barred) || !barred.All || !strings.HasPrefix(err.Error(), `two sign-ins of CORP\admin had no answer (CORP-PC`) {
			t.Errorf("resumed: %v", err)
		}
		clear(w.cut)
		if counts, _ := w.run(t, signin.New(book, signin.Rule{Limit: 3}), fleet("CORP", 40), 40); counts["done"] != 40 {
			t.Errorf("--sign-ins 3: %v", counts)
		}
	})
}

// One machine that hangs up takes one of the sign-ins that may have no answer, never the last, which is another one's: however often it
// is its turn, in this run or the next, and where only another domain has taken the account.
func TestOneMachineThatHangsUpStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, book, machines := newWorld(), &signin.Memory{}, fleet("CORP", 40)
		w.cut[machines[0].ID] = true
		for life := range 2 { // alone, as the first wave
			if counts, _ := w.run(t, signin.New(book, signin.Rule{}), machines[:1], 1); counts["unanswered"] != 1 || w.attempts != 1 {
				t.Errorf("life %d: %v after %d", life, counts, w.attempts)
			}
		}
		m := machines[0]
		if _, err := signin.New(book, signin.Rule{}).Try(t.Context(), account(m), m, w.ask); err == nil ||
			!strings.HasPrefix(err.Error(), "CORP-PC0 did not answer when it was signed in to") || !strings.HasSuffix(err.Error(), "after "+soon()+", or at once with --sign-ins 3 where fewer than 6 wrong passwords lock no account") {
			t.Error(err)
		}
		begun(t, signin.New(book, signin.Rule{Limit: 3}), m, w.ask).Unjudged() // as it says
		other := fleet("OTHER", 40)
		w.cut[other[0].ID] = true
		for _, forks := range []int{1, 50} {
			if counts, named := w.run(t, signin.New(book, signin.Rule{}), append(machines, other...), forks); counts["done"] != 78 || counts["unanswered"] != 2 {
				t.Errorf("%d at a time: %v %v", forks, counts, named)
			}
		}
	})
}

// Machines that never answer hold the others for a moment each, and once only until the others are through.
func TestSilentMachinesHoldNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l, machines := newWorld(), signin.New(&signin.Memory{}, signin.Rule{}), fleet("CORP", 100)
		for _, m := range machines[20:60] {
			w.hang[m.ID] = true
		}
		w.one(t.Context(), l, machines[0])
		began := time.Now()
		counts, _ := w.run(t, l, machines, 50)
		if took := time.Since(began); counts["done"] != 60 || counts["unanswered"] != 40 || took > 40*4*time.Second {
			t.Errorf("%v after %s", counts, took)
		}
		began = time.Now()
		before := w.attempts
		m := machines[20]
		if w.one(t.Context(), l, m); w.attempts < before+2 || time.Since(began) > 15*time.Second { // when others are through it may
			t.Errorf("alone: %d attempts in %s", w.attempts-before, time.Since(began))
		}
		w.hang[m.ID] = false
		w.one(t.Context(), l, m)
		first := begun(t, l, machines[0], w.ask) // one is under way, and it is no late one any more
		begun(t, l, m, w.ask).Accepted()
		first.Accepted()
	})
}

// How long is waited goes by what is usual; whoever settles a doubt, and whoever is the first, is waited for as long as it takes.
func TestHowLongIsWaited(t *testing.T) {
	for _, usual := range []time.Duration{10 * time.Millisecond, 300 * time.Millisecond, 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			l, m, judge := signin.New(&signin.Memory{}, signin.Rule{}), fleet("CORP", 4), time.Duration(-1)
			ask := func(_ context.Context, _ route.Target, begin func(string) (route.Trial, error)) error {
				trial, err := begin("CORP")
				if err == nil {
					judge = trial.Wait()
					trial.Accepted()
				}
				return err
			}
			for i, one := range m[:2] {
				trial := begun(t, l, one, ask)
				if (trial.Wait() == 0) != (i == 0) {
					t.Errorf("%s: machine %d is waited for %s", usual, i, trial.Wait())
				}
				time.Sleep(usual)
				trial.Accepted()
			}
			trial := begun(t, l, m[2], ask)
			if want := min(max(20*usual, 3*time.Second), 10*time.Second); trial.Wait() != want {
				t.Errorf("%s: %s, not %s", usual, trial.Wait(), want)
			}
			if err := trial.Refused(t.Context()); err != nil || judge != 0 {
				t.Errorf("%v, the verdict is waited for %s", err, judge)
			}
		})
	}
}

// Where nobody is there to be asked about the silence of one, others are tried before it.
func TestNobodyIsThereAndOneHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, machines := newWorld(), fleet("CORP", 10)
		l := signin.New(&signin.Memory{}, signin.Rule{})
		w.one(t.Context(), l, machines[0])
		w.down[machines[0].ID], w.cut[machines[1].ID] = true, true
		if what := w.one(t.Context(), l, machines[1]); what != "unanswered" || w.attempts != 2 {
			t.Errorf("%s after %d", what, w.attempts)
		}
		if counts, named := w.run(t, l, machines[2:], 3); counts["done"] != 8 {
			t.Errorf("%v %v", counts, named)
		}
	})
}

// A machine that restarts in the middle of signing in says nothing about the account, and holds nobody for long.
func TestALineIsCutNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, machines := newWorld(), fleet("CORP", 500)
		for i, m := range machines {
			w.cut[m.ID] = i%10 == 7
		}
		l := signin.New(&signin.Memory{}, signin.Rule{})
		w.one(t.Context(), l, machines[0]) // two that are cut may be the first two otherwise, and hold the others rightly
		counts, _ := w.run(t, l, machines[1:], 100)
		if counts["done"] != 449 || counts["unanswered"] != 50 {
			t.Errorf("%v", counts)
		}
	})
}

// Whatever happens: never more wrong sign-ins in a row than the limit, nor more under way; and a run comes to its end.
func TestNoAccountIsLocked(t *testing.T) {
	for seed := range uint64(150) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 9))
			w, book, limit := newWorld(), &signin.Memory{}, 1+r.IntN(5)
			w.rand = r.Float64
			var machines []route.Target
			for _, d := range []string{"CORP", "OTHER", "THIRD"}[:1+r.IntN(3)] {
				machines = append(machines, fleet(d, 1+r.IntN(60))...)
			}
			r.Shuffle(len(machines), func(i, j int) { machines[i], machines[j] = machines[j], machines[i] })
			for _, some := range []map[string]bool{w.broken, w.cut, w.down} {
				share := r.Float64() * r.Float64()
				for _, m := range machines {
					some[m.ID] = r.Float64() < share
				}
			}
			changes, lives := time.Now().Add(time.Duration(r.IntN(3000))*time.Millisecond), 1+r.IntN(3)
			wrong := []string{"", "CORP", "OTHER"}[r.IntN(3)]
			w.wrong = func(domain string) bool { return time.Now().After(changes) && (wrong == "" || wrong == domain) }
			for range lives {
				w.run(t, signin.New(book, signin.Rule{Limit: limit}), machines, 1+r.IntN(80))
			}
			if wrong == "" && w.worst > limit || w.mostOut > limit {
				t.Errorf("seed %d, limit %d: %d in a row, %d at once", seed, limit, w.worst, w.mostOut)
			}
		})
	}
}

// The end of whoever asks for all must not keep the others waiting for ever.
func TestWhoAsksGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l, machines := newWorld(), signin.New(&signin.Memory{}, signin.Rule{}), fleet("CORP", 20)
		w.run(t, l, machines[:10], 1)
		w.broken[machines[10].ID] = true
		ctx, cancel := context.WithTimeout(t.Context(), 45*time.Millisecond) // it is refused after 40, and asks elsewhere
		defer cancel()
		if what := w.one(ctx, l, machines[10]); what != "refused" {
			t.Error(what)
		}
		if counts, _ := w.run(t, l, machines[11:], 9); counts["done"] != 9 {
			t.Errorf("%v", counts)
		}
	})
}

// All spellings of an account have one counter, and what is said of it is spelled as it was typed.
func TestSpellingsOfAnAccountCountTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, book := newWorld(), &signin.Memory{}
		try := func(l *signin.Ledger, name string, m route.Target) (route.Trial, error) {
			return l.Try(t.Context(), route.Account{Name: name, Key: `corp\admin`, Domain: "CORP", Home: true}, m, w.ask)
		}
		for i, m := range fleet("CORP", 3) {
			name := []string{`CORP\admin`, "admin@corp.test", `corp.test\ADMIN`}[i]
			trial, err := try(signin.New(book, signin.Rule{}), name, m)
			if (err != nil) != (i == 2) {
				t.Fatalf("%s: %v", name, err)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "two sign-ins of "+name+" were refused") {
				t.Error(err)
			}
			if err == nil && trial.Refused(t.Context()) == nil {
				t.Error("refused, and not barred")
			}
		}
		l, m := signin.New(&signin.Memory{}, signin.Rule{}), fleet("CORP", 2)
		for i, m := range m {
			trial, err := try(l, `CORP\Admin`, m)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				trial.Accepted()
				w.down[m.ID] = true
			} else if err := trial.Refused(t.Context()); err == nil || !strings.HasPrefix(err.Error(), `CORP-PC1 rejected CORP\Admin, and no other`) {
				t.Error(err)
			}
		}
	})
}

// An account of one machine is that machine's affair.
func TestAccountsOfTheMachinesThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := signin.New(&signin.Memory{}, signin.Rule{})
		for i, m := range fleet("CORP", 10) {
			who := route.Account{Name: m.Name + `\Administrator`, Domain: m.Name, Home: true, Own: true}
			trial, err := l.Try(t.Context(), who, m, nil)
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 { // nobody else can be tried first
				trial.Unanswered()
				if trial, err = l.Try(t.Context(), who, m, nil); err != nil {
					t.Fatal(err)
				}
				trial.Accepted()
				continue
			}
			barred := (*route.BarredError)(nil)
			if err := trial.Refused(t.Context()); !errors.As(err, &barred) {
				t.Errorf("%v", err)
			}
			if _, err := l.Try(t.Context(), who, m, nil); !errors.As(err, &barred) {
				t.Errorf("tried again: %v", err)
			}
		}
	})
}

// begun opens a sign-in that nobody has answered yet.
func begun(t *testing.T, l route.Ledger, m route.Target, ask route.Ask) route.Trial {
	t.Helper()
	trial, err := l.Try(t.Context(), account(m), m, ask)
	if err != nil {
		t.Fatal(err)
	}
	return trial
}

// A process that is killed while nobody has taken the account yet leaves a sign-in that counts.
func TestAKilledProcessHadNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, book, m := newWorld(), &signin.Memory{}, fleet("CORP", 3)
		for i := range 2 {
			begun(t, signin.New(book, signin.Rule{}), m[i], w.ask)
		}
		_, err := signin.New(book, signin.Rule{}).Try(t.Context(), account(m[0]), m[0], w.ask)
		if barred := (*route.BarredError)(nil); !errors.As(err, &barred) || !strings.Contains(err.Error(), "had no answer (CORP-PC0, CORP-PC1)") || !strings.HasSuffix(err.Error(), "--sign-ins 3 where fewer than 6 wrong passwords lock no account") {
			t.Errorf("%v", err)
		}
		time.Sleep(signin.Window)
		begun(t, signin.New(book, signin.Rule{}), m[0], w.ask).Accepted()
		if got := book.States(); got[len(got)-1] != signin.Accepted {
			t.Errorf("%v", got)
		}
	})
}

// What was on its way before a refusal proves nothing about the time after it.
func TestAnEarlierSignInDoesNotClearARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, m, asked := signin.New(&signin.Memory{}, signin.Rule{Limit: 3}), fleet("CORP", 4), 0
		ask := func(ctx context.Context, _ route.Target, begin func(string) (route.Trial, error)) error {
			asked++
			trial, err := begin("CORP")
			if err == nil {
				trial.Accepted()
			}
			return err
		}
		for range 2 { // the second is there to be asked when the first is under way
			begun(t, l, m[0], ask).Accepted()
			begun(t, l, m[1], ask).Accepted()
		}
		known, unknown := begun(t, l, m[0], ask), begun(t, l, m[2], ask)
		refused := make(chan error, 1)
		go func() { refused <- unknown.Refused(t.Context()) }()
		synctest.Wait()
		if asked != 0 {
			t.Error("asked while another sign-in was under way")
		}
		known.Accepted()
		if err := <-refused; err != nil || asked != 1 {
			t.Errorf("%v, %d asked", err, asked)
		}
	})
}

// An account that its own domain rejects is not sent elsewhere, but where another domain takes it.
func TestTheWordOfTheOwnDomain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, takes := range []bool{false, true} {
			w, l, other, own := newWorld(), signin.New(&signin.Memory{}, signin.Rule{}), fleet("OTHER", 3), fleet("CORP", 1)
			w.wrong = func(domain string) bool { return domain == "CORP" }
			if takes {
				w.one(t.Context(), l, other[0])
				w.one(t.Context(), l, other[1])
			}
			if what := w.one(t.Context(), l, own[0]); what != "refused" {
				t.Error(what)
			}
			if what := w.one(t.Context(), l, other[2]); (what == "done") != takes {
				t.Errorf("%v: %s", takes, what)
			}
		}
	})
}

// A domain has its own count of sign-ins without an answer: where others take the account, it alone is left out.
func TestASilentDomainIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, machines := newWorld(), append(fleet("CORP", 30), fleet("OTHER", 30)...)
		for _, m := range fleet("OTHER", 30) {
			w.cut[m.ID] = true
		}
		counts, named := w.run(t, signin.New(&signin.Memory{}, signin.Rule{}), machines, 20)
		if counts["done"] != 30 || counts["held"]+counts["unanswered"] != 30 || w.attempts > 40 {
			t.Errorf("%v %v after %d", counts, named, w.attempts)
		}
	})
}

// slow is a book that takes its time for what had no answer.
type slow struct{ signin.Memory }

func (s *slow) Add(ctx context.Context, e signin.Entry) (int64, error) {
	if e.State == signin.Unanswered {
		time.Sleep(time.Second)
	}
	return s.Memory.Add(ctx, e)
}

// Nobody tries before a refusal is on disk.
func TestARefusalIsWrittenDownFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, book := newWorld(), &slow{}
		l, m := signin.New(book, signin.Rule{Limit: 5}), fleet("CORP", 5)
		for _, one := range m[:3] {
			w.one(t.Context(), l, one)
		}
		bad, began := begun(t, l, m[3], w.ask), time.Now()
		go bad.Unanswered()
		synctest.Wait()
		w.one(t.Context(), l, m[4])
		if states := book.States(); time.Since(began) < time.Second || len(states) < 4 {
			t.Errorf("tried after %s: %v", time.Since(began), states)
		}
	})
}

// Who waits when the run stops is not signed in any more; who had begun goes on.
func TestAHaltedRunSignsInNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l, m, halted := newWorld(), signin.New(&signin.Memory{}, signin.Rule{}), fleet("CORP", 3), make(chan struct{})
		first := begun(t, l, m[0], w.ask)
		waits := make(chan error, 1)
		go func() {
			_, err := l.Try(route.WithHalt(t.Context(), halted), account(m[1]), m[1], w.ask)
			waits <- err
		}()
		synctest.Wait()
		close(halted)
		if err := <-waits; !errors.Is(err, route.ErrHalted) {
			t.Errorf("%v", err)
		}
		first.Accepted()
		if _, err := l.Try(route.WithHalt(t.Context(), halted), account(m[1]), m[1], w.ask); !errors.Is(err, route.ErrHalted) {
			t.Errorf("after it: %v", err)
		}
	})
}
