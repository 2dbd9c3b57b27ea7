// Package program is fleetmend-pe, the program on a boot medium: its flags, its screen, and the machine that it runs on.
//
// [Run] is all of it, and returns the exit code. What it does at the machine is package pe. It touches no volume by itself, and needs
// only what every Windows PE has: kernel32, and advapi32 for registry files.
package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/media/pe"
)

// Exit codes, as those of fleetmend.
const (
	exitOK     = 0
	exitError  = 1
	exitUsage  = 2
	exitFailed = 3
)

// Process is what the program was started with.
type Process struct {
	Args       []string // without the name of the program
	In         io.Reader
	Out        io.Writer // the screen: lines end with CR LF
	SystemRoot string    // folder of the Windows PE that runs, such as X:\Windows
	Version    string
}

type roots []string

func (r *roots) String() string     { return strings.Join(*r, ", ") }
func (r *roots) Set(v string) error { *r = append(*r, v); return nil }

// say writes a line to the screen; there is nobody to tell if that fails.
func (p Process) say(format string, args ...any) {
	_, _ = fmt.Fprintf(p.Out, format+"\r\n", args...)
}

// Run repairs the machine as its arguments and the medium say, restarts it, and returns the exit code.
func Run(ctx context.Context, p Process) int {
	flags := flag.NewFlagSet("fleetmend-pe", flag.ContinueOnError)
	flags.SetOutput(p.Out)
	var given roots
	var base string
	var noReboot, showVersion bool
	flags.Var(&given, "root", "look at this folder instead of the drives of the machine, and do not restart it; may be given several times")
	flags.StringVar(&base, "base", "", "folder with settings, playbooks and drivers (default: that of the program)")
	flags.BoolVar(&noReboot, "no-reboot", false, "do not restart the machine at the end")
	flags.BoolVar(&showVersion, "version", false, "say which version this is")
	if err := flags.Parse(p.Args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	if showVersion {
		p.say("fleetmend-pe %s", p.Version)
		return exitOK
	}
	if base == "" {
		own, err := os.Executable()
		if err != nil {
			p.say("fleetmend-pe: %v", err)
			return exitError
		}
		base = filepath.Dir(own)
	}
	p.say("\r\nfleetmend repairs this machine. If it was started from a stick, please leave that in.\r\n")
	var system pe.System = machine{p.SystemRoot}
	if len(given) > 0 {
		system = prepared{machine{p.SystemRoot}, given}
	}
	result, settings, err := pe.Run(ctx, pe.Options{Base: base, System: system, In: p.In, Out: p.Out})
	if result != nil {
		p.say("")
		for _, line := range pe.Words(result, settings) {
			p.say("%s", line)
		}
	}
	if err != nil {
		p.say("\r\nfleetmend-pe: %v", err)
		for _, h := range hint.Of(err) {
			p.say("hint: %s", h)
		}
		return exitError
	}
	if result.Outcome == agent.Failed {
		p.say("\r\nThe machine stays on, so that you can look at it. wpeutil reboot restarts it.")
		return exitFailed
	}
	if noReboot || settings.NoReboot || len(given) > 0 {
		return exitOK
	}
	p.say("The machine restarts now. If there is a stick in it, take that out.")
	if err := exec.CommandContext(ctx, "wpeutil", "reboot").Run(); err != nil {
		p.say("It did not restart by itself (%v): switch it off and on.", err)
	}
	return exitOK
}

// machine is this computer; see the files per system. It implements [pe.System].
type machine struct{ systemRoot string }

// LoadDriver calls the tool of Windows PE.
func (machine) LoadDriver(ctx context.Context, inf string) error {
	if err := exec.CommandContext(ctx, "drvload", inf).Run(); err != nil {
		return fmt.Errorf("drvload: %w", err)
	}
	return nil
}

// BootEdit runs the bcdedit of Windows PE.
func (m machine) BootEdit(ctx context.Context, args ...string) ([]string, int, error) {
	bcdedit := filepath.Join(m.systemRoot, "System32", "bcdedit.exe")
	if _, err := os.Stat(bcdedit); err != nil {
		return nil, 0, errors.New("bcdedit.exe is not in this Windows PE, so the boot configuration was neither read nor changed (what was done before that stands)")
	}
	out, err := exec.CommandContext(ctx, bcdedit, args...).CombinedOutput()
	lines := strings.FieldsFunc(string(out), func(r rune) bool { return r == '\r' || r == '\n' })
	if ended := (*exec.ExitError)(nil); errors.As(err, &ended) {
		return lines, ended.ExitCode(), nil
	}
	return lines, 0, err
}

// prepared is a machine whose volumes are folders.
type prepared struct {
	machine
	folders []string
}

// Drives lists the folders.
func (p prepared) Drives() []string { return p.folders }

// LoadDriver loads nothing into a computer that is not the one to be repaired.
func (prepared) LoadDriver(context.Context, string) error {
	return errors.New("drivers are not loaded with --root")
}

// BootEdit has no boot configuration to work on.
func (prepared) BootEdit(context.Context, ...string) ([]string, int, error) {
	return nil, 0, errors.New("not possible with --root: boot configuration")
}
