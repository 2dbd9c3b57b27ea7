package connect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// Where no number of sign-ins helps, none is named.
func TestNoSettingIsNamedThatDoesNotHelp(t *testing.T) {
	for more, want := range map[int]string{0: "try again", 3: "`sign-ins: 3` under run: in the settings lets it be sent at once where fewer than 6 wrong"} {
		err := keptBack(&route.BarredError{Account: route.Account{Name: "admin"}, All: true, Why: "dc1 rejected admin", More: more, Locks: 2 * more})
		if advice := strings.Join(hint.Of(err), " "); !strings.Contains(advice, want) || more == 0 && strings.Contains(advice, "sign-ins:") || strings.Contains(err.Error(), "--sign-ins") {
			t.Errorf("%d: %v\n%s", more, err, advice)
		}
	}
}

// saying is a route on which every machine answers with an error.
type saying struct {
	route.Route
	err error
}

func (s saying) Do(context.Context, route.Target, agent.Request) (agent.Result, error) {
	return agent.Result{}, s.err
}

// A machine that refuses its own account refuses it for itself: nothing that it leaves in the error is about an account of others, which
// would end the run. The account of the directory is that of all.
func TestAnAccountOfOneMachineStopsNobody(t *testing.T) {
	own, theirs := &route.BarredError{Account: route.Account{Own: true}, All: true, Why: "WS1 rejected WS1\\Administrator"}, &route.BarredError{All: true, Why: "dc1 rejected admin"}
	for name, test := range map[string]struct {
		err   error
		class route.Class
		want  string
		stops bool
	}{
		"rejected":             {&route.Error{Class: route.Auth, Op: route.OpAuthenticate, Target: "WS1", Err: fmt.Errorf("no: %w", own)}, route.Denied, route.OwnRejected, false},
		"rejected, no ledger":  {&route.Error{Class: route.Auth, Op: route.OpAuthenticate, Target: "WS1", Err: errors.New("401")}, route.Denied, route.OwnRejected, false},
		"not sent any more":    {&route.BarredError{Account: own.Account, All: true, Why: "two were refused", Until: time.Now()}, route.Denied, route.OwnRejected + ": two were refused", false},
		"the directory":        {&route.Error{Class: route.Denied, Op: "read the LAPS password", Target: "WS1", Err: theirs}, route.Denied, "dc1 rejected admin", true},
		"something else there": {&route.Error{Class: route.Busy, Op: "create", Target: "WS1", Err: errors.New("quota")}, route.Busy, "quota", false},
	} {
		_, err := ownAccounts{saying{err: test.err}}.Do(t.Context(), route.Target{Name: "WS1"}, agent.Request{})
		if route.ClassOf(err) != test.class || !strings.Contains(err.Error(), test.want) || (route.BarredBy(err) != nil) != test.stops {
			t.Errorf("%s: %v (%s)", name, err, route.ClassOf(err))
		}
	}
}
