package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/settings"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// planFlags are the flags that say what a plan holds; plan and run share them.
type planFlags struct {
	on, exclude    string
	set            map[string]string
	script         string
	command        string
	reboot         string
	dryRun         bool
	force          bool
	waves          string
	forks          int
	perSite        int
	perSubnet      int
	maxFail        string
	maxUnreachable string
	minSample      int
	soak           time.Duration
	approval       bool
	chase          bool
	retries        int
	backoff        time.Duration
	machineTimeout time.Duration
	rebootWait     time.Duration
	runTimeout     time.Duration
	ttl            time.Duration
}

func (p *planFlags) add(a *app, cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.on, "on", "all", "selector of the machines (see fleetmend inventory --help)")
	f.StringVar(&p.exclude, "exclude", "", "selector of machines to leave out")
	f.StringToStringVar(&p.set, "set", nil, "name=value for a parameter of the playbook")
	f.StringVar(&p.script, "script", "", "run this script file instead of a playbook (.ps1, .cmd or .bat)")
	f.StringVar(&p.command, "command", "", "run this PowerShell command instead of a playbook")
	f.StringVar(&p.reboot, "reboot", "", "never, if-fixed or always, instead of what the playbook says")
	f.DurationVar(&p.rebootWait, "reboot-wait", 15*time.Minute, "how long a restart may take")
	f.BoolVar(&p.force, "force", false, "go on although lint finds errors in the playbook")
	p.rules(cmd)
	complete(cmd, "reboot", "never", "if-fixed", "always")
	for _, name := range []string{"on", "exclude"} {
		_ = cmd.RegisterFlagCompletionFunc(name, completing(a.selectorWords))
	}
	cmd.ValidArgsFunction = playbookCompletion
}

// rules adds the flags that say how a run goes, whatever it does.
func (p *planFlags) rules(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&p.dryRun, "dry-run", false, "only detect, change nothing (what PowerShell calls -WhatIf)")
	f.StringVar(&p.waves, "waves", "1,10,10%,100%", "sizes of the waves: counts, or percentages of all reached by then")
	f.IntVar(&p.forks, "forks", 200, "machines at once")
	f.IntVar(&p.perSite, "per-site", 0, "machines at once in one site (0: no limit)")
	f.IntVar(&p.perSubnet, "per-subnet", 0, "machines at once in one subnet (0: no limit)")
	f.StringVar(&p.maxFail, "max-fail", "10%", "gate: failed machines of a wave, a count or a percentage of the finished; none: no gate")
	f.StringVar(&p.maxUnreachable, "max-unreachable", "none", "gate: unreachable machines of a wave")
	f.IntVar(&p.minSample, "min-sample", 5, "machines of a wave that must have finished before a percentage counts")
	f.DurationVar(&p.soak, "soak", 0, "after each wave wait so long and verify again")
	f.BoolVar(&p.approval, "approve", false, "ask for approval between waves")
	f.BoolVar(&p.chase, "chase", false, "keep knocking on machines that come up for seconds only")
	f.IntVar(&p.retries, "retries", 3, "further attempts where nothing has run; a silent machine is knocked at for as long as they take")
	f.DurationVar(&p.backoff, "backoff", 2*time.Second, "pause before the first further attempt, doubled each time")
	f.DurationVar(&p.machineTimeout, "machine-timeout", 10*time.Minute, "time for one machine, all attempts together")
	f.DurationVar(&p.runTimeout, "run-timeout", 0, "time for the whole run (0: none)")
}

// defaults takes from the settings what the command line does not say. A 0 there is a 0.
func (p *planFlags) defaults(cmd *cobra.Command, c settings.Run) {
	text := func(flag string, target *string, value string) {
		if value != "" && !cmd.Flags().Changed(flag) {
			*target = value
		}
	}
	text("waves", &p.waves, c.Waves)
	text("max-fail", &p.maxFail, c.MaxFail)
	text("max-unreachable", &p.maxUnreachable, c.MaxUnreachable)
	fromSettings(cmd, "forks", &p.forks, c.Forks)
	fromSettings(cmd, "per-site", &p.perSite, c.PerSite)
	fromSettings(cmd, "per-subnet", &p.perSubnet, c.PerSubnet)
	fromSettings(cmd, "retries", &p.retries, c.Retries)
	fromSettings(cmd, "soak", &p.soak, c.Soak)
	fromSettings(cmd, "machine-timeout", &p.machineTimeout, c.Timeout)
}

func fromSettings[T any](cmd *cobra.Command, flag string, target *T, value *T) {
	if value != nil && !cmd.Flags().Changed(flag) {
		*target = *value
	}
}

// source is the playbook asked for: by name or file, or one made of a script or a command.
func (p *planFlags) source(args []string) (*playbook.Source, error) {
	given := 0
	for _, is := range []bool{len(args) > 0, p.script != "", p.command != ""} {
		if is {
			given++
		}
	}
	if given != 1 {
		return nil, usage(errorf("give one of: a playbook, --script or --command"), "fleetmend playbook list shows the built-in ones")
	}
	switch {
	case p.command != "":
		return playbook.FromCommand(p.command)
	case p.script != "":
		body, err := textfile.Bytes(p.script, 16<<20)
		if err != nil {
			return nil, fmt.Errorf("read the script: %w", err)
		}
		return playbook.FromScriptFile(p.script, body)
	}
	return playbook.Find(args[0])
}

// playbookFile is the absolute path of the playbook named, empty for a built-in one.
func playbookFile(args []string) string {
	if len(args) == 0 || !playbook.IsPath(args[0]) {
		return ""
	}
	path, err := filepath.Abs(args[0])
	if err != nil {
		return args[0]
	}
	return path
}

// checked refuses a playbook in which lint finds errors, and says its warnings.
func (a *app) checked(source *playbook.Source, bound playbook.Playbook, force bool) error {
	worst := 0
	for _, finding := range playbook.LintBound(source, bound) {
		if finding.Severity == playbook.SeverityError {
			worst++
		}
		a.say("%s", finding)
	}
	if worst > 0 && !force {
		return hint.Wrap(errorf("%s: lint finds %s", source.File, counted(worst, "error", "errors")), "mend the playbook, or add --force if you know better")
	}
	return nil
}

// freeze makes the plan that the flags ask for.
func (a *app) freeze(cmd *cobra.Command, p *planFlags, args []string) (*plan.Plan, error) {
	c, err := a.config()
	if err != nil {
		return nil, err
	}
	p.defaults(cmd, c.Run)
	source, err := p.source(args)
	if err != nil {
		return nil, err
	}
	bound, err := source.Bind(p.set)
	if err != nil {
		return nil, coded(exitUsage, err)
	}
	if err := a.checked(source, bound, p.force); err != nil {
		return nil, err
	}
	if p.reboot != "" {
		bound.Reboot = playbook.Reboot(p.reboot)
	}
	machines, err := a.selectMachines(cmd, p.on)
	if err != nil {
		return nil, err
	}
	excluded, err := a.excluded(cmd, p.exclude)
	if err != nil {
		return nil, err
	}
	entries, skipped := split(machines, excluded)
	return p.frozen(entries, skipped, plan.Source{Playbook: bound, File: playbookFile(args), Digest: source.Digest, Parameters: p.set})
}

// frozen makes a plan for machines by the rules of the flags.
func (p *planFlags) frozen(entries []plan.Entry, skipped []plan.Skip, source plan.Source) (*plan.Plan, error) {
	options, err := p.options()
	if err != nil {
		return nil, err
	}
	sizes, err := plan.ParseWaves(p.waves)
	if err != nil {
		return nil, coded(exitUsage, fmt.Errorf("--waves: %w", err))
	}
	mode := agent.Fix
	if p.dryRun {
		mode = agent.Detect
	}
	return plan.New(plan.Input{
		Entries: entries, Skipped: skipped, Source: source, Mode: mode, Waves: sizes, Options: options,
		Operator: operator(), Selector: p.on, Now: time.Now(), TTL: p.ttl,
	})
}

func (p *planFlags) options() (plan.Options, error) {
	o := plan.Options{
		Forks: p.forks, PerSite: p.perSite, PerSubnet: p.perSubnet, Timeout: p.machineTimeout, RebootWait: p.rebootWait,
		Retries: p.retries, Backoff: p.backoff, Soak: p.soak, Approval: p.approval, Chase: p.chase, MinSample: p.minSample,
		RunTimeout: p.runTimeout,
	}
	switch playbook.Reboot(p.reboot) {
	case "", playbook.RebootNever, playbook.RebootIfFixed, playbook.RebootAlways:
	default:
		return o, usage(errorf("--reboot %q is none of never, if-fixed, always", p.reboot), "take one of them")
	}
	for _, limit := range []struct {
		flag, text string
		target     *plan.Limit
	}{{"max-fail", p.maxFail, &o.MaxFail}, {"max-unreachable", p.maxUnreachable, &o.MaxUnreach}} {
		if limit.text == "none" {
			continue
		}
		var err error
		if *limit.target, err = plan.ParseLimit(limit.text); err != nil {
			return o, usage(fmt.Errorf("--%s: %w", limit.flag, err), "give a count like 5, a percentage like 10%%, or none")
		}
	}
	return o, nil
}

func (a *app) excluded(cmd *cobra.Command, selector string) (map[string]bool, error) {
	if selector == "" {
		return nil, nil
	}
	machines, err := a.selectMachines(cmd, selector)
	if err != nil && exitCode(err) != exitNothing {
		return nil, err
	}
	ids := map[string]bool{}
	for _, m := range machines {
		ids[m.ID] = true
	}
	return ids, nil
}

// split sorts machines into those with a route and those that are left out, each with its reason.
func split(machines []inventory.Machine, excluded map[string]bool) (entries []plan.Entry, skipped []plan.Skip) {
	for _, m := range machines {
		switch {
		case excluded[m.ID]:
			skipped = append(skipped, plan.Skip{ID: m.ID, Name: m.Name, Reason: "excluded by --exclude"})
		case !m.Enabled:
			skipped = append(skipped, plan.Skip{ID: m.ID, Name: m.Name, Reason: "disabled in its directory"})
		default:
			entries = append(entries, plan.Entry{Target: target(m), Route: "winrm", Reason: routeReason(m)})
		}
	}
	return entries, skipped
}

func target(m inventory.Machine) route.Target {
	address := m.Address
	if address == "" {
		address = m.FQDN
	}
	if address == "" {
		address = m.Name
	}
	priority := m.Priority
	for _, tag := range m.Tags {
		if tag == "canary" {
			priority -= 1000
		}
	}
	return route.Target{ID: m.ID, Name: m.Name, Address: address, Site: m.Site, Subnet: m.Subnet, Class: string(m.Class), Priority: priority}
}

func routeReason(m inventory.Machine) string {
	switch {
	case m.Probe == nil:
		return "not probed; WinRM is tried"
	case m.Probe.WinRM:
		return "answered WinRM when probed"
	}
	return "was silent when probed; WinRM is tried all the same"
}

func newPlan(a *app) *cobra.Command {
	var p planFlags
	var file string
	var detailed bool
	cmd := &cobra.Command{
		Use:     "plan PLAYBOOK",
		Short:   "Freeze what a run would do into a file, to look at and to apply later",
		GroupID: "work",
		Example: `fleetmend plan crowdstrike-channel-file-291 --on 'site == "LON"' --out london.plan
fleetmend plan disable-service --set service=BadAgent --waves 1,10,100% --max-fail 5% --out off.plan
fleetmend apply london.plan`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			frozen, err := a.freeze(cmd, &p, args)
			if err != nil {
				return err
			}
			if file != "" {
				if err := frozen.Save(file); err != nil {
					return err
				}
				a.say("plan written to %s, good until %s; next: fleetmend apply %s", file, frozen.Expires.Local().Format("2006-01-02 15:04"), file)
			}
			if err := one(a.out, a.streams.Out, frozen, func(w io.Writer) error { return showPlan(w, frozen, a.streams.Width) }); err != nil {
				return err
			}
			if detailed {
				return silently(exitChanges)
			}
			return nil
		},
	}
	p.add(a, cmd)
	cmd.Flags().StringVar(&file, "out", "", "write the plan into this file")
	cmd.Flags().DurationVar(&p.ttl, "ttl", 24*time.Hour, "how long the plan may be applied")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit code 10 when the plan has machines")
	exits(cmd, exitNothing, exitChanges)
	return cmd
}

// showPlan says in plain words what will happen.
func showPlan(w io.Writer, p *plan.Plan, width int) error {
	total := 0
	for _, wave := range p.Waves {
		total += len(wave.Entries)
	}
	verb := map[agent.Mode]string{agent.Fix: "fix", agent.Detect: "look only, nothing is changed", agent.Undo: "take back what run " + p.Undoes + " changed"}[p.Mode]
	fmt.Fprintf(w, "%s on %s: %s\n", p.Playbook.Name, machinesText(total), verb)
	if p.Mode == agent.Fix {
		for _, line := range playbook.Describe(p.Playbook) {
			fmt.Fprintln(w, wrapped("  "+oneLine(line), width))
		}
	}
	if n := p.Playbook.WithoutUndo(); p.Mode == agent.Undo && n > 0 {
		fmt.Fprintf(w, "not taken back: what %s without undo did\n", counted(n, "script", "scripts"))
	}
	for i, wave := range p.Waves {
		line := fmt.Sprintf("wave %d (%s): %s: %s", i+1, wave.Name, machinesText(len(wave.Entries)), oneLine(names(wave.Entries)))
		fmt.Fprintln(w, strings.ReplaceAll(wrapped(line, width-2), "\n", "\n  "))
	}
	for i, s := range p.Skipped {
		if i == 10 {
			fmt.Fprintf(w, "left out: and %d more; -o json lists all\n", len(p.Skipped)-i)
			break
		}
		fmt.Fprintf(w, "left out: %s, %s\n", oneLine(s.Name), oneLine(s.Reason))
	}
	_, err := fmt.Fprintf(w, "gate: %s; %d at once\n", gateText(p.Options), p.Options.Forks)
	return err
}

func names(entries []plan.Entry) string {
	const shown = 6
	var list []string
	for i, e := range entries {
		if i == shown {
			return strings.Join(list, ", ") + ", ..."
		}
		list = append(list, e.Name)
	}
	return strings.Join(list, ", ")
}

func gateText(o plan.Options) string {
	if !o.MaxFail.Set && !o.MaxUnreach.Set {
		return "none"
	}
	var parts []string
	if o.MaxFail.Set {
		parts = append(parts, "at most "+o.MaxFail.String()+" may fail")
	}
	if o.MaxUnreach.Set {
		parts = append(parts, "at most "+o.MaxUnreach.String()+" may be unreachable")
	}
	return "in each wave " + strings.Join(parts, ", ")
}
