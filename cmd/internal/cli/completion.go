package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
)

func newCompletion(a *app) *cobra.Command {
	shells := map[string]func(*cobra.Command) error{
		"powershell": func(c *cobra.Command) error { return c.Root().GenPowerShellCompletionWithDesc(a.Out) },
		"bash":       func(c *cobra.Command) error { return c.Root().GenBashCompletionV2(a.Out, true) },
		"zsh":        func(c *cobra.Command) error { return c.Root().GenZshCompletion(a.Out) },
		"fish":       func(c *cobra.Command) error { return c.Root().GenFishCompletion(a.Out, true) },
	}
	return &cobra.Command{
		Use: "completion powershell|bash|zsh|fish", Short: "Print the completion script of a shell", GroupID: "rest",
		Long: `Print a script that teaches your shell to complete commands, flags, machines, playbooks and runs.

PowerShell, for this session or, in $PROFILE, for all:
  fleetmend completion powershell | Out-String | Invoke-Expression`,
		Example:   "fleetmend completion powershell | Out-String | Invoke-Expression\nsource <(fleetmend completion bash)",
		Args:      command.Exactly(1, "the name of a shell"),
		ValidArgs: []string{"powershell", "bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			generate, ok := shells[args[0]]
			if !ok {
				return command.Usage(fmt.Errorf("no completion for %q", args[0]), "there is one for powershell, bash, zsh and fish")
			}
			return generate(cmd)
		},
	}
}
