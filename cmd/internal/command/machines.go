package command

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/internal/desk/cases"
)

// IncidentFlag adds --incident to cmd, read into target. It returns cmd.
func (c *Context) IncidentFlag(cmd *cobra.Command, target *string, usage string) *cobra.Command {
	cmd.Flags().StringVar(target, "incident", "", usage)
	CompleteBy(cmd, "incident", c.Offering(cases.IDs))
	return cmd
}

// InIncident adds --incident to a command that takes a selector of machines; "" is every open one. It returns cmd.
func (c *Context) InIncident(cmd *cobra.Command, target *string) *cobra.Command {
	return c.IncidentFlag(cmd, target, "incident whose cases are meant, where several are open")
}

// ErrEmptySelector refuses a selector that is given and empty: it is the variable of a script that was never set, and would mean
// the whole fleet.
var ErrEmptySelector = errors.New("an empty selector picks nothing; all machines are \"all\"")

// selector is the value of a flag that picks machines.
type selector string

func (s *selector) String() string { return string(*s) }
func (s *selector) Type() string   { return "string" }

// Set implements pflag.Value.
func (s *selector) Set(text string) error {
	if strings.TrimSpace(text) == "" {
		return ErrEmptySelector
	}
	*s = selector(text)
	return nil
}

// SelectorFlag adds a flag that picks machines.
func (c *Context) SelectorFlag(cmd *cobra.Command, target *string, name, value, usage string) {
	*target = value
	cmd.Flags().Var((*selector)(target), name, usage)
	CompleteBy(cmd, name, Completing(c.SelectorWords))
}

// Argument is the only argument of a command, "" without one.
func Argument(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
