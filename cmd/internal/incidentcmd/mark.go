package incidentcmd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

var caseColumns = []terminal.Column[cases.Row]{
	terminal.Col("name", func(r cases.Row) string { return r.Name }),
	terminal.Col("site", func(r cases.Row) string { return r.Site }),
	terminal.Col("verdict", func(r cases.Row) string { return r.Verdict }),
	terminal.Col("since", func(r cases.Row) string { return prose.Ago(r.Since, time.Now()) }),
	terminal.Col("route", func(r cases.Row) string { return r.Route }),
	terminal.Col("keys", func(r cases.Row) string { return r.Keys }),
	terminal.Col("next", func(r cases.Row) string { return r.Next }),
	terminal.Col("why", func(r cases.Row) string { return r.NextWhy }),
	terminal.WideCol("because", func(r cases.Row) string { return r.Because }),
	terminal.WideCol("route because", func(r cases.Row) string { return r.RouteWhy }),
	terminal.WideCol("not counted", func(r cases.Row) string { return r.Out }),
	terminal.WideCol("id", func(r cases.Row) string { return r.ID }),
}

func newMachines(c *command.Context) *cobra.Command {
	var incident string
	cmd := &cobra.Command{
		Use: "machines [SELECTOR]", Short: "The cases: every machine with where it stands and what comes next",
		Example: `fleetmend incident machines 'case.next == "medium"'
fleetmend incident machines 'site == "LON" && health == "affected"' -o csv`,
		Args: command.Between(0, 1, "at most one selector"), ValidArgsFunction: command.First(command.Completing(c.SelectorWords)),
		RunE: command.Listed(c, caseColumns, func(ctx context.Context, d *desk.Desk, args []string) ([]cases.Row, error) {
			parsed, err := cases.Parse(command.Argument(args), c.In)
			if err != nil {
				return nil, err
			}
			rows, err := cases.Rows(ctx, d, incident, parsed)
			if err == nil && len(rows) == 0 {
				err = command.Coded(command.ExitNothing, hint.Wrap(fmt.Errorf("no machine matches %q", parsed.String()), "`fleetmend incident status` shows how many stand where"))
			}
			return rows, err
		}),
	}
	command.Exits(cmd, command.ExitNothing)
	return command.Formats(c.InIncident(cmd, &incident), terminal.ListFormats...)
}

var actColumns = []terminal.Column[cases.Act]{
	terminal.Col("act", func(a cases.Act) string { return fmt.Sprint(a.Number) }),
	terminal.Col("machines", func(a cases.Act) string { return strconv.Itoa(a.Machines) }),
	terminal.Col("as", func(a cases.Act) string { return string(a.Word) }),
	terminal.Col("reason", func(a cases.Act) string { return a.Reason }),
	terminal.Col("by", func(a cases.Act) string { return a.Who }),
	terminal.Col("when", func(a cases.Act) string { return prose.Ago(a.Time, time.Now()) }),
	terminal.Col("taken back by", func(a cases.Act) string { return a.UndoneBy }),
}

func newMark(c *command.Context) *cobra.Command {
	var incident, as, reason string
	var undo, list bool
	var act int64
	cmd := &cobra.Command{
		Use: "mark SELECTOR|@FILE --as fixed|replaced|excluded --reason TEXT", Short: "Judge machines by hand: fixed, replaced or excluded",
		Long: `Say of machines what no program can see: the list of a site where somebody went from desk to desk. All of them are marked in one
act, which --undo takes back. Names of no machine are counted and listed, the others are marked all the same. A machine that is
marked as fixed and found affected by a later run is affected; replaced and excluded ones leave every count.`,
		Example: `fleetmend incident mark @berlin.txt --as fixed --reason 'list of the site manager, 2 pm'
fleetmend incident mark WS00017 --as replaced --reason 'new laptop, ticket 4711'
fleetmend incident mark --list
fleetmend incident mark --undo`,
		Args: command.Between(0, 1, "a selector or @FILE"), ValidArgsFunction: command.First(command.Completing(c.SelectorWords)),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case list && undo, (list || undo) && (as != "" || reason != "" || len(args) > 0):
				return command.Usage(fmt.Errorf("%s marks, takes back (--undo) or lists (--list): one at a time", cmd.CommandPath()), "see %s --help", cmd.CommandPath())
			case list:
				return command.Listed(c, actColumns, func(ctx context.Context, d *desk.Desk, _ []string) ([]cases.Act, error) {
					return cases.Acts(ctx, d, incident)
				})(cmd, args)
			case cmd.Flags().Changed("act") && act < 1:
				return command.Usage(fmt.Errorf("--act %d is the number of no act", act), "`fleetmend incident mark --list` shows them")
			case undo:
				return c.At(func(ctx context.Context, d *desk.Desk, _ []string) error { return unmark(ctx, c, d, incident, act) })(cmd, args)
			case len(args) == 0:
				return command.Usage(fmt.Errorf("%s needs the machines to mark", cmd.CommandPath()), "a selector, or @FILE with one name in a line")
			}
			return c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
				return mark(ctx, c, d, incident, args[0], as, reason)
			})(cmd, args)
		},
	}
	f := cmd.Flags()
	f.StringVar(&as, "as", "", "fixed, replaced or excluded")
	f.StringVar(&reason, "reason", "", "why, in one line; it is kept and shown")
	f.BoolVar(&undo, "undo", false, "take the last act of marking back, or the one of --act")
	f.Int64Var(&act, "act", 0, "number of the act to take back, as --list shows it")
	f.BoolVar(&list, "list", false, "list the acts of marking, newest first")
	command.Complete(cmd, "as", "fixed", "replaced", "excluded")
	command.Exits(cmd, command.ExitSomeFailed, command.ExitNothing)
	return command.Formats(c.InIncident(cmd, &incident), terminal.ListFormats...)
}

func mark(ctx context.Context, c *command.Context, d *desk.Desk, incident, selector, as, reason string) error {
	parsed, err := cases.Parse(selector, c.In)
	if err != nil {
		return err
	}
	done, err := cases.Mark(ctx, d, incident, parsed, as, reason)
	if err != nil {
		return err
	}
	if err := c.Page(done, done.Text(c.Program())); err != nil {
		return err
	}
	switch {
	case done.Machines == 0:
		nobody := errors.New("nobody on the list is a machine of the inventory")
		return command.Coded(command.ExitNothing, hint.Wrap(nobody, "nothing was marked; `fleetmend inventory list` shows the names"))
	case done.Unmarked() > 0:
		return command.Silently(command.ExitSomeFailed)
	}
	return nil
}

func unmark(ctx context.Context, c *command.Context, d *desk.Desk, incident string, act int64) error {
	back, err := cases.Unmark(ctx, d, incident, act)
	if err != nil {
		return err
	}
	return c.Page(back, fmt.Sprintf("%s no longer marked as %s (%s)\n", prose.Machines(back.Machines), back.Word, prose.OneLine(back.Reason)))
}
