package signin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fleetmend/fleetmend/remediate/route"
)

// trial is one sign-in under way.
type trial struct {
	ledger *Ledger
	a      *account
	d      *domain
	who    route.Account
	target route.Target
	ask    route.Ask

	proof  bool  // nobody of the domain had taken the account
	judges bool  // it is made to settle a doubt
	known  bool  // at a machine that had taken the account
	number int64 // in the book; 0: not written down
	began  int64
	at     time.Time
	wait   time.Duration
	state  State // how it ended
}

// end takes the sign-in off those under way; false: it had ended before.
func (t *trial) end(state State) bool {
	t.ledger.mu.Lock()
	defer t.ledger.mu.Unlock()
	return t.endLocked(state)
}

func (t *trial) endLocked(state State) bool {
	if t.state != "" {
		return false
	}
	t.state = state
	t.leave()
	return true
}

// leave takes it off those under way.
func (t *trial) leave() {
	delete(t.a.out, t)
	if t.proof && !t.judges {
		t.d.proving = false
	}
	t.a.alone = false
	t.a.clock++
	t.ledger.unlock(t.a)
	t.ledger.tell(t.a)
}

// Wait implements [route.Trial]: a machine that is silent must not keep those that are not, but whoever settles a doubt is waited for.
func (t *trial) Wait() time.Duration { return t.wait }

// Taken implements [route.Trial]. Where a domain has taken the account and nothing counts, a machine that says so holds nobody: what it
// says is true, or it has asked no controller. It marks no witness and clears nothing, and if no proof comes it does not count either.
func (t *trial) Taken() bool {
	l := t.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.state != "" || t.number != 0 || t.who.Word { // nothing counted when it began, or it would have been written down
		return false
	}
	t.lasted()
	return t.endLocked(taken)
}

// lasted notes how long a machine needed for its answer. The caller holds the mutex.
func (t *trial) lasted() {
	const smooth = 8
	took := time.Since(t.at)
	if t.d.usual == 0 {
		t.d.usual = took
	}
	t.d.usual += (took - t.d.usual) / smooth
}

// Accepted implements [route.Trial].
func (t *trial) Accepted() {
	l, a, d := t.ledger, t.a, t.d
	l.mu.Lock()
	if t.state != "" && t.state != taken {
		l.mu.Unlock()
		return
	}
	if t.state == "" {
		t.lasted()
	}
	d.proven, d.silent = true, nil
	delete(d.late, id(t.target))
	if !d.took[id(t.target)] {
		d.took[id(t.target)] = true
		d.witnesses = slices.Insert(d.witnesses, 0, t.target)
		d.witnesses = d.witnesses[:min(len(d.witnesses), mostWitnesses)]
	}
	cleared, spared := t.clears()
	now := time.Now()
	note := t.number == 0 && !t.known && (d.noted < mostWitnesses || now.Sub(d.notedAt) >= noteEvery)
	if note || t.number != 0 {
		d.noted++
		d.notedAt = now
	}
	if write := t.number != 0 || len(cleared)+len(spared) > 0; write { // before another process may look
		a.writing++
		defer l.written(a)
	}
	if !t.endLocked(Accepted) {
		t.state = Accepted // it had left
	}
	l.mu.Unlock()
	ctx := context.Background()
	var err error
	switch {
	case t.number != 0:
		err = l.book.Settle(ctx, Accepted, t.number)
	case note:
		_, err = l.book.Add(ctx, Entry{Account: t.a.name, Domain: t.who.Domain, Target: t.target, Time: now, State: Accepted})
	}
	if len(cleared) > 0 {
		err = errors.Join(err, l.book.Settle(ctx, Cleared, cleared...))
	}
	for where, numbers := range spared {
		err = errors.Join(err, l.book.Spare(ctx, where, numbers...))
	}
	l.toldLater(err)
}

// clears forgets what does not count any more, everywhere or in some domains, since the account was accepted by a sign-in that began later.
// It returns the numbers of both in the book. The caller holds the mutex.
func (t *trial) clears() (cleared []int64, spared map[string][]int64) {
	a := t.a
	kept := a.bad[:0]
	for _, o := range a.bad {
		if o.clock >= t.began {
			kept = append(kept, o)
			continue
		}
		gone, where := o.accepted(t.d)
		if (gone || where != "") && o.what == Refused && t.who.Word {
			a.vouched[id(t.target)]++
		}
		if gone {
			cleared = append(cleared, o.number)
			continue
		}
		kept = append(kept, o)
		if where != "" {
			if spared == nil {
				spared = map[string][]int64{}
			}
			spared[where] = append(spared[where], o.number)
		}
	}
	a.bad = kept
	return cleared, spared
}

// toldLater leaves word that the book failed for whoever tries next: this sign-in was made.
func (l *Ledger) toldLater(err error) {
	if err != nil {
		_ = l.lost(context.Background(), fmt.Errorf("write down what became of one: %w", err)) //nolint:errcheck // as said
	}
}

// written lets others in when the book has been changed.
func (l *Ledger) written(a *account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mark(a)
	a.writing--
	l.unlock(a)
	l.tell(a)
}

// Unjudged implements [route.Trial].
func (t *trial) Unjudged() {
	if t.end(Unjudged) && t.number != 0 {
		t.ledger.toldLater(t.ledger.book.Settle(context.Background(), Unjudged, t.number))
	}
}

// count books a sign-in that counts against the account. Nobody signs in before that is on disk. False: it had ended before. Where a
// secret goes with every request, one that was accepted may be refused later.
func (t *trial) count(state State) (bool, error) {
	l, a, d := t.ledger, t.a, t.d
	l.mu.Lock()
	if t.state != "" && (t.state != Accepted || state != Refused) {
		l.mu.Unlock()
		return false, nil
	}
	a.writing++
	defer l.written(a)
	t.endLocked(state)
	t.state = state
	o := &offence{number: t.number, what: state, target: t.target, domain: d.name, at: time.Now(), clock: a.clock}
	a.bad = append(a.bad, o)
	l.mu.Unlock()
	var err error
	ctx := context.Background()
	if t.number != 0 {
		err = l.book.Settle(ctx, state, t.number)
	} else {
		o.number, err = l.book.Add(ctx, Entry{Account: t.a.name, Domain: t.who.Domain, Target: t.target, Time: o.at, State: state})
	}
	if err != nil {
		err = l.lost(ctx, fmt.Errorf("write down what became of one: %w", err))
	}
	return true, err
}

// Unanswered implements [route.Trial].
func (t *trial) Unanswered() {
	l, a, d := t.ledger, t.a, t.d
	counted, _ := t.count(Unanswered) //nolint:errcheck // whoever tries next is told
	l.mu.Lock()
	defer l.mu.Unlock()
	if counted && d.proven && !t.known {
		d.late[id(t.target)] = true
	}
	if !counted || d.proven || t.judges || d.closed != nil {
		return
	}
	d.silent = append(d.silent, &offence{what: Unanswered, target: t.target, domain: d.name, at: time.Now()})
	if len(d.silent) >= Limit {
		l.bar(a, d, l.spent(a, d, d.silent, t.who, time.Now()))
	}
}

// Refused implements [route.Trial].
func (t *trial) Refused(ctx context.Context) error {
	if verdict := t.refused(); verdict != nil {
		return verdict
	}
	return t.ledger.cleared(ctx, t)
}

// refused books a refusal. Nobody tries between that and what it means for the account. Nil: it is a doubt.
func (t *trial) refused() error {
	l, a, d := t.ledger, t.a, t.d
	l.mu.Lock()
	a.writing++
	l.mu.Unlock()
	defer l.settled(a)
	if _, err := t.count(Refused); err != nil {
		return err
	}
	l.mu.Lock()
	proven := d.proven
	l.mu.Unlock()
	switch why := t.target.Name + " rejected " + t.who.Name; {
	case t.judges: // who asked has the verdict
		return &route.BarredError{Account: t.who, All: true, Why: why}
	case !proven, t.who.Final:
		return l.close(a, d, t.who, why)
	}
	return nil
}

// settled lets others in again.
func (l *Ledger) settled(a *account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.writing--
	l.unlock(a)
	l.tell(a)
}

// cleared returns when the doubt about a refusal is settled.
func (l *Ledger) cleared(ctx context.Context, t *trial) error {
	a := t.a
	for {
		l.mu.Lock()
		doubt := slices.ContainsFunc(a.bad, func(o *offence) bool { return o.clock >= t.began && id(o.target) == id(t.target) })
		free := !a.judging && !a.locking && a.writing == 0
		closed, changed := cmp.Or(a.closed, t.d.closed), a.look()
		lost, next := l.broken, wait
		switch {
		case lost != nil:
			next = broken
		case closed != nil:
			next = barred
		case !doubt:
			next = send
		case free && a.lock == nil:
			next, a.locking = lock, true
		case free && len(a.out) == 0:
			next, a.judging = judge, true
		}
		l.mu.Unlock()
		var err error
		switch next {
		case broken:
			return lost
		case barred:
			return closed
		case send:
			return nil
		case lock:
			err = l.lock(ctx, a, t.who)
		case judge:
			err = l.judge(ctx, a, t.d, t.who, t.ask)
		case wait:
			pause(ctx, changed)
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}
