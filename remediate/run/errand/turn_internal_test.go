package errand

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/outcome"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// scene is one machine with its run: what it answers, what was asked and noted.
type scene struct {
	crew    *Crew
	order   Order
	answers []answer      // to requests; the last one goes on
	alive   []error       // to knocks; the last one goes on
	said    []string      // what was noted, asked and heeded, in this order
	waits   []string      // when, since the beginning
	fails   string        // which note cannot be written
	began   time.Time     //
	begun   func()        // called when a begin is noted
	heard   agent.Request // the last one
}

type answer struct {
	result agent.Result
	err    error
	after  time.Duration
}

func (s *scene) say(format string, a ...any) error {
	text := fmt.Sprintf(format, a...)
	s.said, s.waits = append(s.said, text), append(s.waits, time.Since(s.began).String())
	if word, _, _ := strings.Cut(text, " "); s.fails != "" && word == s.fails {
		return errors.New("disk full")
	}
	return nil
}

func (s *scene) Begin(attempt int) error {
	err := s.say("begin %d", attempt)
	if s.begun != nil {
		s.begun()
	}
	return err
}
func (s *scene) BackOff(c route.Class, why string) error { return s.say("backoff %s %s", c, why) }
func (s *scene) Restart(r agent.Result) error            { return s.say("restart %d", r.Changed) }
func (s *scene) Step(step route.Step) error              { return s.say("step %s %s", step.ID, step.State) }
func (s *scene) Name() string                            { return "fake" }

func (s *scene) Do(ctx context.Context, _ route.Target, r agent.Request) (agent.Result, error) {
	_ = s.say("%s", r.Mode)
	s.heard = r
	a := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	select {
	case <-time.After(a.after):
	case <-ctx.Done():
		return agent.Result{}, fail(route.Stopped, "send", "cut")
	}
	return a.result, a.err
}

func (s *scene) Alive(ctx context.Context, _ route.Target) error {
	limit := "none"
	if at, ok := ctx.Deadline(); ok {
		limit = time.Until(at).String()
	}
	_ = s.say("knock %s", limit)
	if len(s.alive) == 0 {
		return nil
	}
	err := s.alive[0]
	if len(s.alive) > 1 {
		s.alive = s.alive[1:]
	}
	if errors.Is(err, context.DeadlineExceeded) { // it does not answer at all
		<-ctx.Done()
		return fail(route.Stopped, "connect", "cut")
	}
	return err
}

func fail(class route.Class, op, text string) error {
	return &route.Error{Class: class, Op: op, Target: "PC", Err: errors.New(text)}
}

// play gives an errand to one machine to a test, in a bubble with a clock of its own.
func play(t *testing.T, test func(t *testing.T, s *scene, e *Errand), change ...func(*scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &scene{began: time.Now(), answers: []answer{{result: agent.Result{Outcome: agent.Fixed, Uptime: 5000}}}}
		s.crew = &Crew{Run: "r", Mode: agent.Fix, Playbook: &playbook.Playbook{Name: "p"}, Routes: map[string]route.Route{"fake": s}, Rand: func() float64 { return 1 },
			Rules:  &plan.Options{Timeout: time.Hour, RebootWait: 10 * time.Minute, Backoff: time.Second, Retries: 1},
			Halted: make(chan struct{}), Barred: make(chan struct{}), Kept: map[string]bool{"m": true}}
		s.order = Order{Entry: &plan.Entry{Target: route.Target{ID: "m", Name: "PC"}, Route: "fake", Record: "abc"}}
		for _, c := range change {
			c(s)
		}
		test(t, s, s.crew.Errand(s.order, s))
	})
}

func over() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func says(v Verdict) string {
	switch v.What {
	case Ended:
		return strings.TrimSuffix(fmt.Sprintf("%s %s: %s", v.End.Outcome, v.End.Class, v.End.Reason), ": ")
	case Again:
		return "again " + v.After.String()
	case Broken:
		return "broken " + v.Err.Error()
	case Stands:
		return "stands: " + Reason(v.Err)
	}
	return map[What]string{Found: "found", NotStarted: "not started", Left: "left"}[v.What]
}

// What an answer counts as, by what was asked.
func TestWhatAnAnswerMeans(t *testing.T) {
	for _, c := range []struct {
		mode   agent.Mode
		result agent.Result
		want   string
	}{
		{agent.Fix, agent.Result{Outcome: agent.Fixed}, "fixed "}, {agent.Fix, agent.Result{Outcome: agent.Fixed, Message: "a\nremark"}, "fixed : a remark"},
		{agent.Fix, agent.Result{Outcome: agent.Clean}, "clean "}, {agent.Detect, agent.Result{Outcome: agent.Clean}, "clean "}, {agent.Detect, agent.Result{Outcome: agent.Affected}, "affected "},
		{agent.Undo, agent.Result{Outcome: agent.Undone}, "undone "}, {agent.Undo, agent.Result{Outcome: agent.Undone, Reboot: "scheduled"}, "undone : the machine restarts now; that is not awaited"},
		{agent.Fix, agent.Result{Outcome: agent.Failed}, "failed : the agent failed and did not say why"}, {agent.Undo, agent.Result{Outcome: agent.Failed, Message: "no"}, "failed : no"},
		{agent.Undo, agent.Result{Outcome: agent.Clean}, `failed : the agent gave an answer that makes no sense: "clean" to undo`},
		{agent.Fix, agent.Result{Outcome: agent.Affected}, `failed : the agent gave an answer that makes no sense: "affected" to fix`},
		{agent.Fix, agent.Result{Outcome: agent.Undone}, `failed : the agent gave an answer that makes no sense: "undone" to fix`},
		{agent.Detect, agent.Result{Outcome: agent.Fixed}, `failed : the agent gave an answer that makes no sense: "fixed" to detect`},
	} {
		play(t, func(t *testing.T, s *scene, e *Errand) {
			v := e.Turn(t.Context(), false)
			if got := says(v); got != c.want || v.End.Result == nil || v.End.Result.Outcome != c.result.Outcome {
				t.Errorf("%s to %s: %q, not %q", c.result.Outcome, c.mode, got, c.want)
			}
			if want := []string{"begin 1", string(c.mode), "heed <nil>"}; !slices.Equal(s.said, want) || s.heard.Run != "r" || s.heard.Record != "abc" || !s.heard.Kept || len(s.heard.Nonce) != 32 || s.heard.Playbook.Name != "p" {
				t.Errorf("%q, asked %+v", s.said, s.heard)
			}
			if !e.Begun() || e.Touched() || e.Silent() || e.Flaps() || e.Signed() {
				t.Errorf("%+v", e)
			}
		}, func(s *scene) {
			s.crew.Mode, s.answers[0].result = c.mode, c.result
			s.crew.Heed = func(_ *plan.Entry, err error) { _ = s.say("heed %v", err) }
		})
	}
}

// What an error means: what comes next, and what is noted.
func TestWhatAnErrorMeans(t *testing.T) {
	everywhere, there := &route.BarredError{All: true, Why: "WS0 rejected k"}, &route.BarredError{Account: route.Account{Domain: "D"}, Why: "WS0 rejected k"}
	barred := func(no *route.BarredError) error {
		return &route.Error{Class: route.Stopped, Op: "authenticate", Target: "PC", Err: no}
	}
	for name, c := range map[string]struct {
		err  error
		want string // of each turn
		said string // from the first note on
	}{
		"busy":          {fail(route.Busy, "create", "quota"), "again 1s|unreachable busy: create: quota", "begin 1|fix|backoff busy create: quota|begin 2|fix"},
		"silent":        {fail(route.Unreachable, "connect", "no route"), "again 750ms|unreachable unreachable: connect: no route", "begin 1|fix|backoff unreachable connect: no route|knock 2s|begin 2|fix"},
		"unknown":       {errors.New("cut"), "again 1s|again 2s|again 4s", "begin 1|fix|begin 2|fix|begin 3|fix"},
		"overflow":      {fail(route.Overflow, "receive", "too much"), "again 1s|unknown overflow: receive: too much; it was asked twice, no result was among what came, and the request may have run", "begin 1|fix|begin 2|fix"},
		"auth":          {fail(route.Auth, "authenticate", "rejected"), "unreachable auth: authenticate: rejected", "begin 1|fix"},
		"denied":        {fail(route.Denied, "create", "no"), "unreachable denied: create: no", "begin 1|fix"},
		"stopped":       {fail(route.Stopped, "create", "no"), "held stopped: create: no", "begin 1|fix"},
		"barred":        {barred(everywhere), "held : not started: WS0 rejected k", "begin 1|fix"},
		"barred, known": {barred(everywhere), "not started", "begin 1|fix|backoff stopped the run stopped before anything was sent"},
		"barred there":  {barred(there), "held : not signed in to: WS0 rejected k (domain D)", "begin 1|fix"},
		"halted":        {&route.Error{Class: route.Stopped, Err: route.ErrHalted}, "not started", "begin 1|fix|backoff stopped the run stopped before anything was sent"},
		"a store fails": {&route.Error{Class: route.Stopped, Err: &route.StoreError{Err: errors.New("disk full")}}, "broken ", "begin 1|fix"},
	} {
		play(t, func(t *testing.T, s *scene, e *Errand) {
			for i, want := range strings.Split(c.want, "|") {
				got := says(e.Turn(t.Context(), false))
				if got != want && (want != "broken " || !strings.HasPrefix(got, want)) {
					t.Errorf("%s: turn %d: %q, not %q", name, i, got, want)
				}
			}
			if got := strings.Join(s.said, "|"); got != c.said {
				t.Errorf("%s: %q, not %q", name, got, c.said)
			}
		}, func(s *scene) {
			s.answers[0] = answer{err: c.err}
			s.crew.Heed = func(*plan.Entry, error) {
				if name == "barred, known" {
					s.crew.Barred = over()
				}
			}
		})
	}
}

// A machine that may have been changed is closed by nothing that is the account's: it stays as it is noted, for the run that is resumed.
func TestWhoMayHaveBeenChangedStandsWhereTheAccountIsBarred(t *testing.T) {
	stopped := func(err error) error {
		return &route.Error{Class: route.Stopped, Op: "authenticate", Target: "PC", Err: err}
	}
	aside := func(nobody bool) error {
		return &route.Error{Class: route.Unreachable, Op: "authenticate", Target: "PC", Err: &route.NotYetError{Why: "another first", Nobody: nobody}}
	}
	for name, c := range map[string]struct {
		err     error
		touched string
		untouch string
	}{
		"rejected":     {fail(route.Auth, "authenticate", "no"), "stands: authenticate: no", "unreachable auth: authenticate: no"},
		"barred":       {stopped(&route.BarredError{All: true, Why: "x"}), "stands: authenticate: x", "held : not started: x"},
		"barred there": {stopped(&route.BarredError{Why: "x"}), "stands: authenticate: x", "held : not signed in to: x"},
		"nobody":       {aside(true), "stands: authenticate: another first", "again 750ms"},
		"aside":        {aside(false), "again 1s", "again 750ms"},
		"denied":       {fail(route.Denied, "authenticate", "no"), "unknown denied: authenticate: no; the request may have run, and the machine could not be asked since", "unreachable denied: authenticate: no"},
	} {
		for _, touched := range []bool{true, false} {
			play(t, func(t *testing.T, s *scene, e *Errand) {
				want := map[bool]string{true: c.touched, false: c.untouch}[touched]
				if got := says(e.Turn(t.Context(), false)); got != want || touched && !e.Touched() {
					t.Errorf("%s, touched %v: %q, not %q", name, touched, got, want)
				}
			}, func(s *scene) { s.answers, s.order.Running = []answer{{err: c.err}}, touched })
		}
	}
}

// What cannot be written down ends the errand before anything is asked, and a run that stops asks nobody who is not touched.
func TestWhatKeepsAnErrandFromAsking(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*scene)
		want   string
		said   string
	}{
		"no begin":            {func(s *scene) { s.fails = "begin" }, "broken disk full", "begin 1"},
		"no back-off":         {func(s *scene) { s.fails, s.answers[0].err = "backoff", fail(route.Busy, "create", "quota") }, "broken disk full", "begin 1|fix|backoff busy create: quota"},
		"no restart":          {func(s *scene) { s.fails, s.answers[0].result.Reboot = "restart", "scheduled" }, "broken disk full", "begin 1|fix|restart 0"},
		"barred":              {func(s *scene) { s.crew.Barred = over() }, "not started", ""},
		"halted":              {func(s *scene) { s.crew.Halted = over() }, "not started", ""},
		"barred now":          {func(s *scene) { s.begun = func() { s.crew.Barred = over() } }, "not started", "begin 1|backoff stopped the run stopped before anything was sent"},
		"halted now":          {func(s *scene) { s.begun = func() { s.crew.Halted = over() } }, "not started", "begin 1|backoff stopped the run stopped before anything was sent"},
		"halted, no back-off": {func(s *scene) { s.fails, s.begun = "backoff", func() { s.crew.Barred = over() } }, "broken disk full", "begin 1|backoff stopped the run stopped before anything was sent"},
		"halted, touched":     {func(s *scene) { s.crew.Halted, s.order.Running, s.order.Attempts = over(), true, 3 }, "fixed ", "begin 4|fix"},
		"barred, touched":     {func(s *scene) { s.crew.Barred, s.order.Running = over(), true }, "not started", ""},
	} {
		play(t, func(t *testing.T, s *scene, e *Errand) {
			if got := says(e.Turn(t.Context(), false)); got != c.want {
				t.Errorf("%s: %q, not %q", name, got, c.want)
			}
			if got := strings.Join(s.said, "|"); got != c.said {
				t.Errorf("%s: %q, not %q", name, got, c.said)
			}
		}, c.change)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, change := range map[string]func(*scene){
		"new": func(*scene) {}, "restarting": func(s *scene) { s.order.Fixed = &agent.Result{Uptime: 5000} }, "second": func(s *scene) { s.order.Second = true },
	} {
		play(t, func(t *testing.T, s *scene, e *Errand) {
			for _, look := range []bool{true, false} {
				if v := e.Turn(cancelled, look); v.What != Left && (name == "new" || v.What != NotStarted) || len(s.said) != 0 {
					t.Errorf("%s, over: %s %q", name, says(v), s.said)
				}
			}
		}, change)
	}
}

// How a machine ends that is not asked on.
func TestHowAnErrandIsGivenUp(t *testing.T) {
	no, there := &route.BarredError{All: true, Why: "WS0 rejected k"}, &route.BarredError{Account: route.Account{Domain: "D"}, Why: "WS0 rejected k"}
	for _, c := range []struct {
		e    *Errand
		no   *route.BarredError
		want outcome.End
	}{
		{&Errand{}, no, outcome.End{Outcome: outcome.Held, Reason: "not started: WS0 rejected k"}},
		{&Errand{}, there, outcome.End{Outcome: outcome.Held, Reason: "not signed in to: WS0 rejected k (domain D)"}},
		{&Errand{signed: true, last: "authenticate: silent", lastClass: route.Unreachable}, no, outcome.End{Outcome: outcome.Unreachable, Class: route.Unreachable, Reason: "authenticate: silent"}},
		{&Errand{}, nil, outcome.End{Outcome: outcome.Held, Reason: "not started: over"}},
		{&Errand{running: true}, nil, outcome.End{Outcome: outcome.Unknown, Reason: "over; the request may have run, and the machine had not answered"}},
		{&Errand{maybe: true}, nil, outcome.End{Outcome: outcome.Unknown, Reason: "over; the request may have run, and the machine had not answered"}},
		{&Errand{fixed: &agent.Result{}, maybe: true}, nil, outcome.End{Outcome: outcome.Unknown, Reason: "was fixed, but not verified after the restart: over"}},
	} {
		got := c.e.Abandoned("over")
		if c.no != nil {
			got = c.e.Unsent(c.no)
		}
		if got != c.want {
			t.Errorf("%+v, not %+v", got, c.want)
		}
	}
	for _, c := range []struct {
		e              *Errand
		begun, touched bool
	}{{&Errand{}, false, false}, {&Errand{running: true}, true, false}, {&Errand{maybe: true}, true, true}, {&Errand{fixed: &agent.Result{}}, true, true}} {
		if c.e.Begun() != c.begun || c.e.Touched() != c.touched {
			t.Errorf("%+v: begun %v, touched %v", c.e, c.e.Begun(), c.e.Touched())
		}
	}
}

// A machine that was silent is knocked at before it is asked again, each time with a limit but for every fourth; one that is only looked
// for is not asked, and its time begins when it is found.
func TestKnocks(t *testing.T) {
	none := fail(route.Unreachable, "connect", "no route")
	play(t, func(t *testing.T, s *scene, e *Errand) {
		for i := range 6 {
			if got := says(e.Turn(t.Context(), false)); got != "again 750ms" || !e.Silent() || s.crew.Silences() != int64(i+1) || !e.firstError.Equal(s.began) {
				t.Errorf("turn %d: %q, %d silences", i, got, s.crew.Silences())
			}
		}
		s.alive, s.answers[0].err = nil, nil
		if got := says(e.Turn(t.Context(), false)); got != "fixed " || e.Flaps() {
			t.Errorf("up again: %q", got)
		}
		if got := strings.Join(s.said, "|"); got != "begin 1|fix|backoff unreachable connect: no route|knock 2s|knock 2s|knock 2s|knock 1h0m0s|knock 2s|knock 2s|begin 2|fix" {
			t.Errorf("%q", got)
		}
	}, func(s *scene) { s.answers[0].err, s.alive, s.crew.Rules.Chase = none, []error{none}, true })
	// One that does not even refuse is cut off by the knock's own limit, or by the deadline of all.
	play(t, func(t *testing.T, s *scene, e *Errand) {
		if got := says(e.Turn(t.Context(), true)); got != "again 750ms" || time.Since(s.began) != 2*time.Second || e.last != "connect: no answer within 2s" {
			t.Errorf("%q after %s: %s", got, time.Since(s.began), e.last)
		}
		e.deadline = time.Now().Add(time.Second)
		if got := says(e.Turn(t.Context(), true)); got != "unreachable unreachable: gave up after 1h0m0s: connect: no answer within 2s" || time.Since(s.began) != 3*time.Second {
			t.Errorf("%q after %s", got, time.Since(s.began))
		}
	}, func(s *scene) { s.alive, s.crew.Rules.Chase = []error{context.DeadlineExceeded}, true })
	play(t, func(t *testing.T, s *scene, e *Errand) {
		if got := says(e.Turn(t.Context(), true)); got != "found" || !e.deadline.IsZero() || e.Flaps() || e.Begun() {
			t.Errorf("%q, %+v", got, e)
		}
		s.alive = []error{none, none, nil}
		for i, want := range []string{"again 750ms", "again 750ms", "found"} {
			if got := says(e.Turn(t.Context(), true)); got != want || e.Flaps() != (i == 2) || e.Silent() != (i < 2) {
				t.Errorf("look %d: %q, flaps %v", i, got, e.Flaps())
			}
		}
		if e.deadline.IsZero() {
			t.Error("one that comes and goes gets more time with each look")
		}
		if got := says(e.Turn(t.Context(), false)); got != "fixed " {
			t.Errorf("%q", got)
		}
		if got := strings.Join(s.said, "|"); got != "knock 2s|knock 2s|knock 2s|knock 1h0m0s|begin 1|fix" {
			t.Errorf("%q", got)
		}
	})
	// What was asked before has its time from then.
	play(t, func(t *testing.T, _ *scene, e *Errand) {
		if got := says(e.Turn(t.Context(), true)); got != "found" || e.deadline.IsZero() {
			t.Errorf("%q, %v", got, e.deadline)
		}
	}, func(s *scene) { s.order.Attempts = 1 })
}

// When its time is over a machine is given up, with what it said last; one that may have been changed is unknown.
func TestWhenTheTimeIsOver(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		after time.Duration
		want  string
	}{
		"busy until the end": {fail(route.Busy, "create", "quota"), 40 * time.Minute, "again 1s|unreachable unreachable: gave up after 1h0m0s: create: quota"},
		"cut by its own end": {fail(route.Busy, "create", "quota"), 2 * time.Hour, "unreachable unreachable: gave up after 1h0m0s: send: cut"},
		"refuses too late":   {fail(route.Denied, "create", "no"), time.Hour, "unreachable "},
		"unknown":            {errors.New("cut"), 40 * time.Minute, "again 1s|unknown unreachable: gave up after 1h0m0s: cut; the request may have run, and the machine could not be asked since"},
	} {
		play(t, func(t *testing.T, s *scene, e *Errand) {
			for i, want := range strings.Split(c.want, "|") {
				if got := says(e.Turn(t.Context(), false)); got != want && (want != "unreachable " || !strings.HasPrefix(got, want)) {
					t.Errorf("%s: turn %d: %q, not %q", name, i, got, want)
				}
			}
		}, func(s *scene) { s.answers[0], s.crew.Rules.Retries = answer{err: c.err, after: c.after}, 9 })
	}
	// Signing in is what failed, until something else does.
	play(t, func(t *testing.T, _ *scene, e *Errand) {
		for i, want := range []bool{true, false, false} {
			if e.silent = false; says(e.Turn(t.Context(), false)) == "" || e.Signed() != want {
				t.Errorf("turn %d: signed %v", i, e.Signed())
			}
		}
	}, func(s *scene) {
		s.answers = []answer{{err: fail(route.Unreachable, route.OpAuthenticate, "silent")}, {err: fail(route.Unreachable, "connect", "no route")}, {err: fail(route.Busy, route.OpAuthenticate, "x")}}
		s.crew.Rules.Chase = true
	})
}

// The second verify changes nothing and may be repeated; what it finds is the machine's end.
func TestTheSecondVerify(t *testing.T) {
	no := &route.Error{Class: route.Stopped, Op: "authenticate", Target: "PC", Err: &route.BarredError{All: true, Why: "x"}}
	for name, c := range map[string]struct {
		answer answer
		halted bool
		barred bool
		want   string
	}{
		"holds":         {answer{result: agent.Result{Outcome: agent.Fixed}}, false, false, "fixed "},
		"does not hold": {answer{result: agent.Result{Outcome: agent.Failed, Message: "file is\nthere"}}, false, false, "failed : did not stay fixed: file is there"},
		"says nothing":  {answer{result: agent.Result{Outcome: agent.Failed}}, false, false, "failed : did not stay fixed: the second verify does not hold"},
		"busy":          {answer{err: fail(route.Busy, "create", "quota")}, false, false, "again 1s|failed busy: was fixed, but does not answer after the soak: create: quota"},
		"refused":       {answer{err: fail(route.Refused, "create", "no")}, false, false, "failed refused: was fixed, but cannot be verified after the soak: create: no"},
		"too late":      {answer{err: fail(route.Busy, "create", "no"), after: time.Hour + 1}, false, false, "failed stopped: was fixed, but cannot be verified after the soak: send: cut"},
		"overflow":      {answer{err: fail(route.Overflow, "receive", "much")}, false, false, "again 1s|failed overflow: was fixed, but cannot be verified after the soak: receive: much"},
		"auth":          {answer{err: fail(route.Auth, "authenticate", "no")}, false, false, "left"},
		"barred there":  {answer{err: no}, false, false, "left"},
		"a store fails": {answer{err: &route.StoreError{Store: "the book", Err: errors.New("disk full")}}, false, false, "broken the book cannot be used: disk full"},
		"halted":        {answer{}, true, false, "not started"},
		"barred":        {answer{}, false, true, "not started"},
	} {
		play(t, func(t *testing.T, s *scene, e *Errand) {
			for i, want := range strings.Split(c.want, "|") {
				if got := says(e.Turn(t.Context(), false)); got != want {
					t.Errorf("%s: turn %d: %q, not %q", name, i, got, want)
				}
			}
			if got := strings.ReplaceAll(strings.Join(s.said, ""), "verify", ""); got != "" || (c.halted || c.barred) != (len(s.said) == 0) {
				t.Errorf("%s: %q", name, s.said)
			}
		}, func(s *scene) {
			s.order.Second, s.answers[0] = true, c.answer
			if c.halted {
				s.crew.Halted = over()
			}
			if c.barred {
				s.crew.Barred = over()
			}
		})
	}
}
