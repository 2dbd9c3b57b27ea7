package command

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/keys"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// offered are the words that the desk gives for a completion.
func (c *Context) offered(ctx context.Context, give func(context.Context, *desk.Desk) ([]string, error)) ([]string, error) {
	d, err := c.Desk()
	if err != nil {
		return nil, err
	}
	return give(ctx, d)
}

// MachineNames completes the name of a machine.
func (c *Context) MachineNames(ctx context.Context, _ string) ([]string, error) {
	return c.offered(ctx, machines.Names)
}

// Offering completes by what the desk gives.
func (c *Context) Offering(give func(context.Context, *desk.Desk) ([]string, error)) Completer {
	return Completing(func(ctx context.Context, _ string) ([]string, error) { return c.offered(ctx, give) })
}

// KeyIDs completes a key.
func (c *Context) KeyIDs(ctx context.Context, prefix string) ([]string, error) {
	return c.offered(ctx, func(ctx context.Context, d *desk.Desk) ([]string, error) { return keys.IDs(ctx, d, prefix) })
}

// SelectorWords completes a selector: the beginnings of the other forms, then machine names after the last comma.
func (c *Context) SelectorWords(ctx context.Context, prefix string) ([]string, error) {
	names, err := c.MachineNames(ctx, prefix)
	return machines.SelectorWords(names, prefix), err
}

// Playbooks completes a playbook: the built-in ones, and files are left to the shell.
func Playbooks(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	words, _ := First(Completing(func(context.Context, string) ([]string, error) {
		var names []string
		for _, p := range playbook.Builtins() {
			names = append(names, p.Playbook.Name+"\t"+p.Playbook.Summary)
		}
		return names, nil
	}))(cmd, args, prefix)
	return words, cobra.ShellCompDirectiveDefault
}
