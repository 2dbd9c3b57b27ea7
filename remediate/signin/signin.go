// Package signin keeps accounts from being locked. Its [Ledger] is asked before each sending of a secret, by all routes of a run,
// and counts in a [Book] that all runs of a state folder share.
//
// The rule. What was refused, and what had no answer, counts against an account until it is accepted by a sign-in that began
// later, or until its window is over. That, and what is under way, is never more than the limit. Who counted is not known: the
// controllers of the account's own domain, or those of the machine's, where that does not trust it and has an account of that name. So an
// acceptance clears what its own domain counted; what machines of others caused it clears for its own domain alone, or, if it is the
// account's, for all but theirs (see counts.go). Where no machine of a domain
// has taken the account yet, one is tried, before all others one that took it in an earlier run; the last sign-in
// that may have no answer is never at a machine that has not answered before. Once it was taken a refusal
// is a doubt: nobody tries until a machine that had taken it was asked again. If that takes it, the refusal was the other
// machine's own trouble; if not, nothing is sent any more. The place of that question is always kept free, which a sign-in
// at a machine that had taken the account may use meanwhile: its refusal is the answer. Where nothing proves that a machine took it,
// one alone is not believed for long.
//
// The package opens no connection and knows no secret.
package signin

import (
	"cmp"
	"container/list"
	"context"
	"iter"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/remediate/route"
)

// Limit is how many sign-ins of an account that were not accepted are borne where nobody says another number: hardly a domain locks
// an account after so few.
const Limit = 2

// Window is how long sign-ins count that were not accepted, from the last of them on: as long as Windows counts them unless told
// otherwise.
const Window = 30 * time.Minute

// Rule is what an account bears. The zero value is [Limit] and [Window].
type Rule struct {
	Limit  int           // sign-ins that were not accepted or are under way; with 1 a refusal is never asked about elsewhere
	Window time.Duration // how long they count after the last of them
	Safe   int           // the highest limit that the account's own domain is known to bear; 0: it did not tell
	Said   bool          // somebody gave that limit: a domain that rejects what the account's own takes is asked again

	// Elsewhere is what other domains bear for an account of that name, by their names in upper case, where they told; else it is
	// [Limit]. It is never more than Limit.
	Elsewhere map[string]Rule
}

// State is what became of a sign-in.
type State string

// The states. A sign-in that is found sent, by a process that has ended, had no answer.
const (
	Sent       State = "sent"
	Accepted   State = "accepted"
	Refused    State = "refused"
	Unanswered State = "unanswered"
	Unjudged   State = "unjudged"
	taken      State = "taken"   // as the machine says; never in the book
	Cleared    State = "cleared" // refused or unanswered, and accepted later
)

// Counts reports whether it counts against the account.
func (s State) Counts() bool { return s == Sent || s == Refused || s == Unanswered }

// Entry is one sign-in in the book.
type Entry struct {
	N       int64
	Account string
	Domain  string
	Target  route.Target
	Time    time.Time
	State   State
	Spared  []string // domains in which it counts no more, though it does elsewhere; [Others]: in none but its own
}

// Others stands for all domains but that of an entry.
const Others = "*"

// Book is where sign-ins are written down, for all processes that share it.
type Book interface {
	// Lock keeps other processes from signing in with an account. Mark is what the last one left who had it.
	Lock(ctx context.Context, account string) (Lock, error)
	// Add writes an entry and returns its number when it is on disk.
	Add(ctx context.Context, e Entry) (int64, error)
	// Settle changes the state of entries.
	Settle(ctx context.Context, state State, numbers ...int64) error
	// Spare writes of entries that they count no more in a domain, or in all but their own ([Others]).
	Spare(ctx context.Context, domain string, numbers ...int64) error
	// Against returns the entries of an account that count against it, since a time.
	Against(ctx context.Context, account string, since time.Time) ([]Entry, error)
	// Took returns machines of a domain that took the account, the last first, each once.
	Took(ctx context.Context, account, domain string, most int) ([]route.Target, error)
}

// Lock is the right of one process to sign in with an account.
type Lock interface {
	Mark() int64
	Note(mark int64) error // leaves a mark for the next
	Release() error
}

// Ledger implements [route.Ledger].
type Ledger struct {
	book  Book
	rule  Rule
	among iter.Seq[route.Target] // nil: nobody is known

	mu       sync.Mutex
	accounts map[string]*account
	broken   *route.StoreError // the book failed: nothing is sent any more
}

var _ route.Ledger = (*Ledger)(nil)

// New makes a ledger over a book, for accounts that bear the same.
func New(book Book, rule Rule) *Ledger {
	rule.Limit, rule.Window = cmp.Or(max(rule.Limit, 0), Limit), cmp.Or(max(rule.Window, 0), Window)
	return &Ledger{book: book, rule: rule, accounts: map[string]*account{}}
}

// Among says which machines will be signed in to anyway, in the order in which that is worth while. One that may have been changed, and has
// to wait until another has taken the account, waits for one of these: it is signed in to, and nothing else is done there. It is called
// before the first sign-in.
func (l *Ledger) Among(machines iter.Seq[route.Target]) *Ledger {
	l.among = machines
	return l
}

// account is what this process knows of one account. The ledger's mutex guards it.
type account struct {
	name    string
	domains map[string]*domain
	out     map[*trial]bool // under way
	bad     []*offence      // counts against it
	closed  *route.BarredError
	alone   bool           // the doubt is about silence, and nobody is there to be asked: whoever comes next may try
	judging bool           // somebody asks a machine that had taken it
	writing int            // changes of the book that have to be on disk before anybody tries
	clock   int64          // orders beginnings and ends of sign-ins
	vouched map[string]int // refusals that a machine has cleared by its word alone

	waiting map[kind]*list.List // of chan struct{}
	changed chan struct{}       // closed with each change; nil: nobody looks

	lock    Lock
	locking bool
	since   time.Time // of the lock
	pause   time.Time // until when others may take it
	mark    int64
}

// domain is what is known of an account in one domain.
type domain struct {
	name      string
	home      bool // it is the account's own
	proven    bool
	proving   bool
	recalled  bool // who took it in earlier runs was asked
	sought    bool // somebody was looked for who may take it
	closed    *route.BarredError
	silent    []*offence      // who did not answer while it was not proven
	took      map[string]bool // machines, by ID
	witnesses []route.Target  // some of them, the last first
	late      map[string]bool // machines, by ID, that were silent when others had taken it
	usual     time.Duration   // that a machine needs to take it
	noted     int
	notedAt   time.Time
}

// kind is who waits for the same.
type kind struct {
	domain string
	known  bool
}

const (
	mostWitnesses = 16
	noteEvery     = 10 * time.Second // that a machine took it is written down, after the first few
	leastWait     = 3 * time.Second  // for what comes of a sign-in, where an account is proven
	mostWait      = 10 * time.Second
	waitTimes     = 20 // what is usual
	mostVouched   = 2  // refusals that one machine may clear by its word alone
)

func (l *Ledger) account(name string) *account {
	a := l.accounts[name]
	if a == nil {
		a = &account{name: name, domains: map[string]*domain{}, out: map[*trial]bool{}, waiting: map[kind]*list.List{}, vouched: map[string]int{}, mark: -1}
		l.accounts[name] = a
	}
	return a
}

func (a *account) domain(name string) *domain {
	d := a.domains[name]
	if d == nil {
		d = &domain{name: name, took: map[string]bool{}, late: map[string]bool{}}
		a.domains[name] = d
	}
	return d
}

// tell wakes those who wait: of each kind as many as could be let in, in the order in which they came.
func (l *Ledger) tell(a *account) {
	for _, queue := range a.waiting {
		n := 0
		for e := queue.Front(); e != nil && (n < l.rule.Limit || a.closed != nil || l.broken != nil); e = e.Next() {
			select {
			case e.Value.(chan struct{}) <- struct{}{}: //nolint:errcheck,forcetypeassert // a list of channels
			default:
			}
			n++
		}
	}
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

// lost notes that the book failed, after which nothing is sent. The end of ctx is no failure.
func (l *Ledger) lost(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		l.broken = &route.StoreError{Store: "the book of sign-ins", Err: err}
		for _, a := range l.accounts {
			l.tell(a)
		}
	}
	return l.broken
}

// look returns what is closed with the next change.
func (a *account) look() <-chan struct{} {
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	return a.changed
}

// queueUp returns what wakes somebody who waits.
func (a *account) queueUp(k kind) *list.Element {
	if a.waiting[k] == nil {
		a.waiting[k] = list.New()
	}
	return a.waiting[k].PushBack(make(chan struct{}, 1))
}

// others reports whether anybody else signs in or waits for it.
func (a *account) others() bool {
	for _, queue := range a.waiting {
		if queue.Len() > 0 {
			return true
		}
	}
	return len(a.out) > 0 || a.judging
}

// id is what tells machines apart.
func id(t route.Target) string {
	if t.ID == "" {
		return t.Name
	}
	return t.ID
}
