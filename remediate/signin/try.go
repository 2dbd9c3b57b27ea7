package signin

import (
	"container/list"
	"context"
	"errors"
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
	barred
)

// Try implements [route.Ledger].
func (l *Ledger) Try(ctx context.Context, who route.Account, target route.Target, ask route.Ask) (route.Trial, error) {
	var place *list.Element
	queue := kind{domain: who.Domain}
	l.mu.Lock()
	a := l.account(strings.ToLower(who.Name))
	d := a.domain(who.Domain)
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
		next := l.next(a, d, who, id(target), time.Now())
		var t *trial
		var err error
		switch next {
		case barred:
			err = a.refusal(d)
		case lock:
			a.locking = true
		case send:
			t = l.begin(a, d, who, target)
			t.ask = ask
		case recall:
			d.proving = true
		case judge:
			a.judging = true
		case wait:
			if place == nil {
				place = a.queueUp(queue)
			}
		}
		l.mu.Unlock()
		switch next {
		case barred:
			return nil, err
		case lock:
			err = l.lock(ctx, a, who)
		case send:
			return l.sent(ctx, t)
		case recall:
			err = l.recall(ctx, a, d, who, target, ask)
		case judge:
			err = l.judge(ctx, a, d, who, ask)
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

// next decides. The caller holds the mutex.
func (l *Ledger) next(a *account, d *domain, who route.Account, machine string, now time.Time) move {
	a.prune(now)
	switch {
	case a.closed != nil, d.closed != nil:
		return barred
	case a.judging, a.locking, a.writing > 0:
		return wait
	case a.lock == nil:
		return lock
	case !who.Own && now.Sub(a.since) > turnTime && len(a.out) > 0:
		return wait // until none is under way, and the lock is given back
	}
	known, unknown := a.underWay()
	out := known + unknown
	proven := a.proven()
	switch {
	case len(a.bad) > 0 && proven && out > 0:
		return wait
	case len(a.bad) > 0 && proven && a.alone && len(a.bad) < l.limit:
		return send
	case len(a.bad) > 0 && proven:
		return judge
	case d.proving:
		return wait
	case !d.proven && len(a.bad)+out+1 > l.limit:
		if out > 0 {
			return wait
		}
		a.closed = l.spent(a, who)
		return barred
	case !d.proven && proven && unknown+1+max(known, 1) > l.limit:
		return wait
	case !d.proven && !d.recalled && !who.Own:
		return recall
	case !d.proven:
		return send
	case d.took[machine] && unknown+known+1 > l.limit, !d.took[machine] && unknown+1+max(known, 1) > l.limit:
		return wait
	}
	return send
}

func (a *account) proven() bool { return a.provenBut(nil) }

// provenBut reports whether the account is proven in a domain other than this one.
func (a *account) provenBut(not *domain) bool {
	for _, d := range a.domains {
		if d != not && d.proven && d.closed == nil {
			return true
		}
	}
	return false
}

// begin opens a sign-in. The caller holds the mutex.
func (l *Ledger) begin(a *account, d *domain, who route.Account, target route.Target) *trial {
	a.clock++
	t := &trial{ledger: l, a: a, d: d, who: who, target: target, known: d.took[id(target)], began: a.clock, proof: !d.proven || len(a.bad) > 0}
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
		return nil, fmt.Errorf("write down the sign-in of %s: %w", t.who.Name, err)
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
		if against, err = l.book.Against(ctx, a.name, now.Add(-Window)); err != nil {
			_ = held.Release() //nolint:errcheck // the first error is the one to tell
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.tell(a)
	a.locking = false
	if err != nil {
		return fmt.Errorf("look what became of the last sign-ins of %s: %w", who.Name, err)
	}
	a.lock, a.since = held, now
	if held.Mark() == a.mark {
		return nil
	}
	a.mark, a.bad = held.Mark(), nil
	for _, e := range against {
		what := e.State
		if what == Sent {
			what = Unanswered
		}
		a.bad = append(a.bad, &offence{number: e.N, what: what, target: e.Target, at: e.Time, clock: a.clock})
	}
	return nil
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

// spent says that too much counts against the account to try once more.
func (l *Ledger) spent(a *account, who route.Account) *route.BarredError {
	var names []string
	refused, first := 0, time.Now()
	for _, o := range a.bad {
		names = append(names, o.target.Name)
		if o.what == Refused {
			refused++
		}
		if o.at.Before(first) {
			first = o.at
		}
	}
	what := "had no answer"
	switch {
	case refused == len(a.bad):
		what = "were refused"
	case refused > 0:
		what = "were refused or had no answer"
	}
	until := first.Add(Window)
	return &route.BarredError{Account: who, All: true, Until: until, Limit: len(a.bad),
		Why: fmt.Sprintf("%s sign-ins of %s %s (%s) and none was accepted since: see that the password is right, then go on after %s, or at once with --sign-ins %d",
			number(len(a.bad)), who.Name, what, strings.Join(names, ", "), until.Local().Format("15:04"), len(a.bad)+1)}
}

func number(n int) string {
	words := []string{"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}
	if n < len(words) {
		return words[n]
	}
	return fmt.Sprint(n)
}

// recall asks first who took the account in an earlier run: a wrong password is known after one sign-in then, and a machine whose
// own trouble it is that it refuses us is not taken for the password's.
func (l *Ledger) recall(ctx context.Context, a *account, d *domain, who route.Account, target route.Target, ask route.Ask) error {
	const most = 4
	known, err := l.book.Took(ctx, a.name, d.name, mostWitnesses)
	took := known[:min(len(known), most)]
	if err == nil {
		for _, w := range took {
			if id(w) == id(target) {
				took = nil // it is its turn
				break
			}
		}
		_, err = l.question(ctx, a, d, who, took, ask)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	d.proving, d.recalled = false, ctx.Err() == nil
	for _, w := range known {
		if !slices.ContainsFunc(d.witnesses, func(o route.Target) bool { return id(o) == id(w) }) {
			d.witnesses = append(d.witnesses, w)
		}
	}
	l.unlock(a)
	l.tell(a)
	if errors.Is(err, errNobody) {
		return nil
	}
	return err
}

// errNobody says that no machine was there to be asked.
var errNobody = errors.New("nobody is there to be asked")

// question asks one machine after the other until one has judged. The error is a *route.BarredError where it was refused, or had no
// answer and must not be tried once more.
func (l *Ledger) question(ctx context.Context, a *account, d *domain, who route.Account, witnesses []route.Target, ask route.Ask) (State, error) {
	for _, w := range witnesses {
		var made *trial
		_ = ask(ctx, w, func() (route.Trial, error) { //nolint:errcheck // what it came to is in the trial
			l.mu.Lock()
			a.prune(time.Now())
			if made != nil || len(a.bad)+len(a.out)+1 > l.limit {
				l.mu.Unlock()
				return nil, errNobody
			}
			made = l.begin(a, d, who, w)
			made.judges, made.known = true, true
			l.mu.Unlock()
			if _, err := l.sent(ctx, made); err != nil {
				made = nil
				return nil, err
			}
			return made, nil
		})
		if made != nil {
			made.Unanswered() // where nothing was said
			l.mu.Lock()
			what := made.state
			l.mu.Unlock()
			switch what {
			case Accepted:
				return what, nil
			case Refused:
				return what, l.close(a, d, who, fmt.Sprintf("%s, which had taken %s, rejects it", w.Name, who.Name))
			}
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		l.mu.Lock()
		full := len(a.bad) >= l.limit
		if full {
			a.closed = l.spent(a, who)
			l.tell(a)
		}
		refusal := a.closed
		l.mu.Unlock()
		if refusal != nil {
			return "", refusal
		}
	}
	return "", errNobody
}

// close bars the account, everywhere where its own domain said so or nothing more may be tried.
func (l *Ledger) close(a *account, d *domain, who route.Account, why string) *route.BarredError {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &route.BarredError{Account: who, Why: why, Limit: l.limit, All: len(a.bad) >= l.limit || who.Home && !a.provenBut(d)}
	if e.All {
		a.closed = e
	}
	d.closed = e
	l.tell(a)
	return e
}

// judgeRounds is how often all who had taken an account are asked where none is there.
const (
	judgeRounds = 5
	judgePause  = 2 * time.Second
)

// judge settles a doubt: a machine that had taken the account is asked again. Nobody else tries meanwhile. An error is the end of
// ctx or a ledger that cannot be written; the verdict is in the account.
func (l *Ledger) judge(ctx context.Context, a *account, d *domain, who route.Account, ask route.Ask) error {
	err := l.settle(ctx, a, d, who, ask)
	l.mu.Lock()
	defer l.mu.Unlock()
	a.judging = false
	l.unlock(a)
	l.tell(a)
	if b := (*route.BarredError)(nil); errors.As(err, &b) {
		return nil
	}
	return err
}

func (l *Ledger) settle(ctx context.Context, a *account, d *domain, who route.Account, ask route.Ask) error {
	for round := 1; ; round++ {
		l.mu.Lock()
		home, witnesses := a.witness(d)
		full := len(a.bad) >= l.limit
		if full && a.closed == nil {
			a.closed = l.spent(a, who)
		}
		refusal := a.closed
		l.mu.Unlock()
		if full {
			return refusal
		}
		there := who
		if home != nil && home != d {
			there.Domain, there.Home = home.name, false
		}
		_, err := l.question(ctx, a, home, there, witnesses, ask)
		if !errors.Is(err, errNobody) {
			return err
		}
		l.mu.Lock()
		a.alone = a.silence()
		alone := a.alone
		l.mu.Unlock()
		if alone {
			return nil
		}
		if round == judgeRounds || len(witnesses) == 0 {
			why := fmt.Sprintf("%s, and no other machine that had taken %s is there to be asked", l.doubt(a), who.Name)
			e := l.close(a, d, who, why)
			l.mu.Lock()
			a.closed, e.All = e, true
			l.mu.Unlock()
			return e
		}
		select {
		case <-time.After(judgePause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// doubt says in words what counts against an account.
func (l *Ledger) doubt(a *account) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(a.bad) == 0 {
		return "a sign-in failed"
	}
	o := a.bad[len(a.bad)-1]
	if o.what == Refused {
		return fmt.Sprintf("%s rejected %s", o.target.Name, a.name)
	}
	return fmt.Sprintf("%s did not answer when %s signed in", o.target.Name, a.name)
}
