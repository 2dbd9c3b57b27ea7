package cli

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

func newPlaybook(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "playbook", Short: "The repairs: list, show, write, check", GroupID: "work", Args: noArgs,
		Long: "A playbook says in YAML how to detect a trouble, fix it and verify the cure. docs/playbooks.md explains how to write one.",
	}
	cmd.AddCommand(newPlaybookList(a), newPlaybookShow(a), newPlaybookNew(a), newPlaybookLint(a), newPlaybookTest(a))
	return cmd
}

func newPlaybookList(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the built-in playbooks", Args: noArgs,
		Example: "fleetmend playbook list",
		RunE: func(*cobra.Command, []string) error {
			return list(a.out, a.streams.Out, playbook.Builtins(), []column[*playbook.Source]{
				{"name", false, func(s *playbook.Source) string { return s.Playbook.Name }},
				{"summary", false, func(s *playbook.Source) string { return s.Playbook.Summary }},
				{"parameters", false, func(s *playbook.Source) string { return strings.Join(paramNames(s.Playbook), ",") }},
				{"digest", true, func(s *playbook.Source) string { return s.Digest }},
			})
		},
	}
}

func paramNames(p playbook.Playbook) []string {
	return slices.Sorted(maps.Keys(p.Params))
}

func newPlaybookShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "show PLAYBOOK", Short: "Show a playbook, and what it does in plain words",
		Example:           "fleetmend playbook show crowdstrike-channel-file-291\nfleetmend playbook show ./mine.yaml -o json",
		Args:              exactly(1, "a playbook"),
		ValidArgsFunction: playbookCompletion,
		RunE: func(_ *cobra.Command, args []string) error {
			source, err := playbook.Find(args[0])
			if err != nil {
				return err
			}
			return one(a.out, a.streams.Out, source.Playbook, func(w io.Writer) error {
				for _, line := range playbook.Describe(source.Playbook) {
					fmt.Fprintln(w, "# "+line)
				}
				text, err := source.Render()
				if err == nil {
					_, err = w.Write(text)
				}
				return err
			})
		},
	}
}

func newPlaybookNew(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "new FILE.yaml", Short: "Write the beginnings of a playbook, with comments",
		Example: "fleetmend playbook new remove-bad-driver.yaml",
		Args:    exactly(1, "the name of the new file"),
		RunE: func(_ *cobra.Command, args []string) error {
			name := strings.TrimSuffix(strings.TrimSuffix(lastPart(args[0]), ".yaml"), ".yml")
			file, err := os.OpenFile(args[0], os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
			if os.IsExist(err) {
				return hint.Wrap(errorf("%s is there already", args[0]), "choose another name; nothing is overwritten")
			}
			if err != nil {
				return err
			}
			if _, err = file.Write(playbook.Template(name)); err == nil {
				err = file.Close()
			}
			if err != nil {
				return fmt.Errorf("write %s: %w", args[0], err)
			}
			a.say("%s written; edit it, then: fleetmend playbook lint %s", args[0], args[0])
			return nil
		},
	}
}

func lastPart(path string) string {
	if i := strings.LastIndexAny(path, `/\`); i >= 0 {
		return path[i+1:]
	}
	return path
}

func newPlaybookLint(a *app) *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use: "lint PLAYBOOK...", Short: "Find what is wrong or dangerous in playbooks",
		Example:           "fleetmend playbook lint remove-bad-driver.yaml\nfleetmend playbook lint *.yaml --strict",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: playbookCompletion,
		RunE: func(_ *cobra.Command, args []string) error {
			var all []playbook.Finding
			bad := 0
			for _, arg := range args {
				source, err := playbook.Find(arg)
				if err != nil {
					return err
				}
				findings := playbook.Lint(source)
				for _, f := range findings {
					if strict || f.Severity == playbook.SeverityError {
						bad++
					}
				}
				all = append(all, findings...)
			}
			err := list(a.out, a.streams.Out, all, []column[playbook.Finding]{
				{"place", false, func(f playbook.Finding) string { return f.Place() }},
				{"severity", false, func(f playbook.Finding) string { return string(f.Severity) }},
				{"rule", false, func(f playbook.Finding) string { return f.Rule }},
				{"finding", false, func(f playbook.Finding) string { return f.Text }},
			})
			if err != nil {
				return err
			}
			if bad > 0 {
				return silently(exitError)
			}
			a.say("%s checked, %s", counted(len(args), "playbook", "playbooks"), counted(len(all), "remark", "remarks"))
			return nil
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "a warning is an error")
	return cmd
}
