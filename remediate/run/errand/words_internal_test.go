package errand

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// The words of a reason: what was done and what went wrong, without the machine's name, and what a fix did before it was lost.
func TestTheWordsOfAReason(t *testing.T) {
	for want, err := range map[string]error{
		"connect: no route": &route.Error{Op: "connect", Target: "PC", Err: errors.New("no route")},
		"connect":           &route.Error{Op: "connect", Target: "PC"},
		"no route":          &route.Error{Target: "PC", Err: errors.New("no\nroute")},
		"plain":             errors.New("plain"),
	} {
		if got := Reason(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	steps := func(n int) (all []agent.StepDone) {
		for i := range n {
			all = append(all, agent.StepDone{Action: "put", Target: fmt.Sprint("t", i)})
		}
		return all
	}
	for want, result := range map[string]agent.Result{
		"0 changes were made":                              {},
		"1 change was made: put t0":                        {Changed: 1, Steps: steps(1)},
		"3 changes were made: put t0, put t1, put t2":      {Changed: 3, Steps: steps(3)},
		"9 changes were made: put t0, put t1, put t2, ...": {Changed: 9, Steps: steps(4)},
	} {
		if got := changes(result); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// How long is waited before a machine is asked again, and when it is not asked any more.
func TestThePauseBeforeTheNextAttempt(t *testing.T) {
	for _, c := range []struct {
		name  string
		rules plan.Options
		class route.Class
		maybe bool
		want  string
	}{
		{"a busy one", plan.Options{Backoff: time.Second, Retries: 3}, route.Busy, false, "1s 2s 4s -"},
		{"a busy one, long", plan.Options{Backoff: time.Second, Retries: 7}, route.Busy, false, "1s 2s 4s 8s 16s 20s 20s -"},
		{"one that may have been changed", plan.Options{Backoff: time.Second, Retries: 1}, route.Unknown, true, "1s 2s 4s 8s 16s 20s 20s 20s 20s 20s 20s 20s"},
		{"a silent one", plan.Options{Backoff: 5 * time.Second, Retries: 3}, route.Unreachable, false, "750ms 750ms 750ms 750ms 750ms 750ms 750ms 750ms 750ms 750ms 750ms 750ms"},
		{"a silent one, short", plan.Options{Backoff: 500 * time.Millisecond, Retries: 3}, route.Unreachable, false, "750ms 750ms 750ms 750ms 750ms 750ms 750ms 750ms 750ms 750ms 750ms 750ms"},
		{"a chase", plan.Options{Backoff: 9 * time.Second, Chase: true}, route.Unreachable, false, "750ms 750ms 750ms 750ms 750ms 750ms 750ms 750ms 750ms 750ms 750ms 750ms"},
	} {
		crew := &Crew{Rand: func() float64 { return 1 }, Rules: &c.rules}
		tried := &Errand{crew: crew, deadline: time.Now().Add(time.Hour), maybe: c.maybe}
		var got []string
		for range 12 {
			wait, again := tried.pause(c.class)
			if !again {
				got = append(got, "-")
				break
			}
			got = append(got, wait.String())
		}
		if all := strings.Join(got, " "); all != c.want {
			t.Errorf("%s: %s, want %s", c.name, all, c.want)
		}
		tried = &Errand{crew: crew, deadline: time.Now()}
		if wait, again := tried.pause(c.class); again {
			t.Errorf("%s is asked after its time, in %s", c.name, wait)
		}
	}
	crew := &Crew{Rand: func() float64 { return 0 }, Rules: &plan.Options{Backoff: time.Second, Retries: 3}}
	over := &Errand{crew: crew, deadline: time.Now().Add(time.Hour), tries: 5, firstError: time.Now().Add(-32 * time.Second)}
	if wait, again := over.pause(route.Unreachable); again {
		t.Errorf("knocked at after half a minute, in %s", wait)
	}
	asked := &Errand{crew: crew, deadline: time.Now().Add(time.Hour), attempts: 4}
	if wait, again := asked.pause(route.Unreachable); again {
		t.Errorf("knocked at after four attempts, in %s", wait)
	}
}

func TestAMachinesTextIsOneLine(t *testing.T) {
	for text, want := range map[string]string{"a\x7fb\r\nc\td\x1b[31m": "ab c d[31m", "\x1f": "", " ~\u0080": "~"} {
		if got := prose.Short(text, longestText); got != want {
			t.Errorf("%q became %q, not %q", text, got, want)
		}
	}
	long := strings.Repeat("\u00e4", 700)
	if got := prose.Short(long, longestText); len(got) > 1204 || !utf8.ValidString(got) || !strings.HasSuffix(got, "\u00e4 ...") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}
