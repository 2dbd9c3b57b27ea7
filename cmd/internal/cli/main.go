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

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// Main runs the command line args and returns the exit code.
func Main(args []string) int {
	ctx, stop := interruptible(context.Background())
	defer stop()
	_ = secret.NoDumps() // a system that does not let us runs us all the same
	return execute(ctx, systemStreams(), args)
}

func execute(ctx context.Context, streams Streams, args []string) int {
	app := newApp(streams)
	defer app.close()
	root := New(app)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	return app.report(err)
}

// report prints err for a person (or as JSON where JSON was asked for) and returns the exit code it stands for.
func (a *app) report(err error) int {
	if err == nil {
		return exitOK
	}
	code := exitCode(err)
	if quiet := (*silentError)(nil); errors.As(err, &quiet) {
		return code
	}
	hints := hint.Of(err)
	if a.out.format == "json" || a.jsonLines {
		line, _ := json.Marshal(map[string]any{"v": 1, "type": "error", "exit": code, "error": err.Error(), "hints": hints})
		fmt.Fprintf(a.streams.Err, "%s\n", line)
		return code
	}
	for i, line := range strings.Split(strings.TrimRight(err.Error(), "\n"), "\n") {
		if i == 0 {
			line = "fleetmend: " + line
		}
		fmt.Fprintln(a.streams.Err, line)
	}
	for _, h := range hints {
		fmt.Fprintln(a.streams.Err, "hint: "+h)
	}
	return code
}

// New makes the command tree of app.
func New(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "fleetmend",
		Short: "Bring a fleet of broken Windows machines back",
		Long: `fleetmend finds the affected Windows machines of a fleet, fixes those that still answer over WinRM in
careful waves, verifies, reports and takes back what it did.

Start with the simulated fleet, no Windows needed:
  fleetmend demo`,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
		Args: noArgs,
	}
	root.SetOut(a.streams.Out)
	root.SetErr(a.streams.Err)
	root.SetIn(a.streams.In)
	cobra.MousetrapHelpText = ""
	a.globalFlags(root)
	root.AddGroup(
		&cobra.Group{ID: "start", Title: "Start here:"},
		&cobra.Group{ID: "work", Title: "Repair:"},
		&cobra.Group{ID: "know", Title: "Know:"},
		&cobra.Group{ID: "rest", Title: "More:"},
	)
	root.AddCommand(
		newDemo(a), newSim(a), newDoctor(a),
		newInventory(a), newPlaybook(a),
		newPlan(a), newApply(a), newRun(a), newRuns(a), newMedia(a),
		newKeys(a), newAudit(a),
		newVersion(a), newExitCodes(a), newCompletion(a),
	)
	root.SetHelpCommandGroupID("rest")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(suggestFlag(cmd, err), "see %s --help", cmd.CommandPath())
	})
	styleHelp(root)
	return root
}

// noArgs refuses arguments and, on a command with children, names the nearest one.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasSubCommands() {
		return usage(fmt.Errorf("%s takes no argument, but got %q", cmd.CommandPath(), args[0]), "see %s --help", cmd.CommandPath())
	}
	var names []string
	for _, child := range cmd.Commands() {
		names = append(names, child.Name())
	}
	err := fmt.Errorf("%s knows no command %q", cmd.CommandPath(), args[0])
	if near := hint.Nearest(args[0], names); near != "" {
		return usage(err, "did you mean %s %s?", cmd.CommandPath(), near)
	}
	return usage(err, "see %s --help", cmd.CommandPath())
}

func suggestFlag(cmd *cobra.Command, err error) error {
	word, found := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !found {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *flag) { names = append(names, f.Name) })
	if near := hint.Nearest(word, names); near != "" {
		return hint.Wrapf(err, "did you mean --%s?", near)
	}
	return err
}

// exactly is cobra.ExactArgs with the words of the command's use line.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return usage(fmt.Errorf("%s needs %s, but got %d arguments", cmd.CommandPath(), what, len(args)), "see %s --help", cmd.CommandPath())
	}
}

func systemStreams() Streams {
	return Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}.detect()
}
