package signin

import (
	"cmp"
	"container/list"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/remediate/route"
)

// move is what comes next for somebody who wants to sign in.
type move int

const (
	wait   move = iota
	lock        // against other processes
	recall      // ask first who took it in an earlier run
	judge       // settle a doubt
	send
	aside // another machine goes first
	seek  // and is looked for
	barred
	broken // the book is
)

// Try implements [route.Ledger].
func (l *Ledger) Try(ctx context.Context, who route.Account, target route.Target, ask route.Ask) (route.Trial, error) {
	var place *list.Element
	queue := kind{domain: who.Domain}
	l.mu.Lock()
	a := l.account(cmp.Or(who.Key, strings.ToLower(who.Name)))
	d := a.domain(who.Domain)
	d.home = d.home || who.Home
	queue.known = d.took[id(target)]
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if place != nil {
			a.waiting[queue].Remove(place)
			l.tell(a) // whoever is next may have been woken in vain while this one was asked
		}
	}()
	for {
		if halted(ctx) {
			return nil, route.ErrHalted
		}
		l.mu.Lock()
		next, of := l.next(a, d, who, id(target), time.Now())
		if next == aside && route.Due(ctx) && l.among != nil && !d.proven && !d.sought && !a.others() {
			next = seek
		}
		var t *trial
		var err error
		there := who // where the doubt is
		switch next {
		case broken:
			err = l.broken
			l.unlock(a)
		case barred:
			err = a.refusal(d)
			l.unlock(a)
		case aside:
			err = &route.NotYetError{Why: l.asideFor(a, d, target), Nobody: d.sought && !d.proven && !a.others()}
			l.unlock(a)
		case lock:
			a.locking = true
		case send:
			t = l.begin(a, d, who, target)
			t.ask = ask
		case recall, seek:
			d.proving = true
		case judge:
			a.judging = true
			there.Domain, there.Home = of.name, of.home
		case wait:
			if place == nil {
				place = a.queueUp(queue)
			}
		}
		l.mu.Unlock()
		switch next {
		case broken, barred, aside:
			return nil, err
		case lock:
			err = l.lock(ctx, a, who)
		case send:
			return l.sent(ctx, t)
		case recall:
			err = l.recall(ctx, a, d, who, target, ask)
		case seek:
			err = l.seek(ctx, a, d, who, target, ask)
		case judge:
			err = l.judge(ctx, a, of, there, ask)
		case wait:
			pause(ctx, place.Value.(chan struct{})) //nolint:errcheck,forcetypeassert // a list of channels
		}
		if err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
}

func halted(ctx context.Context) bool {
	select {
	case <-route.Halt(ctx):
		return true
	default:
		return false
	}
}

func pause(ctx context.Context, woken <-chan struct{}) {
	timer := time.NewTimer(waitAtMost)
	defer timer.Stop()
	select {
	case <-woken:
	case <-timer.C:
	case <-route.Halt(ctx):
	case <-ctx.Done():
	}
}

// waitAtMost bounds one wait: what counts against an account is forgotten by time alone.
const waitAtMost = 5 * time.Second

// refusal is why nothing is sent.
func (a *account) refusal(d *domain) error {
	if a.closed != nil {
		return a.closed
	}
	return d.closed
}

// turnTime is how long one process signs in while others may wait, and turnPause how long it leaves them.
const (
	turnTime  = 250 * time.Millisecond
	turnPause = 3 * time.Millisecond
)

// next decides, and says in which domain a doubt is to be settled. The caller holds the mutex.
func (l *Ledger) next(a *account, d *domain, who route.Account, machine string, now time.Time) (move, *domain) {
	bad := l.against(a, d, now)
	out := len(a.out)
	switch {
	case l.broken != nil:
		return broken, d
	case a.closed != nil, d.closed != nil:
		return barred, d
	case d.late[machine] && a.others():
		return aside, d
	case a.judging, a.locking, a.writing > 0:
		return wait, d
	case a.lock == nil:
		return lock, d
	case !who.Own && now.Sub(a.since) > turnTime && out > 0:
		return wait, d // until none is under way, and the lock is given back
	}
	doubt := d
	if !a.judged(d, bad) {
		doubt = l.endangered(a, d, who, now)
	}
	switch {
	case doubt != nil && out > 0:
		return wait, d
	case doubt == d && (a.alone || who.Final) && l.fits(a, d, bad):
		return l.orAside(d, bad, who, machine), d
	case doubt != nil:
		return judge, doubt
	case d.proven && !l.place(a, d, d.took[machine]):
		return wait, d
	case d.proven:
		return send, d
	}
	return l.nextProof(a, d, bad, who, machine, now), d
}

// endangered returns another domain that has taken the account and could not ask about its own doubt any more if a sign-in in this domain
// failed, for that may count there; nil: none.
func (l *Ledger) endangered(a *account, d *domain, who route.Account, now time.Time) *domain {
	if len(a.bad) == 0 || a.alone || who.Own || who.Final {
		return nil
	}
	for _, other := range a.domains {
		if other == d || !other.proven || other.closed != nil {
			continue
		}
		bad := l.against(a, other, now)
		if _, witnesses := a.witness(other, bad); len(bad) > 0 && len(bad) == l.rule.Limit-1 && len(witnesses) > 0 {
			return other
		}
	}
	return nil
}

// nextProof decides where no machine of a domain has taken the account yet.
func (l *Ledger) nextProof(a *account, d *domain, bad []*offence, who route.Account, machine string, now time.Time) move {
	switch {
	case d.proving:
		return wait
	case !l.fits(a, d, bad):
		if len(a.out) > 0 {
			return wait
		}
		l.bar(a, d, l.spent(a, d, bad, who, now))
		return barred
	case !who.Own && !who.Final && l.rejected(d, bad) != nil:
		l.bar(a, d, l.rejects(d, bad, who))
		return barred
	case a.proven() && !l.place(a, d, false):
		return wait
	case !d.recalled && !who.Own && !who.Final:
		return recall
	}
	return l.orAside(d, bad, who, machine)
}

// rejected returns the refusal by which it is known that a domain rejects what the account's own takes, and has for that long; nil: none.
func (l *Ledger) rejected(d *domain, bad []*offence) *offence {
	at := slices.IndexFunc(bad, func(o *offence) bool { return o.apart && o.what == Refused && o.domain == d.name })
	if at < 0 || l.rule.Said {
		return nil
	}
	return bad[at]
}

// bar notes that an account is not sent any more, in a domain or anywhere. The caller holds the mutex.
func (l *Ledger) bar(a *account, d *domain, e *route.BarredError) {
	d.closed = e
	if e.All {
		a.closed = e
	}
	l.tell(a)
}

func (l *Ledger) orAside(d *domain, bad []*offence, who route.Account, machine string) move {
	if !who.Own && !who.Final && l.lastOf(d, bad, machine) {
		return aside
	}
	return send
}

// proven reports whether the account is, in any domain.
func (a *account) proven() bool {
	for _, d := range a.domains {
		if d.proven && d.closed == nil {
			return true
		}
	}
	return false
}

// begin opens a sign-in. The caller holds the mutex.
func (l *Ledger) begin(a *account, d *domain, who route.Account, target route.Target) *trial {
	a.clock++
	t := &trial{ledger: l, a: a, d: d, who: who, target: target, known: d.took[id(target)], began: a.clock, at: time.Now(), proof: !d.proven || len(l.against(a, d, time.Now())) > 0}
	if d.proven {
		t.wait = min(max(waitTimes*d.usual, leastWait), mostWait)
	}
	a.out[t] = true
	if !d.proven {
		d.proving = true
	}
	return t
}

// sent writes a sign-in down before it is made, where the account is not proven there.
func (l *Ledger) sent(ctx context.Context, t *trial) (route.Trial, error) {
	if !t.proof && !t.judges {
		return t, nil
	}
	number, err := l.book.Add(ctx, Entry{Account: t.a.name, Domain: t.who.Domain, Target: t.target, Time: time.Now(), State: Sent})
	if err != nil {
		t.end(Unjudged)
		return nil, l.lost(ctx, fmt.Errorf("write down a sign-in: %w", err))
	}
	t.number = number
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mark(t.a)
	return t, nil
}

// mark tells the next process that the book says something new of an account. The caller holds the mutex.
func (l *Ledger) mark(a *account) {
	a.mark++
	if a.lock != nil {
		_ = a.lock.Note(a.mark) //nolint:errcheck // the book itself was written
	}
}

// farBack is for how many windows it is looked back: each may have begun before the one before it was over.
const farBack = 20

// lock takes the account for this process, and reads what others made of it.
func (l *Ledger) lock(ctx context.Context, a *account, who route.Account) error {
	if rest := time.Until(a.pause); rest > 0 { // nobody else looks at it while locking
		select {
		case <-time.After(rest):
		case <-ctx.Done(): // the lock says so
		}
	}
	var held Lock = own{}
	var err error
	if !who.Own {
		held, err = l.book.Lock(ctx, a.name)
	}
	var against []Entry
	now := time.Now()
	if err == nil && held.Mark() != a.mark {
		if against, err = l.book.Against(ctx, a.name, now.Add(-farBack*l.longest())); err != nil {
			_ = held.Release() //nolint:errcheck // the first error is the one to tell
		}
	}
	if err != nil {
		err = l.lost(ctx, fmt.Errorf("read what became of the last ones: %w", err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.tell(a)
	a.locking = false
	if err != nil {
		return err
	}
	a.lock, a.since = held, now
	if held.Mark() == a.mark {
		return nil
	}
	a.mark, a.bad = held.Mark(), nil
	for _, e := range against {
		o := &offence{number: e.N, what: e.State, target: e.Target, domain: e.Domain, at: e.Time, clock: a.clock}
		if e.State == Sent {
			o.what = Unanswered
		}
		for _, where := range e.Spared {
			if where == Others {
				o.apart = true
			} else {
				o.spared = append(o.spared, where)
			}
		}
		a.bad = append(a.bad, o)
	}
	return nil
}

// longest is the longest time that anything counts.
func (l *Ledger) longest() time.Duration {
	longest := l.rule.Window
	for _, r := range l.rule.Elsewhere {
		longest = max(longest, r.Window)
	}
	return longest
}

// own is the lock of an account that only one machine has: a machine is in one run at a time.
type own struct{}

func (own) Mark() int64      { return 0 }
func (own) Note(int64) error { return nil }
func (own) Release() error   { return nil }

// unlock gives the account to other processes while nothing is under way. The caller holds the mutex.
func (l *Ledger) unlock(a *account) {
	if a.lock == nil || len(a.out) > 0 || a.judging || a.writing > 0 {
		return
	}
	for _, d := range a.domains {
		if d.proving {
			return
		}
	}
	_ = a.lock.Release() //nolint:errcheck // it goes with the process
	if time.Since(a.since) > turnTime {
		a.pause = time.Now().Add(turnPause)
	}
	a.lock = nil
}
