package incidentcmd

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/cmd/internal/terminal"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/remediate/casefile"
)

type writer = io.Writer

func newStatus(c *command.Context) *cobra.Command {
	var on string
	var detailed bool
	cmd := &cobra.Command{
		Use: "status [INCIDENT]", Short: "The one screen: how many of what, by site, how fast, what comes next",
		Example: "fleetmend incident status\nfleetmend incident status --on 'site == \"LON\"'\nfleetmend incident status -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.Desk()
			if err != nil {
				return err
			}
			s, err := status(cmd.Context(), d, argument(args), on)
			if err != nil {
				return err
			}
			if err := c.One(s, func(w io.Writer) error { return write(w, s, c.Width) }); err != nil {
				return err
			}
			if detailed && s.Left > 0 {
				return command.Silently(command.ExitChanges)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&on, "on", "", "selector of the machines that are looked at (default: all)")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit code 10 while machines are affected or suspect")
	_ = cmd.RegisterFlagCompletionFunc("on", command.Completing(c.SelectorWords))
	command.Exits(cmd, command.ExitNothing, command.ExitChanges)
	return command.Formats(incidents(c, cmd), terminal.OneFormats...)
}

// maxSites bounds the sites on the screen; -o json has all.
const maxSites = 12

func write(w io.Writer, s *cases.Status, width int) error {
	i := &s.Incident
	state := "open"
	if !i.IsOpen() {
		state = "closed by " + i.ClosedBy + " " + moment(i.Closed)
	}
	since := "opened " + moment(i.Opened)
	if !i.Start.IsZero() {
		since = "since " + moment(i.Start)
	}
	fmt.Fprintf(w, "%s: %s, %s, %s\n", i.ID, terminal.OneLine(i.Playbook), since, state)
	fmt.Fprintf(w, "%s: %s; %d left to do\n", terminal.Machines(s.Machines), verdicts(s.Verdicts, words(casefile.Verdicts())...), s.Left)
	if len(s.Out) > 0 {
		fmt.Fprintf(w, "not counted: %s\n", counts(s.Out, "replaced", "excluded", "disabled", "gone"))
	}
	if s.Verdicts[casefile.Fixed] > 0 {
		fmt.Fprintf(w, "fixed by: %s%s\n", counts(s.By, "run", "medium", "hand"), pace(s))
	}
	if err := writeSites(w, s); err != nil {
		return err
	}
	writeNext(w, s, width)
	for n, text := range s.Missing {
		fmt.Fprint(w, lead(n, "\nMissing\n"), terminal.Wrapped("  "+terminal.OneLine(text), width), "\n")
	}
	var ages []string
	for _, a := range s.Ages {
		age := terminal.Ago(a.At, s.At)
		if age == "" {
			age = "never"
		}
		ages = append(ages, a.What+" "+age)
	}
	_, err := fmt.Fprintf(w, "\n%s\n", terminal.Wrapped("As of "+moment(s.At)+", event "+fmt.Sprint(s.Number)+": "+terminal.OneLine(strings.Join(ages, ", ")), width))
	return err
}

// lead is a heading before the first line of a part.
func lead(n int, heading string) string {
	if n == 0 {
		return heading
	}
	return ""
}

func writeSites(w io.Writer, s *cases.Status) error {
	if len(s.Sites) < 2 {
		return nil
	}
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	shown := casefile.Verdicts()
	row := func(name string, left, all int, of func(casefile.Verdict) int) {
		fmt.Fprintf(table, "  %s\t%d\t%d\t", name, left, all)
		for _, v := range shown {
			if n := of(v); n > 0 {
				fmt.Fprint(table, n)
			}
			fmt.Fprint(table, "\t")
		}
		fmt.Fprintln(table)
	}
	fmt.Fprint(table, "  site\tleft\tof\t")
	for _, v := range shown {
		fmt.Fprintf(table, "%s\t", v)
	}
	fmt.Fprintln(table)
	for n, site := range s.Sites {
		if n == maxSites {
			fmt.Fprintf(table, "  and %d more\t\t\t\n", len(s.Sites)-n)
			break
		}
		name := terminal.OneLine(site.Name)
		if name == "" {
			name = "(none)"
		}
		row(name, site.Left, site.Machines, func(v casefile.Verdict) int { return site.Verdicts[v] })
	}
	return table.Flush()
}

// does is what a step is called on the screen.
var does = map[casefile.Verb]string{
	casefile.Resume: "go on with the run that stopped", casefile.Fix: "run the cure", casefile.Retry: "try again", casefile.Probe: "look whether they answer",
	casefile.GetKey: "get the recovery key", casefile.Start: "start from a boot medium", casefile.Rotate: "replace the recovery key", casefile.ByHand: "look at by hand",
	casefile.Wait: "wait: a run is at work",
}

func writeNext(w io.Writer, s *cases.Status, width int) {
	for n, group := range s.Next {
		fmt.Fprintf(w, "%s  %5d  %s\n", lead(n, "\nNext\n"), group.Machines, does[group.Verb])
		for _, why := range group.Why {
			fmt.Fprintln(w, terminal.Wrapped(fmt.Sprintf("           %d: %s", why.Machines, terminal.OneLine(why.Text)), width))
		}
		for _, line := range group.Commands {
			fmt.Fprintf(w, "         %s\n", line)
		}
	}
}

// pace says how fast it goes, and when it ends at that rate.
func pace(s *cases.Status) string {
	if s.Rate.LastHour == 0 {
		return ""
	}
	text := fmt.Sprintf("; %d in the last hour", s.Rate.LastHour)
	if !s.Rate.End.IsZero() {
		text += ", at which rate the last one is done " + in(s.Rate.End.Sub(s.At))
	}
	return text
}

func in(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return "in a minute"
	case d < 2*time.Hour:
		return fmt.Sprintf("in %d minutes", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("in %d hours", int(d.Hours()))
	}
	return fmt.Sprintf("in %d days", int(d.Hours()/24))
}

func words[T ~string](all []T) []string {
	out := make([]string, len(all))
	for i, w := range all {
		out[i] = string(w)
	}
	return out
}

func verdicts(n map[casefile.Verdict]int, order ...string) string {
	plain := map[string]int{}
	for v, count := range n {
		plain[string(v)] = count
	}
	return counts(plain, order...)
}

// counts is "130 affected, 12 suspect", in an order and without what there is none of.
func counts(n map[string]int, order ...string) string {
	var parts []string
	for _, word := range order {
		if n[word] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[word], word))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func newReport(c *command.Context) *cobra.Command {
	var html, on string
	cmd := &cobra.Command{
		Use: "report [INCIDENT]", Short: "Report an incident to others: every machine, across runs, boot media and work by hand",
		Example: "fleetmend incident report --html incident.html\nfleetmend incident report -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.Desk()
			if err != nil {
				return err
			}
			parsed, err := cases.Parse(on, nil)
			if err != nil {
				return err
			}
			r, err := cases.Tell(cmd.Context(), d, argument(args), parsed)
			if err == nil {
				err = nobody(&r.Status, on)
			}
			if err != nil {
				return err
			}
			if html != "" {
				if err := textfile.Write(html, textfile.Shared, r.WriteHTML); err != nil {
					return err
				}
				c.Say("report written to %s", html)
			}
			return c.One(r, func(w io.Writer) error { return write(w, &r.Status, c.Width) })
		},
	}
	cmd.Flags().StringVar(&html, "html", "", "write a page that stands alone into this file")
	cmd.Flags().StringVar(&on, "on", "", "selector of the machines (default: all)")
	_ = cmd.RegisterFlagCompletionFunc("on", command.Completing(c.SelectorWords))
	command.Exits(cmd, command.ExitNothing)
	return command.Formats(incidents(c, cmd), terminal.OneFormats...)
}
