// Command fleetmend-pe runs on a machine that was started from a fleetmend boot medium. It repairs the Windows on the
// machine's disks with the playbooks of the medium, leaves a result there and restarts the machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
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

// version is set by the build.
var version = "dev"

type roots []string

func (r *roots) String() string     { return strings.Join(*r, ", ") }
func (r *roots) Set(v string) error { *r = append(*r, v); return nil }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) int {
	flags := flag.NewFlagSet("fleetmend-pe", flag.ContinueOnError)
	flags.SetOutput(out)
	var given roots
	var base string
	var noReboot, showVersion bool
	flags.Var(&given, "root", "look at this folder instead of the drives of the machine, and do not restart it; may be given several times")
	flags.StringVar(&base, "base", "", "folder with settings, playbooks and drivers (default: that of the program)")
	flags.BoolVar(&noReboot, "no-reboot", false, "do not restart the machine at the end")
	flags.BoolVar(&showVersion, "version", false, "say which version this is")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	if showVersion {
		fmt.Fprintf(out, "fleetmend-pe %s\r\n", version)
		return exitOK
	}
	if base == "" {
		program, err := os.Executable()
		if err != nil {
			fmt.Fprintf(out, "fleetmend-pe: %v\r\n", err)
			return exitError
		}
		base = filepath.Dir(program)
	}
	fmt.Fprintf(out, "\r\nfleetmend repairs this machine. If it was started from a stick, please leave that in.\r\n\r\n")
	var system pe.System = machine{}
	if len(given) > 0 {
		system = prepared{machine{}, given}
	}
	result, settings, err := pe.Run(ctx, pe.Options{Base: base, System: system, In: in, Out: out})
	if result != nil {
		fmt.Fprintf(out, "\r\n")
		for _, line := range pe.Words(result, settings) {
			fmt.Fprintf(out, "%s\r\n", line)
		}
	}
	if err != nil {
		fmt.Fprintf(out, "\r\nfleetmend-pe: %v\r\n", err)
		for _, h := range hint.Of(err) {
			fmt.Fprintf(out, "hint: %s\r\n", h)
		}
		return exitError
	}
	if result.Outcome == agent.Failed {
		fmt.Fprintf(out, "\r\nThe machine stays on, so that you can look at it. wpeutil reboot restarts it.\r\n")
		return exitFailed
	}
	if noReboot || settings.NoReboot || len(given) > 0 {
		return exitOK
	}
	fmt.Fprintf(out, "The machine restarts now. If there is a stick in it, take that out.\r\n")
	if err := exec.CommandContext(ctx, "wpeutil", "reboot").Run(); err != nil {
		fmt.Fprintf(out, "It did not restart by itself (%v): switch it off and on.\r\n", err)
	}
	return exitOK
}

// machine is this computer; see the files per system.
type machine struct{}

// LoadDriver calls the tool of Windows PE.
func (machine) LoadDriver(ctx context.Context, inf string) error {
	if err := exec.CommandContext(ctx, "drvload", inf).Run(); err != nil {
		return fmt.Errorf("drvload: %w", err)
	}
	return nil
}

// BootEdit runs the bcdedit of Windows PE.
func (machine) BootEdit(ctx context.Context, args ...string) ([]string, int, error) {
	program := filepath.Join(os.Getenv("SystemRoot"), "System32", "bcdedit.exe")
	if _, err := os.Stat(program); err != nil {
		return nil, 0, errors.New("bcdedit.exe is not in this Windows PE, so the boot configuration was neither read nor changed (what was done before that stands)")
	}
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
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
