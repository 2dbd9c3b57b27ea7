package incidentcmd

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/cmd/internal/terminal"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

func newMachines(c *command.Context) *cobra.Command {
	cmd := &cobra.Command{
		Use: "machines [SELECTOR]", Short: "The cases: every machine with where it stands and what comes next",
		Example: `fleetmend incident machines 'case.next == "medium"'
fleetmend incident machines 'site == "LON" && health == "affected"' -o csv`,
		Args: command.Between(0, 1, "at most one selector"), ValidArgsFunction: command.First(command.Completing(c.SelectorWords)),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.Desk()
			if err != nil {
				return err
			}
			parsed, err := cases.Parse(argument(args), c.In)
			if err != nil {
				return err
			}
			rows, err := cases.Rows(cmd.Context(), d, command.Incident(cmd), parsed)
			if err != nil {
				return err
			}
			if len(rows) == 0 {
				return command.Coded(command.ExitNothing, hint.Wrap(fmt.Errorf("no machine matches %q", parsed.String()), "fleetmend incident status shows how many stand where"))
			}
			return command.List(c, rows, []terminal.Column[cases.Row]{
				terminal.Col("name", func(r cases.Row) string { return r.Name }),
				terminal.Col("site", func(r cases.Row) string { return r.Site }),
				terminal.Col("verdict", func(r cases.Row) string { return r.Verdict }),
				terminal.Col("since", func(r cases.Row) string { return terminal.Ago(r.Since, time.Now()) }),
				terminal.Col("route", func(r cases.Row) string { return r.Route }),
				terminal.Col("keys", func(r cases.Row) string { return r.Keys }),
				terminal.Col("next", func(r cases.Row) string { return r.Next }),
				terminal.Col("why", func(r cases.Row) string { return r.NextWhy }),
				terminal.WideCol("because", func(r cases.Row) string { return r.Because }),
				terminal.WideCol("route because", func(r cases.Row) string { return r.RouteWhy }),
				terminal.WideCol("not counted", func(r cases.Row) string { return r.Out }),
				terminal.WideCol("id", func(r cases.Row) string { return r.ID }),
			})
		},
	}
	command.Exits(cmd, command.ExitNothing)
	return command.Formats(command.InIncident(c, cmd), terminal.ListFormats...)
}

func newMark(c *command.Context) *cobra.Command {
	var as, reason string
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
				return listMarks(c, cmd)
			case cmd.Flags().Changed("act") && act < 1:
				return command.Usage(fmt.Errorf("--act %d is the number of no act", act), "fleetmend incident mark --list shows them")
			case undo:
				return unmark(c, cmd, act)
			case len(args) == 0:
				return command.Usage(fmt.Errorf("%s needs the machines to mark", cmd.CommandPath()), "a selector, or @FILE with one name in a line")
			}
			d, err := c.Desk()
			if err != nil {
				return err
			}
			parsed, err := cases.Parse(args[0], c.In)
			if err != nil {
				return err
			}
			done, err := cases.Mark(cmd.Context(), d, command.Incident(cmd), parsed, as, reason)
			if err != nil {
				return err
			}
			if err := c.One(done, func(w io.Writer) error { return writeMarked(w, c, done, as) }); err != nil {
				return err
			}
			switch {
			case done.Machines == 0:
				return command.Coded(command.ExitNothing, hint.Wrap(errNobody, "nothing was marked; fleetmend inventory list shows the names"))
			case len(done.Unknown)+len(done.Several) > 0:
				return command.Silently(command.ExitSomeFailed)
			}
			return nil
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
	return command.Formats(command.InIncident(c, cmd), terminal.ListFormats...)
}

// maxNames bounds the names on the screen; -o json has all.
const maxNames = 20

func writeMarked(w io.Writer, c *command.Context, m cases.Marked, as string) error {
	if m.Machines > 0 {
		fmt.Fprintf(w, "%s marked as %s in %s; taken back by: %s\n", terminal.Machines(m.Machines), as, m.Incident,
			c.Program().In(fmt.Sprintf("fleetmend incident mark --undo --act %d --incident %s", m.Act, m.Incident)))
	}
	for _, part := range []struct {
		what  string
		names []string
	}{{"not in the inventory", m.Unknown}, {"the name of several machines, none of which was marked", m.Several}} {
		if len(part.names) > 0 {
			fmt.Fprintf(w, "%d %s:\n", len(part.names), part.what)
		}
		for n, name := range part.names {
			if n == maxNames {
				fmt.Fprintf(w, "  and %d more; -o json lists all\n", len(part.names)-n)
				break
			}
			fmt.Fprintf(w, "  %s\n", terminal.OneLine(name))
		}
	}
	return nil
}

func unmark(c *command.Context, cmd *cobra.Command, act int64) error {
	d, err := c.Desk()
	if err != nil {
		return err
	}
	back, err := cases.Unmark(cmd.Context(), d, command.Incident(cmd), act)
	if err != nil {
		return err
	}
	return c.One(back, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s no longer marked as %s (%s)\n", terminal.Machines(back.Machines), back.Word, terminal.OneLine(back.Reason))
		return err
	})
}

func listMarks(c *command.Context, cmd *cobra.Command) error {
	d, err := c.Desk()
	if err != nil {
		return err
	}
	acts, err := cases.Acts(cmd.Context(), d, command.Incident(cmd))
	if err != nil {
		return err
	}
	return command.List(c, acts, []terminal.Column[journal.Act]{
		terminal.Col("act", func(a journal.Act) string { return fmt.Sprint(a.Number) }),
		terminal.Col("machines", func(a journal.Act) string { return terminal.Itoa(a.Machines) }),
		terminal.Col("as", func(a journal.Act) string { return string(a.Word) }),
		terminal.Col("reason", func(a journal.Act) string { return a.Reason }),
		terminal.Col("by", func(a journal.Act) string { return a.Who }),
		terminal.Col("when", func(a journal.Act) string { return terminal.Ago(a.Time, time.Now()) }),
		terminal.Col("taken back by", func(a journal.Act) string { return a.UndoneBy }),
	})
}
