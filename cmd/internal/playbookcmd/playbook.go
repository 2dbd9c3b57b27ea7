// Package playbookcmd are the nouns playbook and agent of the command line: list, show, write, check and rehearse the repairs; write out what is
// run on machines.
//
// [New] and [NewAgent] make the commands. They touch no machine and no store.
package playbookcmd

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// New makes the command playbook.
func New(c *command.Context) *cobra.Command {
	cmd := &cobra.Command{
		Use: "playbook", Short: "The repairs: list, show, new, lint, test", GroupID: "work", Args: command.NoArgs,
		Long: "A playbook says in YAML how to detect a trouble, fix it and verify the cure. docs/playbooks.md explains how to write one.",
	}
	cmd.AddCommand(newList(c), newShow(c), newFile(c), newLint(c), newTest(c))
	return cmd
}

var columns = []terminal.Column[*playbook.Source]{
	terminal.Col("name", func(s *playbook.Source) string { return s.Playbook.Name }),
	terminal.Col("summary", func(s *playbook.Source) string { return s.Playbook.Summary }),
	terminal.Col("parameters", func(s *playbook.Source) string { return strings.Join(slices.Sorted(maps.Keys(s.Playbook.Params)), ",") }),
	terminal.WideCol("digest", func(s *playbook.Source) string { return s.Digest }),
}

func newList(c *command.Context) *cobra.Command {
	return command.Formats(&cobra.Command{
		Use: "list", Short: "List the built-in playbooks", Args: command.NoArgs,
		Example: "fleetmend playbook list",
		RunE:    func(*cobra.Command, []string) error { return command.List(c, playbook.Builtins(), columns) },
	}, terminal.ListFormats...)
}

func newShow(c *command.Context) *cobra.Command {
	return command.Formats(&cobra.Command{
		Use: "show PLAYBOOK", Short: "Show a playbook, and what it does in plain words",
		Example: "fleetmend playbook show crowdstrike-channel-file-291\nfleetmend playbook show ./mine.yaml -o json",
		Args:    command.Exactly(1, "a playbook"), ValidArgsFunction: command.Playbooks,
		RunE: func(_ *cobra.Command, args []string) error {
			source, err := playbook.Find(args[0])
			if err != nil {
				return err
			}
			return c.One(source.Playbook, source.Explain)
		},
	}, terminal.OneFormats...)
}

func newFile(c *command.Context) *cobra.Command {
	return &cobra.Command{
		Use: "new FILE.yaml", Short: "Write the beginnings of a playbook, with comments",
		Example: "fleetmend playbook new remove-bad-driver.yaml", Args: command.Exactly(1, "the name of the new file"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := playbook.Create(args[0]); err != nil {
				return err
			}
			c.Say("%s written; edit it, then: `%s`", args[0], commandline.Line("playbook", "lint", args[0]))
			return nil
		},
	}
}

var findingColumns = []terminal.Column[playbook.Finding]{
	terminal.Col("place", func(f playbook.Finding) string { return f.Place() }),
	terminal.Col("severity", func(f playbook.Finding) string { return string(f.Severity) }),
	terminal.Col("rule", func(f playbook.Finding) string { return f.Rule }),
	terminal.Col("finding", func(f playbook.Finding) string { return f.Text }),
}

func newLint(c *command.Context) *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use: "lint PLAYBOOK...", Short: "Find what is wrong or dangerous in playbooks",
		Example: "fleetmend playbook lint remove-bad-driver.yaml\nfleetmend playbook lint *.yaml --strict",
		Args:    command.Between(1, 10_000, "at least one playbook"), ValidArgsFunction: command.Playbooks,
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := playbook.LintAll(args)
			if err != nil {
				return err
			}
			if err := command.List(c, all, findingColumns); err != nil {
				return err
			}
			if slices.ContainsFunc(all, func(f playbook.Finding) bool { return strict || f.Severity == playbook.SeverityError }) {
				return command.Silently(command.ExitError)
			}
			c.Say("%s checked, %s", prose.Counted(len(args), "playbook", "playbooks"), prose.Counted(len(all), "remark", "remarks"))
			return nil
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "a warning is an error")
	return command.Formats(cmd, terminal.ListFormats...)
}

// NewAgent makes the command agent.
func NewAgent(c *command.Context) *cobra.Command {
	cmd := &cobra.Command{Use: "agent", Short: "What is run on machines, for allow lists and signatures", GroupID: "know", Args: command.NoArgs}
	cmd.AddCommand(&cobra.Command{
		Use: "export FOLDER", Short: "Write the agent as it travels, with its SHA-256, to sign and to allow-list it",
		Example: "fleetmend agent export ./agent", Args: command.Exactly(1, "a folder that is made for it"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := agent.ExportTo(args[0]); err != nil {
				return err
			}
			c.Say("%s: agent.ps1 has the SHA-256 %s; README.txt says how to sign and to allow-list it", args[0], agent.Digest())
			return nil
		},
	})
	return cmd
}
