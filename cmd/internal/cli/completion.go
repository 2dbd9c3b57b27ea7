package cli

import (
	"github.com/spf13/cobra"
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
