package keyscmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/desk/keys"
	"github.com/fleetmend/fleetmend/internal/prose"
)

// sheetFlags are the flags of keys sheet.
type sheetFlags struct {
	accessFlags
	paper                  keys.Paper
	reason, next, incident string
	laps                   bool
}

func newSheet(c *command.Context) *cobra.Command {
	var f sheetFlags
	cmd := &cobra.Command{
		Use: "sheet [SELECTOR|KEY-ID...]", Short: "Print keys for a site: PDF or HTML with 48 digits, QR code and Code128 for a scanner",
		Long: `Write a sheet with every key of the machines of a selector, or with the keys named by their IDs: those that the vault holds, and
those that it does not hold from their sources now. The file holds passwords in clear: print it, hand it over, and destroy
it. Each key on it is in the audit. A key is printed once however many places keep it; where one key ID has different
passwords, each is printed and says so.

With --laps the password of each machine's local administrator is read from Active Directory now and printed beside the key;
each is in the audit too.

Machines without a key are named, as are those without a password where --laps asks for it; the exit code is 3.`,
		Example:           "fleetmend keys sheet --next medium --reason \"INC-1234\" --out sticks.pdf\nfleetmend keys sheet 'site == \"LON\"' --reason \"INC-1234\" --out lon.pdf\nfleetmend keys sheet 'site == \"LON\"' --laps --reason \"INC-1234\" --out lon.pdf\nfleetmend keys sheet 4C4B6D8A 9F00A1B2 --reason \"INC-1234\" --out two.html",
		RunE:              c.At(func(ctx context.Context, d *desk.Desk, args []string) error { return f.print(ctx, c, d, args) }),
		ValidArgsFunction: command.Completing(c.SelectorWords),
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.reason, "reason", "", "why the keys are needed, for the audit")
	cmd.Flags().StringVar(&f.paper.File, "out", "", "file to write: .pdf or .html")
	cmd.Flags().StringVar(&f.paper.Title, "title", "", "headline (default: BitLocker recovery keys)")
	cmd.Flags().BoolVar(&f.paper.Enter, "enter", false, "the codes end with Enter")
	cmd.Flags().BoolVar(&f.laps, "laps", false, "print the password of the local administrator (LAPS) as well, read from Active Directory")
	cmd.Flags().StringVar(&f.next, "next", "", "medium: the keys of the machines that are to be started from a boot medium, in place of a selector")
	command.Complete(cmd, "next", nextMedium)
	c.InIncident(cmd, &f.incident)
	command.Exits(cmd, command.ExitSomeFailed, command.ExitNothing)
	return cmd
}

// nextMedium is the only word of --next.
const nextMedium = "medium"

func (f sheetFlags) print(ctx context.Context, c *command.Context, d *desk.Desk, args []string) error {
	switch err := f.paper.Check(); {
	case err != nil:
		return err
	case f.next != "" && f.next != nextMedium:
		return command.Usage(fmt.Errorf("--next %q: a sheet is printed for those that are to be started from a %s", f.next, nextMedium), "`fleetmend incident status` shows what comes next")
	case f.next != "" && len(args) > 0:
		return command.Usage(errors.New("--next says which machines, and so does a selector"), "give one of them")
	case f.next != "":
		args = []string{cases.ToMedium}
	}
	request, err := keys.SheetFor(ctx, d, args, f.incident, f.laps, c.In)
	if err != nil {
		return err
	}
	why := ""
	printed, err := withReason(ctx, c, f.reason, func(reason string) (keys.Sheet, error) {
		why = reason
		return keys.Print(ctx, d, request, reason, f.Access)
	})
	if err != nil {
		return coded(err)
	}
	remarks, err := printed.Write(d, f.paper, why)
	if err != nil {
		return err
	}
	c.Say("%s written to %s. It holds passwords in clear.", prose.Counted(len(printed.Entries), "key", "keys"), f.paper.File)
	for _, line := range remarks {
		c.Say("%s", line)
	}
	if printed.Left() > 0 {
		return command.Silently(command.ExitSomeFailed)
	}
	return nil
}
