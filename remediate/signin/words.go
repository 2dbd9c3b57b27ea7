package signin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/remediate/route"
)

// asideFor says why another machine goes first.
func (l *Ledger) asideFor(a *account, d *domain, t route.Target) string {
	if d.late[id(t)] {
		return t.Name + " did not answer when it was signed in to: it is signed in to again when others are through"
	}
	until := last(slices.Concat(d.silent, a.bad)).Add(l.window)
	return fmt.Sprintf("%s did not answer when it was signed in to: it is signed in to again when another machine has taken the account, after %s, or at once with --sign-ins %d",
		t.Name, until.Local().Format("15:04"), l.limit+1)
}

// spent says that too much was not accepted to try once more.
func (l *Ledger) spent(bad []*offence, who route.Account) *route.BarredError {
	var names []string
	refused := 0
	for _, o := range bad {
		if !slices.Contains(names, o.target.Name) {
			names = append(names, o.target.Name)
		}
		if o.what == Refused {
			refused++
		}
	}
	what := "had no answer"
	switch {
	case refused == len(bad):
		what = "were refused"
	case refused > 0:
		what = "were refused or had no answer"
	}
	noun := "sign-ins"
	if len(bad) == 1 {
		noun, what = "sign-in", strings.Replace(what, "were", "was", 1)
	}
	until := last(bad).Add(l.window)
	return &route.BarredError{Account: who, All: true, Until: until,
		Why: fmt.Sprintf("%s %s of %s %s (%s) and none was accepted since: see that the password is right, then go on after %s",
			number(len(bad)), noun, who.Name, what, strings.Join(names, ", "), until.Local().Format("15:04")), More: len(bad) + 1}
}

func number(n int) string {
	words := []string{"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}
	if n < len(words) {
		return words[n]
	}
	return fmt.Sprint(n)
}

// doubt says in words what counts against an account of that name.
func (l *Ledger) doubt(a *account, name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(a.bad) == 0 {
		return "a sign-in failed"
	}
	o := a.bad[len(a.bad)-1]
	if o.what == Refused {
		return fmt.Sprintf("%s rejected %s", o.target.Name, name)
	}
	return fmt.Sprintf("%s did not answer when %s signed in", o.target.Name, name)
}
