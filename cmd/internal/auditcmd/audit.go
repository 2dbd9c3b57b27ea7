// Package auditcmd is the noun audit: who was shown which recovery key, when and why.
//
// [New] makes it. It reads the record and writes nothing into it.
package auditcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/keys"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/table"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// New makes the noun audit.
func New(c *command.Context) *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit", Short: "Who was shown which recovery key, when and why", GroupID: "know", Args: command.NoArgs,
		Long: `Every recovery password that leaves the vault is recorded before it is shown: who, on which computer, which machine and key,
why. The record only grows; each entry covers the one before it, so that a changed or missing one is found.`,
	}
	cmd.AddCommand(newList(c), newVerify(c), newExport(c))
	return cmd
}

// auditFlags pick entries.
type auditFlags struct {
	machine, key, user, action string
	since, until               string
	limit                      int
}

func (f *auditFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.machine, "machine", "", "only this machine")
	cmd.Flags().StringVar(&f.key, "key", "", "only keys whose ID begins so")
	cmd.Flags().StringVar(&f.user, "user", "", "only this user of the operating system")
	cmd.Flags().StringVar(&f.action, "action", "", "only one kind: reveal, sheet, media, fetch, export, import, rotate, refused, lock-set, verify")
	cmd.Flags().StringVar(&f.since, "since", "", "not before: 2024-07-19, 2024-07-19T04:09Z, or 24h for the last day")
	cmd.Flags().StringVar(&f.until, "until", "", "before, in the same forms")
	cmd.Flags().IntVar(&f.limit, "limit", 0, "the newest so many (0: all)")
	command.Complete(cmd, "action", "reveal", "sheet", "media", "fetch", "export", "import", "rotate", "refused", "lock-set", "verify")
}

func (f *auditFlags) filter(now time.Time) (keys.Filter, error) {
	out := keys.Filter{Machine: f.machine, KeyID: f.key, OSUser: f.user, Action: keys.Action(f.action), Limit: f.limit}
	if f.limit < 0 {
		return out, command.Usage(fmt.Errorf("--limit %d is less than nothing", f.limit), "0 means all")
	}
	var err error
	if out.Since, err = prose.Moment("--since", f.since, now); err != nil {
		return out, err
	}
	out.Until, err = prose.Moment("--until", f.until, now)
	return out, err
}

// reading is a command that does something with the entries that the flags pick.
func (f *auditFlags) reading(c *command.Context, do func(context.Context, *keys.Log, keys.Filter) error) command.Do {
	return c.At(func(ctx context.Context, d *desk.Desk, _ []string) error {
		filter, err := f.filter(d.Now())
		if err != nil {
			return err
		}
		log, err := d.Audit(ctx)
		if err != nil {
			return err
		}
		return do(ctx, log, filter)
	})
}

var columns = []terminal.Column[keys.Entry]{
	terminal.Col("no", func(e keys.Entry) string { return fmt.Sprint(e.Seq) }),
	terminal.Col("time", func(e keys.Entry) string { return e.Time.UTC().Format("2006-01-02 15:04:05Z") }),
	terminal.Col("user", func(e keys.Entry) string { return e.OSUser }),
	terminal.Col("action", func(e keys.Entry) string { return string(e.Action) }),
	terminal.Col("machine", func(e keys.Entry) string { return e.Machine }),
	terminal.Col("key id", func(e keys.Entry) string { return e.KeyID }),
	terminal.Col("reason", func(e keys.Entry) string { return e.Reason }),
	terminal.WideCol("identity", func(e keys.Entry) string { return e.Identity }),
	terminal.WideCol("host", func(e keys.Entry) string { return e.Host }),
	terminal.WideCol("source", func(e keys.Entry) string { return e.Source }),
	terminal.WideCol("detail", func(e keys.Entry) string { return e.Detail }),
	terminal.WideCol("hash", func(e keys.Entry) string { return e.Hash }),
}

func newList(c *command.Context) *cobra.Command {
	var f auditFlags
	cmd := &cobra.Command{
		Use: "list", Short: "List entries, the oldest first", Args: command.NoArgs,
		Example: "fleetmend audit list --since 24h\nfleetmend audit list --machine WS00042 -o wide",
		RunE: f.reading(c, func(ctx context.Context, log *keys.Log, filter keys.Filter) error {
			entries, err := log.List(ctx, filter)
			if err != nil {
				return err
			}
			return command.List(c, entries, columns)
		}),
	}
	f.flags(cmd)
	return command.Formats(cmd, terminal.ListFormats...)
}

func newVerify(c *command.Context) *cobra.Command {
	var heads []string
	cmd := &cobra.Command{
		Use: "verify", Short: "Check that no entry was changed or removed", Args: command.NoArgs,
		Long: `Read the whole record and check that each entry covers the one before it, and that the last one is the one noted beside it. It
prints the head, a number and a hash: note it elsewhere, and give it later with --head to prove that nothing before it
was touched, not even by somebody who wrote the whole record anew.

A record that was found broken is never continued: it stays, and a new one begins beside it. This command names it for ever, and
ends with 1.`,
		Example: "fleetmend audit verify\nfleetmend audit verify --head 17:3fa1...",
		RunE: c.At(func(ctx context.Context, d *desk.Desk, _ []string) error {
			var noted []keys.Head
			for _, text := range heads {
				head, err := keys.ParseHead(text)
				if err != nil {
					return command.Usage(fmt.Errorf("--head: %w", err), "give what an earlier audit verify printed")
				}
				noted = append(noted, head)
			}
			log, err := d.Audit(ctx)
			if err != nil {
				return err
			}
			head, err := log.Verify(ctx, noted...)
			if err != nil {
				return err
			}
			err = c.Page(head, fmt.Sprintf("%s, all sound\nhead %s\n", prose.Counted(int(head.Seq), "entry", "entries"), head))
			return errors.Join(err, log.VerifyBroken(ctx))
		}),
	}
	cmd.Flags().StringArrayVar(&heads, "head", nil, "a head that was noted earlier")
	return command.Formats(cmd, terminal.OneFormats...)
}

func newExport(c *command.Context) *cobra.Command {
	var f auditFlags
	var out string
	cmd := &cobra.Command{
		Use: "export", Short: "Write entries as JSON lines, which can be checked elsewhere, or as CSV", Args: command.NoArgs,
		Example: "fleetmend audit export --out audit.jsonl\nfleetmend audit export --since 2024-07-19 --out audit.csv",
		RunE: f.reading(c, func(ctx context.Context, log *keys.Log, filter keys.Filter) error {
			write := func(w io.Writer) error { return log.ExportJSONL(ctx, w, filter) }
			inFile := write
			if c.Output.Format == terminal.CSV || strings.HasSuffix(strings.ToLower(out), ".csv") {
				write = func(w io.Writer) error { return log.ExportCSV(ctx, w, filter) }
				inFile = table.Marked(write)
			}
			if out == "" {
				return write(c.Out)
			}
			if err := textfile.Write(out, textfile.Private, inFile); err != nil {
				return err
			}
			c.Say("written to %s", out)
			return nil
		}),
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&out, "out", "", "file to write: .jsonl or .csv (default: stdout)")
	return command.Formats(cmd, terminal.Table, terminal.CSV)
}
