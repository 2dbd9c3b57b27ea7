package cases

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/casefile"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// Status is the one screen of an incident, as of one number of the feed.
type Status struct {
	Incident journal.Incident         `json:"incident"`
	At       time.Time                `json:"at"`
	Number   int64                    `json:"number"`   // of the feed
	Machines int                      `json:"machines"` // that count
	Out      map[string]int           `json:"out"`      // why others do not -> how many
	Verdicts map[casefile.Verdict]int `json:"verdicts"`
	Left     int                      `json:"left"` // affected, undone and suspect
	Sites    []Site                   `json:"sites"`
	Next     []Group                  `json:"next"`
	Routes   map[string]int           `json:"routes"` // of the machines left
	Keys     map[casefile.Keys]int    `json:"keys"`   // of the machines left whose disk may be encrypted
	By       map[string]int           `json:"by"`     // what fixed machines: run, medium, hand
	Rate     Rate                     `json:"rate"`
	Fixed    []Hour                   `json:"fixed"` // by the hour, the oldest first, without empty ones
	Ages     []Age                    `json:"ages"`
	Missing  []string                 `json:"missing"` // sentences
}

// Site counts the machines of a site.
type Site struct {
	Name     string                   `json:"name"`
	Machines int                      `json:"machines"`
	Left     int                      `json:"left"`
	Verdicts map[casefile.Verdict]int `json:"verdicts"`
}

// Group are the machines for which the same comes next.
type Group struct {
	Verb     casefile.Verb `json:"next"`
	Machines int           `json:"machines"`
	Why      []Reason      `json:"why,omitempty"`
	Commands []string      `json:"commands"` // that do it, as they can be typed
}

// Reason is why, for how many machines.
type Reason struct {
	Text     string `json:"text"`
	Machines int    `json:"machines"`
}

// Rate is how fast machines become fixed.
type Rate struct {
	LastHour int       `json:"last_hour"`
	End      time.Time `json:"end,omitzero"` // when none is left at this rate; zero: it cannot be said
}

// Hour counts the machines that became fixed within an hour.
type Hour struct {
	Begin    time.Time `json:"begin"`
	Machines int       `json:"machines"`
}

// Age says how old what is known is.
type Age struct {
	What string    `json:"what"`
	At   time.Time `json:"at,omitzero"` // zero: never
}

// Take makes the status of an incident over the machines of a selector. Incident is found as by [One], but a closed one
// may be named.
func Take(ctx context.Context, d *desk.Desk, incident string, selector inventory.Selector) (*Status, error) {
	return take(ctx, d, incident, selector, func(*journal.Incident, *casefile.Case) {})
}

// take calls each with every machine, in no order.
func take(ctx context.Context, d *desk.Desk, incident string, selector inventory.Selector, each func(*journal.Incident, *casefile.Case)) (*Status, error) {
	i, err := One(ctx, d, incident)
	if err != nil {
		return nil, err
	}
	store, err := d.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	n, err := store.About(ctx)
	if err != nil {
		return nil, err
	}
	collected := desk.Spare(room(n))
	defer collected()
	b, facts, err := gather(ctx, d, &i, selector)
	if err != nil {
		return nil, err
	}
	v := &b.views[0]
	t := newTally(v, b.now)
	err = v.judgeAll(b, facts, func(judged []casefile.Case) error {
		for n := range judged {
			t.add(&judged[n])
			each(&v.incident, &judged[n])
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	s := t.status()
	if s.Ages, err = ages(ctx, d, t); err != nil {
		return nil, err
	}
	s.Missing = append([]string{}, t.missing(d)...) // a list, also where it is empty
	s.Fixed, s.Next = append([]Hour{}, s.Fixed...), append([]Group{}, s.Next...)
	cures, err := cure(ctx, d, &i)
	if err != nil {
		return nil, err
	}
	for n := range s.Next {
		s.Next[n].Commands = commands(d, i, selector, s.Next[n].Verb, t.resume, cures)
	}
	return s, nil
}

// room is how many bytes the cases of n machines may have, of which nearly all is needed to the end: 50,000 do not pass it, nor does the
// first reading of them, which packs what it reads.
func room(n int) int64 { return max(80<<20, int64(n)*1_700) }

// tally counts judged machines.
type tally struct {
	s      Status
	now    time.Time
	sites  map[string]*Site
	next   map[casefile.Verb]*Group
	why    map[casefile.Verb]map[string]int
	hours  map[time.Time]int
	fixed  []time.Time
	resume map[string]bool // runs that stopped

	answered, probed time.Time // the newest
	unprobed         int
}

func newTally(v *view, now time.Time) *tally {
	return &tally{
		s: Status{Incident: v.incident, At: now.UTC(), Number: v.cases.Number(), Out: map[string]int{}, Verdicts: map[casefile.Verdict]int{}, Routes: map[string]int{},
			Keys: map[casefile.Keys]int{}, By: map[string]int{}},
		now: now, sites: map[string]*Site{}, next: map[casefile.Verb]*Group{}, why: map[casefile.Verb]map[string]int{},
		hours: map[time.Time]int{}, resume: map[string]bool{},
	}
}

// explained are the steps whose reasons people want to see.
var explained = []casefile.Verb{casefile.Retry, casefile.ByHand, casefile.GetKey, casefile.Wait}

func (t *tally) add(c *casefile.Case) {
	if c.Out != "" {
		t.s.Out[c.Out]++
		return
	}
	t.s.Machines++
	t.s.Verdicts[c.Verdict]++
	site := t.sites[c.Site]
	if site == nil {
		site = &Site{Name: c.Site, Verdicts: map[casefile.Verdict]int{}}
		t.sites[c.Site] = site
	}
	site.Machines++
	site.Verdicts[c.Verdict]++
	if c.Verdict == casefile.Affected || c.Verdict == casefile.Undone || c.Verdict == casefile.Suspect {
		t.s.Left++
		site.Left++
		t.s.Routes[c.Route.Name]++
		if c.Encrypted != "no" {
			t.s.Keys[c.Keys]++
		}
	}
	if c.Verdict != casefile.Fixed && c.Verdict != casefile.Clean && c.Probe == nil && c.Answer == nil && c.Tried == nil {
		t.unprobed++
	}
	if c.Verdict == casefile.Fixed {
		t.s.By[fixedBy(c)]++
		t.fixed = append(t.fixed, c.Since)
		t.hours[c.Since.UTC().Truncate(time.Hour)]++
	}
	if c.Answer != nil && c.Answer.At.After(t.answered) {
		t.answered = c.Answer.At
	}
	if c.Probe != nil && c.Probe.At.After(t.probed) {
		t.probed = c.Probe.At
	}
	t.step(c)
}

func (t *tally) step(c *casefile.Case) {
	group := t.next[c.Next.Verb]
	if group == nil {
		group = &Group{Verb: c.Next.Verb}
		t.next[c.Next.Verb] = group
		t.why[c.Next.Verb] = map[string]int{}
	}
	group.Machines++
	if slices.Contains(explained, c.Next.Verb) {
		t.why[c.Next.Verb][c.Next.Why]++
	}
	if c.Next.Verb == casefile.Resume {
		t.resume[c.Work.Run] = true
	}
}

// fixedBy says what fixed the machine: run, medium or hand.
func fixedBy(c *casefile.Case) string {
	switch {
	case c.FixedByHand():
		return "hand"
	case c.Answer != nil && c.Answer.Route == casefile.Medium:
		return "medium"
	}
	return "run"
}

// maxReasons bounds the reasons that are shown of a step.
const maxReasons = 3

func (t *tally) status() *Status {
	s := &t.s
	for _, site := range t.sites {
		s.Sites = append(s.Sites, *site)
	}
	slices.SortFunc(s.Sites, func(a, b Site) int {
		return cmp.Or(cmp.Compare(b.Left, a.Left), cmp.Compare(b.Machines, a.Machines), cmp.Compare(a.Name, b.Name))
	})
	for _, verb := range casefile.Verbs() {
		group := t.next[verb]
		if group == nil || verb == casefile.Done {
			continue
		}
		for text, n := range t.why[verb] {
			group.Why = append(group.Why, Reason{text, n})
		}
		slices.SortFunc(group.Why, func(a, b Reason) int {
			return cmp.Or(cmp.Compare(b.Machines, a.Machines), cmp.Compare(a.Text, b.Text))
		})
		group.Why = group.Why[:min(len(group.Why), maxReasons)]
		s.Next = append(s.Next, *group)
	}
	for _, begin := range slices.SortedFunc(maps.Keys(t.hours), time.Time.Compare) {
		s.Fixed = append(s.Fixed, Hour{begin, t.hours[begin]})
	}
	s.Rate = t.rate()
	return s
}

// An end is foretold once fewFixed machines were fixed within the hour, and as if they had taken shortest at least: a run
// that fixes a hundred in a minute says nothing about the next hour.
const (
	fewFixed = 5
	shortest = 15 * time.Minute
)

func (t *tally) rate() Rate {
	hour := t.now.Add(-time.Hour)
	n, first := 0, t.now
	for _, at := range t.fixed {
		if at.After(hour) {
			n++
			if at.Before(first) {
				first = at
			}
		}
	}
	span := max(t.now.Sub(first), shortest)
	if len(t.fixed) > n { // it began before this hour
		span = time.Hour
	}
	r := Rate{LastHour: n}
	if n >= fewFixed && t.s.Left > 0 {
		r.End = t.now.Add(span * time.Duration(t.s.Left) / time.Duration(n)).UTC().Truncate(time.Minute)
	}
	return r
}
