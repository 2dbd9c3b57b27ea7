package runscmd

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
)

// RuleFlags are the flags that say how a run goes, whatever it does.
type RuleFlags struct {
	DryRun                                                bool
	rules                                                 runs.Rules // the values; which of them are said, cobra knows
	forks, perSite, perSubnet, minSample, retries         int
	soak, backoff, machineTimeout, rebootWait, runTimeout time.Duration
}

// Add adds them to cmd.
func (r *RuleFlags) Add(cmd *cobra.Command) {
	f, d := cmd.Flags(), runs.Default()
	f.BoolVar(&r.DryRun, "dry-run", false, "only detect, change nothing (what PowerShell calls -WhatIf)")
	f.StringVar(&r.rules.Waves, "waves", d.Waves, "sizes of the waves: counts, or percentages of all reached by then; a dry run is one wave")
	f.IntVar(&r.forks, "forks", *d.Forks, "machines at once")
	f.IntVar(&r.perSite, "per-site", *d.PerSite, "machines at once in one site (0: no limit)")
	f.IntVar(&r.perSubnet, "per-subnet", *d.PerSubnet, "machines at once in one subnet (0: no limit)")
	f.StringVar(&r.rules.MaxFail, "max-fail", d.MaxFail, "gate: failed machines of a wave, a count or a percentage of the finished; none: no gate")
	f.StringVar(&r.rules.MaxUnreachable, "max-unreachable", d.MaxUnreachable, "gate: unreachable machines of a wave")
	f.IntVar(&r.minSample, "min-sample", *d.MinSample, "machines of a wave that must have finished before a percentage counts (0: none)")
	f.DurationVar(&r.soak, "soak", *d.Soak, "after each wave wait so long and verify again (0: no)")
	f.BoolVar(&r.rules.Approval, "approve", false, "ask for approval between waves")
	f.BoolVar(&r.rules.Chase, "chase", false, "keep knocking on machines that come up for seconds only")
	f.IntVar(&r.retries, "retries", *d.Retries, "further attempts where nothing has run (0: none); a silent machine is knocked at for as long as they take")
	f.DurationVar(&r.backoff, "backoff", *d.Backoff, "pause before the first further attempt, doubled each time (0: none)")
	f.DurationVar(&r.machineTimeout, "machine-timeout", *d.MachineTimeout, "time for one machine, all attempts together")
	f.DurationVar(&r.runTimeout, "run-timeout", *d.RunTimeout, "time for the whole run (0: none)")
}

// Rules are those that the command line says.
func (r *RuleFlags) Rules(cmd *cobra.Command) runs.Rules {
	out := runs.Rules{Approval: r.rules.Approval, Chase: r.rules.Chase}
	said := cmd.Flags().Changed
	for flag, text := range map[string][2]*string{
		"waves": {&out.Waves, &r.rules.Waves}, "max-fail": {&out.MaxFail, &r.rules.MaxFail}, "max-unreachable": {&out.MaxUnreachable, &r.rules.MaxUnreachable},
	} {
		if said(flag) {
			*text[0] = *text[1]
		}
	}
	for flag, count := range map[string]struct {
		to   **int
		from *int
	}{
		"forks": {&out.Forks, &r.forks}, "per-site": {&out.PerSite, &r.perSite}, "per-subnet": {&out.PerSubnet, &r.perSubnet},
		"min-sample": {&out.MinSample, &r.minSample}, "retries": {&out.Retries, &r.retries},
	} {
		if said(flag) {
			*count.to = count.from
		}
	}
	for flag, lasting := range map[string]struct {
		to   **time.Duration
		from *time.Duration
	}{
		"soak": {&out.Soak, &r.soak}, "backoff": {&out.Backoff, &r.backoff}, "machine-timeout": {&out.MachineTimeout, &r.machineTimeout},
		"reboot-wait": {&out.RebootWait, &r.rebootWait}, "run-timeout": {&out.RunTimeout, &r.runTimeout},
	} {
		if said(flag) {
			*lasting.to = lasting.from
		}
	}
	return out
}

// planFlags are the flags that say what a plan holds; plan and run share them.
type planFlags struct {
	RuleFlags
	request runs.Request
}

func (p *planFlags) add(c *command.Context, cmd *cobra.Command) {
	f, r := cmd.Flags(), &p.request
	f.StringVar(&r.On, "on", "all", "selector of the machines (see fleetmend inventory --help)")
	f.StringVar(&r.Exclude, "exclude", "", "selector of machines to leave out")
	c.IncidentFlag(cmd, &r.Incident, "incident that the outcomes belong to (default: the open one that asks the same; the first run of a cure opens one)")
	f.StringToStringVar(&r.Set, "set", nil, "name=value for a parameter of the playbook")
	f.StringVar(&r.Script, "script", "", "run this script file instead of a playbook (.ps1, .cmd or .bat)")
	f.StringVar(&r.Command, "command", "", "run this PowerShell command instead of a playbook")
	f.StringVar(&r.Reboot, "reboot", "", "never, if-fixed or always, instead of what the playbook says")
	f.DurationVar(&p.rebootWait, "reboot-wait", *runs.Default().RebootWait, "how long a restart may take (0: it is not waited for)")
	f.BoolVar(&r.Force, "force", false, "go on although lint finds errors in the playbook")
	p.RuleFlags.Add(cmd)
	command.Complete(cmd, "reboot", "never", "if-fixed", "always")
	for _, name := range []string{"on", "exclude"} {
		_ = cmd.RegisterFlagCompletionFunc(name, command.Completing(c.SelectorWords))
	}
	cmd.ValidArgsFunction = command.Playbooks
}

// asked is the request of a command line.
func (p *planFlags) asked(cmd *cobra.Command, args []string) runs.Request {
	r := p.request
	r.DryRun, r.Rules = p.DryRun, p.Rules(cmd)
	if len(args) > 0 {
		r.Playbook = args[0]
	}
	return r
}

// CarryFlags are the flags of everything that carries out a plan.
type CarryFlags struct {
	Yes          bool
	PasswordFile string
	HTML         string
	Detailed     bool
	Foreground   bool
}

// Add adds them to cmd.
func (f *CarryFlags) Add(cmd *cobra.Command) {
	set := cmd.Flags()
	set.BoolVarP(&f.Yes, "yes", "y", false, "do not ask for confirmation")
	set.StringVar(&f.PasswordFile, "password-file", "", "file with the password in its first line")
	set.StringVar(&f.HTML, "html", "", "write the report into this HTML file when the run ends")
	set.BoolVar(&f.Detailed, "detailed-exitcode", false, "exit code 10 when a dry run found affected machines")
	set.BoolVar(&f.Foreground, "foreground", false, "carry the run out in this process, which it ends with (for containers)")
	command.Exits(cmd, command.ExitSomeFailed, command.ExitAuth, command.ExitGate, command.ExitNothing, command.ExitChanges, command.ExitLocked, command.ExitTimeout, command.ExitInterrupted)
	command.Formats(cmd, Formats...)
}
