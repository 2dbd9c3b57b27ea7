package plan

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// DefaultTTL is how long a plan may wait for its apply. Longer, and the fleet is not the one that was looked at.
const DefaultTTL = 24 * time.Hour

// Input is everything a plan is made from.
type Input struct {
	Entries  []Entry // in any order; New arranges its own copy
	Skipped  []Skip
	Source   Source
	Mode     agent.Mode // Fix when empty
	Undoes   string     // with Undo: the run to take back
	RetryOf  string     // the run this one repeats
	Incident string     // whose cases the outcomes belong to; empty: none
	Asks     bool       // that incident asks what the playbook asks, and was not named by somebody who counts other answers there
	Options  Options    // start from DefaultOptions
	Waves    []Size     // as from ParseWaves; nil: one wave
	Operator string
	Selector string
	Exclude  string        // selector of what was left out
	Now      time.Time     // the wall clock
	TTL      time.Duration // 0: DefaultTTL

	Limits map[string]route.Limits // of routes, where they need others than those of Options
}

// Source is the playbook and where it came from.
type Source struct {
	Playbook   playbook.Playbook // bound
	File       string            // absolute path of that text; empty for a built-in playbook
	Digest     string            // of the text it was bound from
	Parameters map[string]string
}

// DefaultOptions are the rules of a run when the operator says nothing.
func DefaultOptions() Options {
	return Options{
		Forks:      100,                           // a WinRM conversation costs little; the waves limit the risk, not this
		Timeout:    10 * time.Minute,              // a fix takes seconds, a machine that boots takes minutes
		RebootWait: 15 * time.Minute,              // spinning disks, pending updates
		Retries:    3,                             //
		Backoff:    2 * time.Second,               //
		MaxFail:    Limit{Percent: 10, Set: true}, // of the treated, as Limit judges
		MaxUnreach: Limit{},                       // on a bad day most machines are off; that is no reason to stop
	}
}

// New freezes a plan. It refuses an empty fleet, a machine that is there twice and options that cannot work.
func New(in Input) (*Plan, error) {
	p := &Plan{
		Version: Version, Created: in.Now.UTC().Round(0).Truncate(time.Millisecond),
		Operator: in.Operator, Selector: in.Selector, Exclude: in.Exclude,
		Mode: in.Mode, Undoes: in.Undoes, RetryOf: in.RetryOf, Incident: in.Incident, Asks: in.Asks,
		Playbook: in.Source.Playbook, Parameters: maps.Clone(in.Source.Parameters), PlaybookDigest: in.Source.Digest, PlaybookFile: in.Source.File,
		Skipped: slices.Clone(in.Skipped), Options: in.Options,
	}
	p.Options.ByRoute = maps.Clone(p.Options.ByRoute)
	if p.Mode == "" {
		p.Mode = agent.Fix
	}
	ttl := in.TTL
	if ttl <= 0 {
		ttl = DefaultTTL
	}
	p.Expires = p.Created.Add(ttl)
	sizes := in.Waves
	if len(sizes) == 0 {
		sizes = []Size{{Text: "100%", Percent: 100}}
	}
	entries := slices.Clone(in.Entries)
	arrange(entries)
	p.Waves = cut(entries, sizes)
	for i := range entries {
		if limits := in.Limits[entries[i].Route]; limits != (route.Limits{}) {
			if p.Options.ByRoute == nil {
				p.Options.ByRoute = map[string]route.Limits{}
			}
			p.Options.ByRoute[entries[i].Route] = limits
		}
	}
	if placed := p.Machines(); placed != len(entries) {
		return nil, hint.Wrap(fmt.Errorf("make plan: the waves hold %d of %d machines", placed, len(entries)), wavesHint)
	}
	if err := p.Seal(); err != nil {
		return nil, err
	}
	return p, nil
}

// Restage returns p with its machines in waves of other sizes, in the order in which they stand, sealed anew.
func Restage(p *Plan, sizes []Size) (*Plan, error) {
	var entries []Entry
	for _, w := range p.Waves {
		entries = append(entries, w.Entries...)
	}
	staged := *p
	staged.Waves = cut(entries, sizes)
	if placed := staged.Machines(); placed != len(entries) {
		return nil, hint.Wrap(fmt.Errorf("make plan: the waves hold %d of %d machines", placed, len(entries)), wavesHint)
	}
	if err := staged.Seal(); err != nil {
		return nil, err
	}
	return &staged, nil
}

// Sizes are the sizes of the waves of p, as they were asked for; the last is the whole fleet.
func (p *Plan) Sizes() []Size {
	var sizes []Size
	for _, w := range p.Waves {
		if size, err := parseSize(w.Name); err == nil && size.Percent < 100 {
			sizes = append(sizes, size)
		}
	}
	return append(sizes, Size{Text: "100%", Percent: 100})
}

// Targets are the machines of all waves, in their order.
func (p *Plan) Targets() iter.Seq[route.Target] {
	return func(yield func(route.Target) bool) {
		for _, w := range p.Waves {
			for i := range w.Entries {
				if !yield(w.Entries[i].Target) {
					return
				}
			}
		}
	}
}

// Machines is the number of machines in all waves, without the skipped ones.
func (p *Plan) Machines() int {
	n := 0
	for i := range p.Waves {
		n += len(p.Waves[i].Entries)
	}
	return n
}

// runID is what an agent accepts as a run ID.
var runID = lazyregexp.New(`^[0-9A-Za-z-]{1,64}$`)

// validate looks for what must never reach an engine.
func (p *Plan) validate() error {
	if p.Machines() == 0 {
		return hint.Wrap(&EmptyError{Skipped: len(p.Skipped)}, p.emptyHint())
	}
	switch p.Mode {
	case agent.Fix, agent.Detect:
		if p.Undoes != "" {
			return fmt.Errorf("check plan: mode %s takes nothing back, yet names run %s", p.Mode, p.Undoes)
		}
	case agent.Undo:
		if !runID.MatchString(p.Undoes) {
			return fmt.Errorf("check plan: %q is not the ID of a run to take back", p.Undoes)
		}
	default:
		return fmt.Errorf("check plan: mode %q is neither fix, detect nor undo", p.Mode)
	}
	if err := p.Options.validate(); err != nil {
		return err
	}
	return p.unique()
}

func (p *Plan) emptyHint() string {
	if len(p.Skipped) == 0 {
		return "look at what the selector matches with `fleetmend inventory list`"
	}
	// Nobody sees the list of a plan that is refused.
	var order []string
	first, count := make(map[string]string), make(map[string]int)
	for _, s := range p.Skipped {
		if count[s.Reason]++; count[s.Reason] == 1 {
			order = append(order, s.Reason)
			first[s.Reason] = s.Name
		}
	}
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(count[b], count[a]) })
	var why []string
	for _, reason := range order[:min(len(order), 3)] {
		who := first[reason]
		if more := count[reason] - 1; more > 0 {
			who += fmt.Sprintf(" and %d more", more)
		}
		why = append(why, who+": "+reason)
	}
	if more := len(order) - len(why); more > 0 {
		why = append(why, fmt.Sprintf("%d more reasons", more))
	}
	return "left out were " + strings.Join(why, "; ")
}

func (p *Plan) unique() error {
	seen := make(map[string]string, p.Machines())
	for _, w := range p.Waves {
		for i := range w.Entries {
			e := &w.Entries[i]
			switch first, twice := seen[e.ID]; {
			case e.ID == "" || e.Route == "":
				return fmt.Errorf("check plan: machine %q has no ID or no route", e.Name)
			case twice:
				return hint.Wrap(&DuplicateError{ID: e.ID, Names: [2]string{first, e.Name}},
					"a machine in a plan twice would be changed twice; look at it with `fleetmend inventory show`")
			}
			seen[e.ID] = e.Name
		}
	}
	return nil
}

func (o *Options) validate() error {
	var wrong string
	switch {
	case o.Forks < 1:
		wrong = "forks must be at least 1"
	case o.Timeout <= 0:
		wrong = "the timeout of a machine must be more than 0"
	case o.PerSite < 0 || o.PerSubnet < 0 || o.Retries < 0 || o.SignIns < 0 || o.SignInWindow < 0:
		wrong = "limits and retries cannot be negative"
	case o.RebootWait < 0 || o.Backoff < 0 || o.Soak < 0 || o.RunTimeout < 0:
		wrong = "durations cannot be negative"
	}
	for name, l := range o.ByRoute {
		if l.Timeout < 0 || l.RebootWait < 0 || l.Forks < 0 {
			wrong = "the limits of route " + name + " cannot be negative"
		}
	}
	if wrong == "" {
		return nil
	}
	return fmt.Errorf("check plan: %s", wrong)
}

// EmptyError says that the plan has no machine to work on.
type EmptyError struct{ Skipped int }

func (e *EmptyError) Error() string {
	if e.Skipped > 0 {
		return fmt.Sprintf("the plan has no machine to work on (left out: %d)", e.Skipped)
	}
	return "the plan has no machine to work on"
}

// DuplicateError says that one inventory ID stands in the plan twice.
type DuplicateError struct {
	ID    string
	Names [2]string
}

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("machine %s is in the plan twice, as %s and as %s", e.ID, e.Names[0], e.Names[1])
}

// EditedError says that the content does not match the digest.
type EditedError struct{ Path string }

func (e *EditedError) Error() string {
	return fmt.Sprintf("plan %s was changed after it was made", name(e.Path))
}

// ExpiredError says that the plan waited too long.
type ExpiredError struct {
	Path    string
	Expired time.Time
}

func (e *ExpiredError) Error() string {
	return fmt.Sprintf("plan %s expired at %s", name(e.Path), e.Expired.Format(time.RFC3339))
}

// VersionError says that the plan was written by a program with another plan format.
type VersionError struct {
	Path    string
	Version int
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("plan %s has format version %d, this program reads version %d", name(e.Path), e.Version, Version)
}

// ChangedError says that the playbook is not the one that was planned with.
type ChangedError struct{ Playbook, Planned, Current string }

func (e *ChangedError) Error() string {
	return fmt.Sprintf("playbook %s was changed since the plan was made (planned %s, now %s)", e.Playbook, short(e.Planned), short(e.Current))
}

func short(digest string) string {
	digest = strings.TrimPrefix(digest, "sha256:")
	return digest[:min(len(digest), 12)]
}

func name(path string) string {
	if path == "" {
		return "file"
	}
	return strings.TrimPrefix(path, "."+string(os.PathSeparator))
}
