package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/cmd/internal/keyscmd"
	"github.com/fleetmend/fleetmend/cmd/internal/runscmd"
	"github.com/fleetmend/fleetmend/cmd/internal/terminal"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/media/usb"
	"github.com/fleetmend/fleetmend/remediate/report"
)

// This file holds the names under which the nouns that still live in this package know what command, terminal and desk have.
// A noun that moves into a package of its own takes its use of them along; the file goes with the last one.

type (
	output = terminal.Output
)

const (
	exitOK          = command.ExitOK
	exitError       = command.ExitError
	exitUsage       = command.ExitUsage
	exitSomeFailed  = command.ExitSomeFailed
	exitAuth        = command.ExitAuth
	exitGate        = command.ExitGate
	exitNothing     = command.ExitNothing
	exitChanges     = command.ExitChanges
	exitLocked      = command.ExitLocked
	exitTimeout     = command.ExitTimeout
	exitInterrupted = command.ExitInterrupted
)

var (
	errorf   = fmt.Errorf
	silently = command.Silently
	coded    = command.Coded
	usage    = command.Usage
	exitCode = command.ExitCode
	exits    = command.Exits
	exactly  = command.Exactly
	noArgs   = command.NoArgs

	itoa          = terminal.Itoa
	counted       = terminal.Counted
	machinesText  = terminal.Machines
	span          = terminal.Span
	wrapped       = terminal.Wrapped
	writeJSONLine = terminal.WriteJSONLine
	runCode       = runscmd.Code
	gateText      = runscmd.GateText
)

func one(o output, w io.Writer, value any, text func(io.Writer) error) error {
	return terminal.One(o, w, value, text)
}

// app is the context of the commands of this package.
type app struct {
	*command.Context

	streams   terminal.Streams
	out       output
	jsonLines bool
	quiet     bool
	noColor   bool
	logger    *slog.Logger
	usb       usb.System
	closers   closers
}

// closers gives what is to be closed to the context.
type closers struct{ *command.Context }

func newApp(streams terminal.Streams) *app {
	a := &app{Context: command.NewContext(streams, version), streams: streams}
	a.closers = closers{a.Context}
	return a
}

// prepared takes over what the global flags say.
func (a *app) prepared(cmd *cobra.Command) {
	before := cmd.PersistentPreRunE
	cmd.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
		if a.usb != nil {
			a.Disks = a.usb
		}
		err := before(cmd, args)
		a.out, a.jsonLines, a.quiet, a.noColor, a.logger, a.streams = a.Output, a.JSONLines, a.Quiet, a.NoColor, a.Logger, a.Streams
		return err
	}
}

func (a *app) close()                         { a.Close() }
func (a *app) canAsk() bool                   { return a.CanAsk() }
func (a *app) say(format string, args ...any) { a.Say(format, args...) }

// runs are the commands around runs, with what a rotation leaves to vault and audit.
func (a *app) runs() *runscmd.Commands {
	return &runscmd.Commands{Context: a.Context, Ended: keyscmd.Ended}
}

func buildReport(ctx context.Context, a *app, id string) (*journal.Run, *report.Report, error) {
	d, err := a.Desk()
	if err != nil {
		return nil, nil, err
	}
	return runs.Report(ctx, d, id)
}

// anyFormat lets the commands of this package, which do not say yet which formats they have, take every -o.
func anyFormat(cmd *cobra.Command) {
	if moved := []string{"apply", "completion", "doctor", "exit-codes", "version", "inventory", "playbook", "plan", "run", "runs", "keys", "audit", "incident", "media"}; cmd.Parent() != nil && cmd.Parent().Parent() == nil && slices.Contains(moved, cmd.Name()) {
		return
	}
	if cmd.Annotations["formats"] == "" {
		command.Formats(cmd, terminal.Formats...)
	}
	cmd.Annotations["legacy"] = "yes"
	for _, child := range cmd.Commands() {
		anyFormat(child)
	}
}
