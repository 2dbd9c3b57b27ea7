package runs

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/settings"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// Request says what a plan is to hold. One of Playbook, Script and Command is given.
type Request struct {
	Playbook        string   // name of a built-in one, or a file
	Script          string   // file
	Detect          string   // file of a script that ends with 1 where Script has to run, with 0 where it has not
	Arguments       []string // of both; data, and never part of them
	Command         string   // PowerShell
	Set             map[string]string
	On              string // selector; "": all
	Exclude         string // selector; "": none
	Reboot          string // never, if-fixed or always; "": as the playbook says
	DryRun          bool
	Force           bool // although lint finds errors
	AcceptPermanent bool // although steps of it cannot be undone
	Incident        string
	TTL             time.Duration // 0: plan.DefaultTTL
	Rules

	asks bool // Incident was found by the question that the playbook asks
}

// Rules say how a run goes, whatever it does. What is nil or "" comes from the settings, else from [Default]; a 0 is a 0.
type Rules struct {
	Waves          string // "1,10,10%,100%"
	MaxFail        string // "10%", "5" or "none"
	MaxUnreachable string
	MaxDenied      string
	Forks          *int
	PerSite        *int
	PerSubnet      *int
	Retries        *int
	SignIns        *int
	Soak           *time.Duration
	Backoff        *time.Duration
	MachineTimeout *time.Duration
	RebootWait     *time.Duration
	RunTimeout     *time.Duration
	Approval       bool
	Chase          bool

	Attended bool // somebody is there to be asked, which no flag says
}

// Default are the rules where neither the request nor the settings say one.
func Default() Rules {
	of := func(n int) *int { return &n }
	lasts := func(d time.Duration) *time.Duration { return &d }
	return Rules{
		Waves: "1,10,10%,100%", MaxFail: "10%", MaxUnreachable: "none", MaxDenied: "none", Forks: of(200), PerSite: of(0), PerSubnet: of(0),
		Retries: of(3), Soak: lasts(0), Backoff: lasts(2 * time.Second), MachineTimeout: lasts(10 * time.Minute), RebootWait: lasts(15 * time.Minute),
		RunTimeout: lasts(0),
	}
}

// with fills what r does not say from the settings and from the defaults.
func (r Rules) with(s settings.Run) Rules {
	return r.or(Rules{Waves: s.Waves, MaxFail: s.MaxFail, MaxUnreachable: s.MaxUnreachable, MaxDenied: s.MaxDenied, Forks: s.Forks,
		PerSite: s.PerSite, PerSubnet: s.PerSubnet, Retries: s.Retries, SignIns: s.SignIns, Soak: s.Soak, MachineTimeout: s.Timeout}).or(Default())
}

// over changes the rules of a plan where r says so.
func (r Rules) over(o plan.Options) (plan.Options, error) {
	r.Approval, r.Chase, r.Attended = r.Approval || o.Approval, r.Chase || o.Chase, r.Attended || o.Attended
	var signIns *int
	if o.SignIns > 0 {
		signIns = &o.SignIns
	}
	rules, err := r.or(Rules{SignIns: signIns,
		MaxFail: o.MaxFail.String(), MaxUnreachable: o.MaxUnreach.String(), MaxDenied: o.MaxDenied.String(), Forks: &o.Forks, PerSite: &o.PerSite,
		PerSubnet: &o.PerSubnet, Retries: &o.Retries, Soak: &o.Soak, Backoff: &o.Backoff, MachineTimeout: &o.Timeout, RebootWait: &o.RebootWait,
		RunTimeout: &o.RunTimeout,
	}).options()
	rules.ByRoute, rules.SignInWindow = o.ByRoute, o.SignInWindow
	if r.SignIns == nil {
		rules.SignInsSaid, rules.SignInsWhy = o.SignInsSaid, o.SignInsWhy
	}
	return rules, err
}

// or fills what r does not say from d.
func (r Rules) or(d Rules) Rules {
	r.Waves = cmp.Or(r.Waves, d.Waves)
	r.MaxFail = cmp.Or(r.MaxFail, d.MaxFail)
	r.MaxUnreachable = cmp.Or(r.MaxUnreachable, d.MaxUnreachable)
	r.MaxDenied = cmp.Or(r.MaxDenied, d.MaxDenied)
	r.Forks = cmp.Or(r.Forks, d.Forks)
	r.PerSite = cmp.Or(r.PerSite, d.PerSite)
	r.PerSubnet = cmp.Or(r.PerSubnet, d.PerSubnet)
	r.Retries = cmp.Or(r.Retries, d.Retries)
	r.SignIns = cmp.Or(r.SignIns, d.SignIns)
	r.Soak = cmp.Or(r.Soak, d.Soak)
	r.Backoff = cmp.Or(r.Backoff, d.Backoff)
	r.MachineTimeout = cmp.Or(r.MachineTimeout, d.MachineTimeout)
	r.RebootWait = cmp.Or(r.RebootWait, d.RebootWait)
	r.RunTimeout = cmp.Or(r.RunTimeout, d.RunTimeout)
	return r
}

// Check says what cannot be in rules that are said, before anything is looked at.
func (r Rules) Check() error {
	_, err := r.with(settings.Run{}).options()
	return err
}

// options are the rules as a plan has them; r is complete.
func (r Rules) options() (plan.Options, error) {
	o := plan.Options{
		Forks: *r.Forks, PerSite: *r.PerSite, PerSubnet: *r.PerSubnet, Timeout: *r.MachineTimeout, RebootWait: *r.RebootWait,
		Retries: *r.Retries, Backoff: *r.Backoff, Soak: *r.Soak, Approval: r.Approval, Chase: r.Chase,
		RunTimeout: *r.RunTimeout, Attended: r.Attended,
	}
	signIns := 1
	if r.SignIns != nil {
		signIns = *r.SignIns
		o.SignIns, o.SignInsSaid = signIns, true
	}
	for _, count := range []struct {
		flag  string
		value int
		least int
	}{{"forks", o.Forks, 1}, {"per-site", o.PerSite, 0}, {"per-subnet", o.PerSubnet, 0}, {"retries", o.Retries, 0}, {"sign-ins", signIns, 1}} {
		if count.value < count.least {
			return o, hint.Mistake(fmt.Errorf("--%s is %d, and must be at least %d", count.flag, count.value, count.least), "leave it out for what is usual")
		}
	}
	for _, lasting := range []struct {
		flag  string
		value time.Duration
		least time.Duration
	}{{"soak", o.Soak, 0}, {"backoff", o.Backoff, 0}, {"machine-timeout", o.Timeout, 1}, {"reboot-wait", o.RebootWait, 0}, {"run-timeout", o.RunTimeout, 0}} {
		if lasting.value < lasting.least {
			return o, hint.Mistake(fmt.Errorf("--%s is %s, which is too little", lasting.flag, lasting.value), "leave it out for what is usual")
		}
	}
	for _, limit := range []struct {
		flag, text string
		target     *plan.Limit
	}{{"max-fail", r.MaxFail, &o.MaxFail}, {"max-unreachable", r.MaxUnreachable, &o.MaxUnreach}, {"max-denied", r.MaxDenied, &o.MaxDenied}} {
		if limit.text == "none" {
			continue
		}
		var err error
		if *limit.target, err = plan.ParseLimit(limit.text); err != nil {
			return o, hint.Mistake(fmt.Errorf("--%s: %w", limit.flag, err), "give a count like 5, a percentage like 10%%, or none")
		}
	}
	return o, nil
}

func checkReboot(text string) error {
	switch playbook.Reboot(text) {
	case "", playbook.RebootNever, playbook.RebootIfFixed, playbook.RebootAlways:
		return nil
	}
	return hint.Mistake(fmt.Errorf("--reboot %q is none of never, if-fixed, always", text), "take one of them")
}

// Args are the words of the command that asks the same, without the name of the program: `run PLAYBOOK --on ... --waves ...`. The
// command line reads them back into an equal request.
func (r Request) Args() []string {
	words := []string{"run"}
	if r.Playbook != "" {
		words = append(words, r.Playbook)
	}
	add := func(flag, value string) {
		if value != "" {
			words = append(words, "--"+flag, value)
		}
	}
	add("script", r.Script)
	add("detect", r.Detect)
	for _, argument := range r.Arguments {
		words = append(words, "--arg="+argument) // it may be empty, or begin with a dash
	}
	add("command", r.Command)
	for _, name := range slices.Sorted(maps.Keys(r.Set)) {
		add("set", commandline.Pair(name, r.Set[name]))
	}
	if r.On != "all" {
		add("on", r.On)
	}
	add("exclude", r.Exclude)
	add("incident", r.Incident)
	add("reboot", r.Reboot)
	for _, is := range []struct {
		flag string
		set  bool
	}{{"dry-run", r.DryRun}, {"force", r.Force}, {"accept-permanent", r.AcceptPermanent}} {
		if is.set {
			words = append(words, "--"+is.flag)
		}
	}
	return append(words, r.Rules.Args()...)
}

// Args are the flags of the rules that are said.
func (r Rules) Args() []string {
	var words []string
	for _, text := range []struct{ flag, value string }{{"waves", r.Waves}, {"max-fail", r.MaxFail}, {"max-unreachable", r.MaxUnreachable}, {"max-denied", r.MaxDenied}} {
		if text.value != "" {
			words = append(words, "--"+text.flag, text.value)
		}
	}
	for _, count := range []struct {
		flag  string
		value *int
	}{{"forks", r.Forks}, {"per-site", r.PerSite}, {"per-subnet", r.PerSubnet}, {"retries", r.Retries}, {"sign-ins", r.SignIns}} {
		if count.value != nil {
			words = append(words, "--"+count.flag, strconv.Itoa(*count.value))
		}
	}
	for _, lasting := range []struct {
		flag  string
		value *time.Duration
	}{{"soak", r.Soak}, {"backoff", r.Backoff}, {"machine-timeout", r.MachineTimeout}, {"reboot-wait", r.RebootWait}, {"run-timeout", r.RunTimeout}} {
		if lasting.value != nil {
			words = append(words, "--"+lasting.flag, lasting.value.String())
		}
	}
	if r.Approval {
		words = append(words, "--approve")
	}
	if r.Chase {
		words = append(words, "--chase")
	}
	return words
}
