package democmd

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/internal/simfleet/ntlm"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

// SimFlags are the flags of everything that serves a simulated fleet.
type SimFlags struct {
	Machines int
	Seed     uint64
	Latency  time.Duration
	Broken   float64 // share on which the fix fails; negative: a few
	Silent   float64 // share that does not answer; negative: some
}

func (s *SimFlags) add(cmd *cobra.Command, machines int) {
	f := cmd.Flags()
	f.IntVar(&s.Machines, "machines", machines, "how many machines")
	f.Uint64Var(&s.Seed, "seed", 1, "same seed, same fleet")
	f.DurationVar(&s.Latency, "latency", 0, "time each answer takes (0: none)")
	f.Float64Var(&s.Broken, "broken", -1, "share of machines on which the fix fails (0 to 1; negative: a few)")
	f.Float64Var(&s.Silent, "unreachable", -1, "share of machines that do not answer (0 to 1; negative: some)")
}

// Options are the fleet that the flags ask for.
func (s *SimFlags) Options() (simfleet.Options, error) {
	mix, err := mixed(s.Broken, s.Silent)
	if s.Machines < 1 {
		return simfleet.Options{}, command.Usage(fmt.Errorf("--machines %d: a fleet has at least one", s.Machines), "leave it out for what is usual")
	}
	if s.Latency < 0 {
		return simfleet.Options{}, command.Usage(fmt.Errorf("--latency %s is less than nothing", s.Latency), "0 means none")
	}
	return simfleet.Options{Machines: s.Machines, Seed: s.Seed, Latency: s.Latency, Mix: &mix, AllowBasic: true}, err
}

// mixed is the default mix with the given shares of broken and unreachable machines; the others keep their proportions.
func mixed(broken, silent float64) (simfleet.Mix, error) {
	mix := simfleet.DefaultMix()
	if broken > 1 || silent > 1 || max(broken, 0)+max(silent, 0) > 1 {
		return mix, command.Usage(fmt.Errorf("the shares of broken and unreachable machines are more than all"), "give numbers from 0 to 1 that add up to 1 at most")
	}
	rest := 1.0
	if broken >= 0 {
		rest -= broken - mix.Broken
		mix.Broken = broken
	}
	if silent >= 0 {
		rest -= silent - mix.Refused - mix.BlackHole - mix.Denied
		mix.Refused, mix.BlackHole, mix.Denied = silent/2, silent/2, 0
	}
	others := []*float64{&mix.Affected, &mix.Slow, &mix.DropBefore, &mix.DropAfter, &mix.CrashLoop, &mix.Busy}
	for _, share := range others {
		*share *= max(rest, 0)
	}
	return mix, nil
}

func (s *SimFlags) fleet() (*simfleet.Fleet, error) {
	options, err := s.Options()
	if err != nil {
		return nil, err
	}
	return simfleet.New(options)
}

// NewSim makes the command sim.
func NewSim(c *command.Context) *cobra.Command {
	var s SimFlags
	var dir, powershell string
	var unencrypted, strict, plain bool
	var chunk int
	cmd := &cobra.Command{
		Use:     "sim",
		Short:   "Serve a simulated fleet for rehearsals, until Ctrl-C",
		GroupID: "start",
		Long: `Serve machines that speak real WinRM on the loopback address, each with a small Windows in memory: files, registry, services,
boot configuration, restarts. Any WinRM client can talk to them.

The folder gets fleetmend.yaml, machines.csv, ca.pem, password and ansible.ini. One JSON line on stdout says when the
fleet is ready. What the machines hold can be read at the control address in that line.

With --powershell /path/to/pwsh (PowerShell 7 on Linux or macOS) the script that came over the wire is run by that PowerShell on each machine,
in the place of a simulation of it: a second of computing for every request. The machines lie in a temporary folder meanwhile, and none
of them restarts by itself again and again.`,
		Example: `fleetmend sim --dir drill --machines 200 --seed 7
fleetmend --config drill/fleetmend.yaml inventory import drill/machines.csv
fleetmend --config drill/fleetmend.yaml run crowdstrike-channel-file-291 --waves 1,10,100% --yes
ansible -i drill/ansible.ini all -m raw -a hostname`,
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return command.Usage(fmt.Errorf("no folder to write settings and machines into"), "give one with --dir")
			}
			options, err := s.Options()
			if err != nil {
				return err
			}
			if plain {
				options.Mix = &simfleet.Mix{Affected: 0.6}
			}
			if options.PowerShell = powershell; powershell != "" { // how fast this computer is must not decide who is fixed
				options.Mix.Affected, options.Mix.CrashLoop = options.Mix.Affected+options.Mix.CrashLoop, 0
			}
			options.AllowUnencrypted, options.CBT, options.Chunk = unencrypted, ntlm.Relaxed, chunk
			if strict {
				options.CBT = ntlm.Strict
			}
			debug.SetGCPercent(50) // ten thousand machines are mostly memory
			fleet, err := simfleet.New(options)
			if err != nil {
				return command.Coded(command.ExitUsage, err)
			}
			if err := fleet.Start(cmd.Context()); err != nil {
				return err
			}
			defer fleet.Close()
			if err := fleet.Write(dir); err != nil {
				return err
			}
			if err := terminal.WriteJSONLine(c.Out, fleet.Ready(dir)); err != nil {
				return err
			}
			c.Say("%s are up; settings and machines are in %s. Ctrl-C ends it.", prose.Machines(s.Machines), dir)
			<-cmd.Context().Done()
			c.Say("the fleet is gone")
			return nil
		},
	}
	s.add(cmd, 200)
	cmd.Flags().StringVar(&dir, "dir", "", "folder to write settings and machines into")
	cmd.Flags().StringVar(&powershell, "powershell", "", "a PowerShell that runs the real agent on the machines; it must not be a Windows one")
	cmd.Flags().IntVar(&chunk, "chunk", 0, "bytes of output in one answer (0: 32 KiB)")
	cmd.Flags().BoolVar(&plain, "plain", false, "every machine answers and can be fixed: no silent, broken or moody ones")
	cmd.Flags().BoolVar(&unencrypted, "allow-unencrypted", false, "accept requests in the clear over HTTP, as no Windows does by default")
	cmd.Flags().BoolVar(&strict, "strict-channel-binding", false, "refuse NTLM over HTTPS without a channel binding token")
	return cmd
}
