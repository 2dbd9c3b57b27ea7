// Package cli is fleetmend's command line: one file per noun. It is the only place that prints, reads flags and files of
// settings, and turns errors into exit codes.
//
// [Main] runs one command line and returns its exit code; [New] makes the command tree for tests and documentation. What
// goes to stdout is data, what goes to stderr is talk. The package holds no logic of repairs: it wires the services and
// shows what they say.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/auditcmd"
	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/cmd/internal/democmd"
	"github.com/fleetmend/fleetmend/cmd/internal/doctorcmd"
	"github.com/fleetmend/fleetmend/cmd/internal/incidentcmd"
	"github.com/fleetmend/fleetmend/cmd/internal/inventorycmd"
	"github.com/fleetmend/fleetmend/cmd/internal/keyscmd"
	"github.com/fleetmend/fleetmend/cmd/internal/mediacmd"
	"github.com/fleetmend/fleetmend/cmd/internal/playbookcmd"
	"github.com/fleetmend/fleetmend/cmd/internal/runscmd"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

// app is what one command line works with.
type app struct{ *command.Context }

func newApp(streams terminal.Streams) *app { return &app{command.NewContext(streams, version)} }

// runs are the commands around runs, with what a rotation leaves to vault and audit.
func (a *app) runs() *runscmd.Commands {
	return &runscmd.Commands{Context: a.Context, Ended: keyscmd.Ended}
}

// Main runs the command line args and returns the exit code.
func Main(args []string) int {
	ctx, stop := terminal.Interruptible(context.Background())
	defer stop()
	_ = secret.NoDumps() // a system that does not let us runs us all the same
	app := newApp(terminal.Of(os.Stdin, os.Stdout, os.Stderr))
	if self, err := os.Executable(); err == nil {
		app.Runner = []string{self, runscmd.RunnerCommand}
	}
	return app.execute(ctx, args)
}

func execute(ctx context.Context, streams terminal.Streams, args []string) int {
	return newApp(streams).execute(ctx, args)
}

func (a *app) execute(ctx context.Context, args []string) int {
	defer a.Close()
	root := New(a)
	root.SetArgs(args)
	return a.report(a.InTime(command.AsUsage(root.ExecuteContext(command.WithLine(ctx, args)))))
}

// report prints err for a person (or as JSON where JSON was asked for) and returns the exit code it stands for.
func (a *app) report(err error) int {
	if err == nil {
		return command.ExitOK
	}
	code := command.ExitCode(err)
	switch {
	case a.ReaderGone(err):
		return command.ExitPipe
	case command.Silent(err):
		return code
	}
	hints, program := hint.Of(err), a.Program()
	if gone, ok := errors.AsType[*runs.GoneError](err); ok { // what comes next is done where the copy lies
		program = program.At(gone.Folder)
	}
	for i := range hints {
		hints[i] = program.In(hints[i])
	}
	if a.Output.Format == terminal.JSON || a.JSONLines {
		line, _ := json.Marshal(map[string]any{"v": 1, "type": "error", "exit": code, "error": plain(err), "hints": hints})
		fmt.Fprintf(a.Err, "%s\n", line)
		return code
	}
	for i, line := range strings.Split(strings.TrimRight(prose.Clean(plain(err)), "\n"), "\n") {
		if i == 0 {
			line = "fleetmend: " + line
		}
		fmt.Fprintln(a.Err, line)
	}
	for _, h := range hints {
		fmt.Fprintln(a.Err, "hint: "+prose.OneLine(h))
	}
	return code
}

// plain is what err says, with the words of people for those of contexts.
func plain(err error) string {
	return strings.NewReplacer(context.Canceled.Error(), "interrupted", context.DeadlineExceeded.Error(), "out of time").Replace(err.Error())
}

// New makes the command tree of app.
func New(a *app) *cobra.Command {
	root := &cobra.Command{
		Use: "fleetmend", Short: "Bring a fleet of broken Windows machines back",
		Long: `fleetmend finds the affected Windows machines of a fleet, fixes those that still answer over WinRM in
careful waves, verifies, reports and takes back what it did.

Start with the simulated fleet, no Windows needed:
  fleetmend demo`,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
		Args: command.NoArgs,
	}
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetIn(a.In)
	cobra.MousetrapHelpText = ""
	a.GlobalFlags(root)
	root.AddGroup(
		&cobra.Group{ID: "start", Title: "Start here:"},
		&cobra.Group{ID: "work", Title: "Repair:"},
		&cobra.Group{ID: "know", Title: "Know:"},
		&cobra.Group{ID: "rest", Title: "More:"},
	)
	root.AddCommand(
		democmd.New(a.runs()), democmd.NewSim(a.Context), doctorcmd.New(a.Context),
		inventorycmd.New(a.Context), playbookcmd.New(a.Context), playbookcmd.NewAgent(a.Context),
		mediacmd.New(a.Context),
		keyscmd.New(a.Context), auditcmd.New(a.Context),
		newVersion(a), newExitCodes(), newCompletion(a),
	)
	root.AddCommand(runscmd.New(a.runs())...)
	root.AddCommand(incidentcmd.New(a.Context))
	root.SetHelpCommandGroupID("rest")
	root.SetFlagErrorFunc(command.SuggestFlag)
	command.StyleHelp(root)
	command.Once(root)
	return root
}

func newExitCodes() *cobra.Command {
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: command.ExitCodes(), Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
}
