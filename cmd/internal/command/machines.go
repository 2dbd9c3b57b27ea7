package command

import (
	"github.com/spf13/cobra"
)

// IncidentFlag adds --incident to cmd, read into target. It returns cmd.
func (c *Context) IncidentFlag(cmd *cobra.Command, target *string, usage string) *cobra.Command {
	cmd.Flags().StringVar(target, "incident", "", usage)
	CompleteBy(cmd, "incident", Completing(c.IncidentWords))
	return cmd
}

// InIncident adds --incident to a command that takes a selector of machines; "" is every open one. It returns cmd.
func (c *Context) InIncident(cmd *cobra.Command, target *string) *cobra.Command {
	return c.IncidentFlag(cmd, target, "incident whose cases are meant, where several are open")
}

// SelectorFlag adds a flag that picks machines.
func (c *Context) SelectorFlag(cmd *cobra.Command, target *string, name, value, usage string) {
	cmd.Flags().StringVar(target, name, value, usage)
	CompleteBy(cmd, name, Completing(c.SelectorWords))
}

// Argument is the only argument of a command, "" without one.
func Argument(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
