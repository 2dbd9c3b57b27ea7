package signin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fleetmend/fleetmend/remediate/route"
)

// recall asks first who took the account in an earlier run: a wrong password is known after one sign-in then, and a machine whose
// own trouble it is that it refuses us is not taken for the password's.
func (l *Ledger) recall(ctx context.Context, a *account, d *domain, who route.Account, target route.Target, ask route.Ask) error {
	const most = 4
	known, err := l.book.Took(ctx, a.name, d.name, mostWitnesses)
	err = l.lost(ctx, err)
	took := known[:min(len(known), most)]
	if err == nil {
		for _, w := range took {
			if id(w) == id(target) {
				took = nil // it is its turn
				break
			}
		}
		_, err = l.question(ctx, a, d, who, took, ask, true)
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

// At so many machines somebody is looked for, and for so long.
const (
	mostSought = 12
	seekLasts  = 20 * time.Second
)

// seek signs in at others that will be signed in to anyway, one after the other, until one has taken the account. Those of another domain
// are sent nothing.
func (l *Ledger) seek(ctx context.Context, a *account, d *domain, who route.Account, target route.Target, ask route.Ask) (err error) {
	began, asked := time.Now(), 0
	for t := range l.among {
		if id(t) == id(target) || l.offended(a, t) {
			continue
		}
		if asked == mostSought || time.Since(began) > seekLasts {
			break
		}
		asked++
		if _, err = l.question(ctx, a, d, who, []route.Target{t}, ask, false); !errors.Is(err, errNobody) {
			break
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	d.proving, d.sought = false, ctx.Err() == nil
	l.unlock(a)
	l.tell(a)
	if errors.Is(err, errNobody) {
		return nil
	}
	return err
}

// offended reports whether something counts that a machine caused.
func (l *Ledger) offended(a *account, t route.Target) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(a.bad, func(o *offence) bool { return id(o.target) == id(t) })
}

// errNobody says that no machine was there to be asked.
var errNobody = errors.New("nobody is there to be asked")

// question asks one machine of a domain after the other until one has judged; took says that they have taken the account before. The error is
// a *route.BarredError where it was refused, or had no answer and must not be tried once more.
func (l *Ledger) question(ctx context.Context, a *account, d *domain, who route.Account, witnesses []route.Target, ask route.Ask, took bool) (State, error) {
	for _, w := range witnesses {
		var made *trial
		var lost error
		_ = ask(ctx, w, func(in string) (route.Trial, error) { //nolint:errcheck // what it came to is in the trial
			l.mu.Lock()
			if made != nil || in != "" && in != d.name || !l.fits(a, d, l.against(a, d, time.Now())) {
				l.mu.Unlock()
				return nil, errNobody
			}
			made = l.begin(a, d, who, w)
			made.judges, made.known, made.wait = true, took, 0
			l.mu.Unlock()
			if _, err := l.sent(ctx, made); err != nil {
				made, lost = nil, err
				return nil, err
			}
			return made, nil
		})
		if lost != nil {
			return "", lost
		}
		if made != nil {
			made.Unanswered() // where nothing was said
			l.mu.Lock()
			what := made.state
			l.mu.Unlock()
			switch what {
			case Accepted:
				return what, nil
			case Refused:
				why := fmt.Sprintf("%s rejected %s", w.Name, who.Name)
				if took {
					why = fmt.Sprintf("%s, which had taken %s, rejects it", w.Name, who.Name)
				}
				return what, l.close(a, d, who, why)
			}
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if refusal := l.full(a, d, who); refusal != nil {
			return "", refusal
		}
	}
	return "", errNobody
}

// full bars the account in a domain where so much counts there that nothing more may be tried; nil: not so much.
func (l *Ledger) full(a *account, d *domain, who route.Account) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if bad := l.against(a, d, now); a.closed == nil && d.closed == nil && len(a.out) == 0 && !l.fits(a, d, bad) {
		l.bar(a, d, l.spent(a, d, bad, who, now))
	}
	if a.closed != nil {
		return a.closed
	}
	if d.closed != nil {
		return d.closed
	}
	return nil
}

// close bars the account, everywhere where its own domain said so or nothing more may be tried.
func (l *Ledger) close(a *account, d *domain, who route.Account, why string) *route.BarredError {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	e := &route.BarredError{Account: who, Why: why, All: l.everywhere(a, d, who, now)}
	l.later(a, d, e, now)
	l.bar(a, d, e)
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
		if refusal := l.full(a, d, who); refusal != nil {
			return refusal
		}
		l.mu.Lock()
		of, witnesses := a.witness(d, l.against(a, d, time.Now()))
		there := who
		there.Domain, there.Home = of.name, of.home
		l.mu.Unlock()
		_, err := l.question(ctx, a, of, there, witnesses, ask, true)
		if !errors.Is(err, errNobody) {
			return err
		}
		l.mu.Lock()
		a.alone = silence(l.against(a, d, time.Now()))
		alone := a.alone
		l.mu.Unlock()
		if alone {
			return nil
		}
		if round == judgeRounds || len(witnesses) == 0 {
			return l.close(a, d, who, fmt.Sprintf("%s, and no other machine that had taken %s is there to be asked", l.doubt(a, d, who.Name), who.Name))
		}
		select {
		case <-time.After(judgePause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
