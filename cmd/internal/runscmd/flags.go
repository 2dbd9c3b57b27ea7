package runscmd

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
)

// RuleFlags are the flags that say how a run goes, whatever it does. Only what the line says is in the rules.
type RuleFlags struct {
	DryRun bool
	Rules  runs.Rules
}

// setting is a flag whose target stays nil until the line says it: then the settings decide, or the usual value that the help shows.
type setting[T any] struct {
	to    **T
	usual T
	parse func(string) (T, error)
	kind  string
}

// String is the value for the help, which shows none that is zero.
func (s *setting[T]) String() string {
	if text := fmt.Sprint(s.usual); text != "0s" {
		return text
	}
	return ""
}

// Type is the kind of value for the help.
func (s *setting[T]) Type() string { return s.kind }

// Set implements pflag.Value.
func (s *setting[T]) Set(text string) error {
	value, err := s.parse(text)
	if err == nil {
		*s.to = &value
	}
	return err
}

func count(f *pflag.FlagSet, to **int, name string, usual *int, usage string) {
	number := func(text string) (int, error) { n, err := strconv.ParseInt(text, 0, 0); return int(n), err }
	f.Var(&setting[int]{to, *usual, number, "int"}, name, usage)
}

func lasting(f *pflag.FlagSet, to **time.Duration, name string, usual *time.Duration, usage string) {
	f.Var(&setting[time.Duration]{to, *usual, time.ParseDuration, "duration"}, name, usage)
}

func words(f *pflag.FlagSet, to *string, name, usual, usage string) {
	f.StringVar(to, name, "", usage)
	f.Lookup(name).DefValue = usual // for the help alone
}

// Add adds them to cmd.
func (r *RuleFlags) Add(cmd *cobra.Command) {
	f, d, to := cmd.Flags(), runs.Default(), &r.Rules
	f.BoolVar(&r.DryRun, "dry-run", false, "only detect, change nothing (what PowerShell calls -WhatIf)")
	words(f, &to.Waves, "waves", d.Waves, "sizes of the waves: counts, or percentages of all reached by then; a dry run is one wave")
	count(f, &to.Forks, "forks", d.Forks, "machines at once, once the gate bears so many")
	count(f, &to.PerSite, "per-site", d.PerSite, "machines at once in one site (0: no limit)")
	count(f, &to.PerSubnet, "per-subnet", d.PerSubnet, "machines at once in one subnet (0: no limit)")
	words(f, &to.MaxFail, "max-fail", d.MaxFail, "gate: failed machines, a count or a percentage of those that were treated; none: no gate")
	words(f, &to.MaxUnreachable, "max-unreachable", d.MaxUnreachable, "gate: unreachable machines, a count or a percentage of the finished")
	words(f, &to.MaxDenied, "max-denied", d.MaxDenied, "gate: machines that refuse us, a count or a percentage of the finished")
	f.Var(&gone{cmd: cmd, words: "a percentage is judged when enough machines stand behind it"}, "min-sample", "")
	f.Lookup("min-sample").Hidden = true
	lasting(f, &to.Soak, "soak", d.Soak, "after each wave wait so long and verify again (0: no)")
	f.BoolVar(&to.Approval, "approve", false, "ask for approval between waves")
	f.BoolVar(&to.Chase, "chase", false, "keep knocking on machines that come up for seconds only")
	count(f, &to.Retries, "retries", d.Retries, "further attempts where nothing has run (0: none); a silent machine is knocked at for as long as they take")
	signInsFlag(f, &to.SignIns)
	lasting(f, &to.Backoff, "backoff", d.Backoff, "pause before the first further attempt, doubled each time (0: none)")
	lasting(f, &to.MachineTimeout, "machine-timeout", d.MachineTimeout, "time for one machine, all attempts together")
	lasting(f, &to.RunTimeout, "run-timeout", d.RunTimeout, "time for the whole run; machines in flight have one more minute (0: none)")
}

// gone is a flag of earlier versions: it is accepted, does nothing, and says so once, where talk goes.
type gone struct {
	cmd   *cobra.Command
	words string
}

func (g *gone) Set(string) error {
	_, err := fmt.Fprintln(g.cmd.ErrOrStderr(), "--min-sample does nothing any more: "+g.words)
	return err
}
func (g *gone) String() string { return "" }
func (g *gone) Type() string   { return "number" }

func signInsFlag(f *pflag.FlagSet, to **int) {
	count(f, to, "sign-ins", new(int), "sign-ins of an account that are under way or were not accepted (default: half of what locks it, where its domain told, else 2)")
	f.Lookup("sign-ins").DefValue = ""
}

// gateFlags are those that change the gate of a run that was planned before.
func gateFlags(cmd *cobra.Command, to *runs.Rules, unsaid string) {
	f := cmd.Flags()
	f.StringVar(&to.MaxFail, "max-fail", "", "gate: failed machines, a count or a percentage of those that were treated, or none (default: "+unsaid+")")
	f.StringVar(&to.MaxUnreachable, "max-unreachable", "", "gate: unreachable machines (default: "+unsaid+")")
	f.StringVar(&to.MaxDenied, "max-denied", "", "gate: machines that refuse us (default: "+unsaid+")")
	signInsFlag(f, &to.SignIns)
}

// planFlags are the flags that say what a plan holds; plan and run share them.
type planFlags struct {
	RuleFlags
	request runs.Request
}

func (p *planFlags) add(c *command.Context, cmd *cobra.Command) {
	f, r := cmd.Flags(), &p.request
	c.SelectorFlag(cmd, &r.On, "on", "all", "selector of the machines (see fleetmend inventory --help)")
	c.SelectorFlag(cmd, &r.Exclude, "exclude", "", "selector of machines to leave out")
	c.IncidentFlag(cmd, &r.Incident, "incident that the outcomes belong to (default: the open one that asks the same; the first run of a cure opens one)")
	f.StringToStringVar(&r.Set, "set", nil, "name=value for a parameter of the playbook")
	f.StringVar(&r.Script, "script", "", "run this script file instead of a playbook (.ps1, .cmd or .bat)")
	f.StringVar(&r.Detect, "detect", "", "with --script: run this one first, which ends with 1 where --script has to run, with 0 where it has not (as in Intune)")
	f.StringArrayVar(&r.Arguments, "arg", nil, "argument of --script and --detect; may be given several times")
	f.StringVar(&r.Command, "command", "", "run this PowerShell command instead of a playbook")
	f.StringVar(&r.Reboot, "reboot", "", "never, if-fixed or always, instead of what the playbook says")
	lasting(f, &p.Rules.RebootWait, "reboot-wait", runs.Default().RebootWait, "how long a restart may take (0: it is not waited for)")
	f.BoolVar(&r.Force, "force", false, "go on although lint finds errors in the playbook")
	f.BoolVar(&r.AcceptPermanent, "accept-permanent", false, "go on although steps of the playbook cannot be undone")
	p.RuleFlags.Add(cmd)
	command.Complete(cmd, "reboot", "never", "if-fixed", "always")
	cmd.ValidArgsFunction = command.Playbooks
}

// asked is the request of a command line.
func (p *planFlags) asked(args []string) runs.Request {
	r := p.request
	r.Playbook, r.DryRun, r.Rules = command.Argument(args), p.DryRun, p.Rules
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
