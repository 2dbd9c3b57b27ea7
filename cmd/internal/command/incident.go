package command

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/internal/desk/cases"
)

const incidentFlag = "incident"

// IncidentFlag adds --incident to cmd, read into target.
func IncidentFlag(c *Context, cmd *cobra.Command, target *string, usage string) {
	cmd.Flags().StringVar(target, incidentFlag, "", usage)
	_ = cmd.RegisterFlagCompletionFunc(incidentFlag, Completing(c.IncidentWords))
}

// InIncident adds --incident to a command that takes a selector of machines, for [Incident]. It returns cmd.
func InIncident(c *Context, cmd *cobra.Command) *cobra.Command {
	var unread string
	IncidentFlag(c, cmd, &unread, "incident whose cases are meant, where several are open")
	return cmd
}

// Incident is what --incident of the command says; "" for every open one.
func Incident(cmd *cobra.Command) string {
	if f := cmd.Flags().Lookup(incidentFlag); f != nil {
		return f.Value.String()
	}
	return ""
}

// IncidentWords are the IDs of all incidents, for completion.
func (c *Context) IncidentWords(ctx context.Context, _ string) ([]string, error) {
	d, err := c.Desk()
	if err != nil {
		return nil, err
	}
	all, err := cases.Incidents(ctx, d)
	words := make([]string, 0, len(all))
	for _, i := range all {
		words = append(words, i.ID)
	}
	return words, err
}
