package run

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/run/errand"
)

// barring is what routes said of accounts that are not sent any more. Workers write it; why is readable after closed is closed.
type barring struct {
	closed chan struct{} // the whole run is barred
	once   sync.Once
	why    string

	mu   sync.Mutex
	some string // why machines of a domain were not signed in to
}

// heed stops the run where an account is barred everywhere. A route without a ledger says so by the class alone.
func (x *execution) heed(e *plan.Entry, err error) {
	class, no := route.ClassOf(err), route.BarredBy(err)
	switch {
	case class == route.Auth && no == nil:
		x.bars.bar(fmt.Sprintf("%s rejected the credentials (%s): %s", e.Name, e.Route, errand.Reason(err)))
	case no != nil && no.All:
		x.bars.bar(no.Error())
	case no != nil:
		x.bars.mu.Lock()
		defer x.bars.mu.Unlock()
		x.bars.some = no.Error()
	}
}

func (b *barring) bar(why string) {
	b.once.Do(func() {
		b.why = why
		close(b.closed)
	})
}

// recall learns from a machine that is done whether a domain did not take the account in an earlier life of the run.
func (b *barring) recall(m *journal.Machine) {
	if why, ok := errand.NotSignedIn(m.Reason); ok && m.Outcome == journal.Held {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.some = why
	}
}

// are reports whether nothing is sent any more.
func (b *barring) are() bool {
	select {
	case <-b.closed:
		return true
	default:
		return false
	}
}

// over is how a run ends that came to its end: not done, where a domain did not take the account.
func (x *execution) over() (journal.Status, string) {
	x.bars.mu.Lock()
	defer x.bars.mu.Unlock()
	if x.bars.some == "" {
		return journal.RunDone, ""
	}
	return journal.RunAuth, x.bars.some + journal.ElseDone
}

// unasked is a machine that may have been changed and cannot be asked, for the account's sake.
type unasked struct {
	task *task
	why  string
}

// stand leaves a machine as it is noted. Where no other can be signed in to first that ends the run, for nothing else would happen.
func (x *execution) stand(w *wave, t *task, err error) {
	x.stands = append(x.stands, unasked{t, errand.Reason(err)})
	x.gate.wave.outside++
	if later := (*route.NotYetError)(nil); errors.As(err, &later) {
		x.stopFor(journal.RunInterrupted, later.Why)
	}
}

// awaited is the reason of a run that has to be resumed for machines which could not be asked.
func (x *execution) awaited(why string) string {
	is := "are"
	if len(x.stands) == 1 {
		is = "is"
	}
	return fmt.Sprintf("%s; %s that may have been changed %s%s", strings.TrimSuffix(why, journal.ElseDone), prose.Counted(len(x.stands), "machine", "machines"), is, journal.AskedLater)
}

// prove asks the routes that can tell before any machine is asked: an account that is not good stops the run then.
func (x *execution) prove(ctx context.Context) error {
	asked := map[string]bool{}
	for _, w := range x.plan.Waves {
		for i := range w.Entries {
			name := w.Entries[i].Route
			prover, ok := x.options.Routes[name].(route.Prover)
			if !ok || asked[name] {
				continue
			}
			asked[name] = true
			err := prover.Prove(ctx, route.Account{})
			own, lost := errors.AsType[*route.StoreError](err)
			switch {
			case lost:
				return own
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case route.BarredBy(err) != nil:
				x.bars.bar(route.BarredBy(err).Error())
				return x.stopRejected()
			case err != nil && !errors.Is(err, route.ErrNoProof):
				x.options.Logger.WarnContext(ctx, "whether the account is good is not known yet", "route", name, "error", err)
			}
		}
	}
	return nil
}
