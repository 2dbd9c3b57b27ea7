package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

func newCompletion(a *app) *cobra.Command {
	shells := map[string]func(*cobra.Command) error{
		"powershell": func(c *cobra.Command) error { return c.Root().GenPowerShellCompletionWithDesc(a.streams.Out) },
		"bash":       func(c *cobra.Command) error { return c.Root().GenBashCompletionV2(a.streams.Out, true) },
		"zsh":        func(c *cobra.Command) error { return c.Root().GenZshCompletion(a.streams.Out) },
		"fish":       func(c *cobra.Command) error { return c.Root().GenFishCompletion(a.streams.Out, true) },
	}
	return &cobra.Command{
		Use:     "completion powershell|bash|zsh|fish",
		Short:   "Print the completion script of a shell",
		GroupID: "rest",
		Long: `Print a script that teaches your shell to complete commands, flags, machines, playbooks and runs.

PowerShell, for this session or, in $PROFILE, for all:
  fleetmend completion powershell | Out-String | Invoke-Expression`,
		Example:   "fleetmend completion powershell | Out-String | Invoke-Expression\nsource <(fleetmend completion bash)",
		Args:      exactly(1, "the name of a shell"),
		ValidArgs: []string{"powershell", "bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			generate, ok := shells[args[0]]
			if !ok {
				return usage(errorf("no completion for %q", args[0]), "there is one for powershell, bash, zsh and fish")
			}
			return generate(cmd)
		},
	}
}

func (a *app) machineNames(ctx context.Context, _ string) ([]string, error) {
	store, err := a.openStore(ctx)
	if err != nil {
		return nil, err
	}
	all, err := inventory.ParseSelector("all", nil)
	if err != nil {
		return nil, err
	}
	machines, err := store.Select(ctx, all)
	names := make([]string, 0, len(machines))
	for _, m := range machines {
		names = append(names, m.Name)
	}
	return names, err
}

// selectorWords completes a selector: the beginnings of the other forms, then machine names after the last comma.
func (a *app) selectorWords(ctx context.Context, prefix string) ([]string, error) {
	names, err := a.machineNames(ctx, prefix)
	if i := strings.LastIndexByte(prefix, ','); i >= 0 {
		for j, name := range names {
			names[j] = prefix[:i+1] + name
		}
		return names, err
	}
	for _, field := range inventory.Fields() {
		names = append(names, field.Name)
	}
	return append(names, "all", "@", "tag:", "group:"), err
}

func (a *app) runIDs(ctx context.Context, _ string) ([]string, error) {
	j, err := a.openJournal(ctx)
	if err != nil {
		return nil, err
	}
	runs, err := j.Runs(ctx)
	ids := make([]string, 0, len(runs))
	for _, r := range runs {
		ids = append(ids, r.ID+"\t"+r.Playbook+", "+string(r.Status))
	}
	return ids, err
}

func playbookNames(context.Context, string) ([]string, error) {
	var names []string
	for _, p := range playbook.Builtins() {
		names = append(names, p.Playbook.Name+"\t"+p.Playbook.Summary)
	}
	return names, nil
}

// playbookCompletion offers the built-in ones and leaves files to the shell.
func playbookCompletion(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	words, _ := first(completing(playbookNames))(cmd, args, prefix)
	return words, cobra.ShellCompDirectiveDefault
}
