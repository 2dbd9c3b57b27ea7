package runscmd

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/table"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

func newWatch(c *Commands) *cobra.Command {
	return named(c, &cobra.Command{
		Use: "watch RUN", Short: "Follow a run that goes on elsewhere until it ends",
		Example: "fleetmend runs watch last",
	}, c.watch)
}

// watch prints the run's events as they are committed. It ends with the run, or when nobody works on the run any more.
func (c *Commands) watch(ctx context.Context, d *desk.Desk, r *journal.Run) error {
	j, err := d.Journal(ctx)
	if err != nil {
		return err
	}
	var f face = &plainFace{w: c.Out}
	if c.JSONLines {
		f = &jsonFace{w: c.Out}
	}
	seq := int64(0)
	for {
		events, err := j.Events(ctx, r.ID, seq)
		if err != nil {
			return err
		}
		for _, e := range events {
			seq = e.Seq
			f.event(e)
		}
		if r, err = j.Run(ctx, r.ID); err != nil {
			return err
		}
		if len(events) == 0 && (runs.Over(r.Status) || !runs.AtWork(ctx, d, r.ID)) {
			c.Say("run %s: %s %s", r.ID, r.Status, r.Reason)
			return command.Silently(Code(r, false))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func newResume(c *Commands) *cobra.Command {
	var f CarryFlags
	cmd := named(c, &cobra.Command{
		Use: "resume RUN", Short: "Go on with a run that was paused, interrupted or killed",
		Long: `Go on where a run stopped. Machines that had been asked are asked again under the same run ID: they answer from their
own record and do nothing twice. A paused run goes on where it is being carried out.`,
		Example: "fleetmend runs resume last",
	}, func(ctx context.Context, d *desk.Desk, r *journal.Run) error {
		if r.Status == journal.RunPaused && runs.AtWork(ctx, d, r.ID) {
			if _, err := runs.Control(ctx, d, r.ID, journal.Resume); err != nil {
				return err
			}
			c.Say("run %s goes on; fleetmend runs watch %s follows it", r.ID, r.ID)
			return nil
		}
		j, err := d.Journal(ctx)
		if err != nil {
			return err
		}
		frozen, err := j.Plan(ctx, r.ID)
		if err != nil {
			return err
		}
		return c.carry(ctx, d, frozen, f, func(ctx context.Context, o runs.Options) (*journal.Run, error) { return runs.Resume(ctx, d, r.ID, o) })
	})
	f.Add(cmd)
	return cmd
}

func newReport(c *Commands) *cobra.Command {
	var html, csvFile, junit, jsonFile string
	cmd := named(c, &cobra.Command{
		Use: "report RUN", Short: "Write the report of a run: terminal, HTML, CSV, JSON, JUnit",
		Example: "fleetmend runs report last\nfleetmend runs report last --html report.html --csv report.csv",
	}, func(ctx context.Context, d *desk.Desk, r *journal.Run) error {
		_, rep, err := runs.Report(ctx, d, r.ID)
		if err != nil {
			return err
		}
		written := false
		for _, out := range []struct {
			file  string
			write func(io.Writer) error
		}{{html, rep.WriteHTML}, {csvFile, table.Marked(rep.WriteCSV)}, {junit, rep.WriteJUnit}, {jsonFile, rep.WriteJSON}} {
			if out.file == "" {
				continue
			}
			written = true
			if err := textfile.Write(out.file, textfile.Shared, out.write); err != nil {
				return err
			}
			c.Say("report written to %s", out.file)
		}
		if written {
			return nil
		}
		return c.writeReport(rep)
	})
	f := cmd.Flags()
	f.StringVar(&html, "html", "", "one self-contained HTML file")
	f.StringVar(&csvFile, "csv", "", "CSV file")
	f.StringVar(&junit, "junit", "", "JUnit XML file")
	f.StringVar(&jsonFile, "json-file", "", "JSON file")
	return command.Formats(cmd, Formats...)
}

func newControl(c *Commands, control journal.ControlKind, verb, short, said string) *cobra.Command {
	return named(c, &cobra.Command{
		Use: verb + " RUN", Short: short,
		Example: "fleetmend runs " + verb + " last",
	}, func(ctx context.Context, d *desk.Desk, r *journal.Run) error {
		if _, err := runs.Control(ctx, d, r.ID, control); err != nil {
			return err
		}
		c.Say(said, r.ID)
		return nil
	})
}
