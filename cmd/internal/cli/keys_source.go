package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/entra"
	"github.com/fleetmend/fleetmend/bitlocker/mssql"
)

// keysSyncFlags are the flags of keys sync.
type keysSyncFlags struct {
	access
	from, reason    string
	full, passwords bool
}

func newKeysSync(a *app) *cobra.Command {
	var f keysSyncFlags
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Read which keys the directories keep, and with --passwords the keys themselves",
		Long: `Read from Active Directory, Entra ID and the database of Configuration Manager or MBAM, as the settings name them, which recovery
keys there are. No password is read and none is needed. What a source no longer lists is flagged and kept.

With --passwords every password that is not in the vault yet is read into it as well, for the day the directories are down.
Entra ID records each one in its own log. The exit code is 3 where some could not be read.`,
		Example: "fleetmend keys sync\nfleetmend keys sync --from ad --full\nfleetmend keys sync --passwords --reason \"monthly snapshot\"",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.syncKeys(cmd.Context(), f)
		},
	}
	f.access.flags(cmd)
	cmd.Flags().StringVar(&f.from, "from", "", "ad, entra or mssql alone (default: each that the settings name)")
	cmd.Flags().BoolVar(&f.full, "full", false, "read all of them, and flag what is gone")
	cmd.Flags().BoolVar(&f.passwords, "passwords", false, "read the passwords into the vault as well")
	cmd.Flags().StringVar(&f.reason, "reason", "", "with --passwords: why, for the audit")
	complete(cmd, "from", sourceKinds...)
	exits(cmd, exitSomeFailed, exitAuth)
	return cmd
}

// keySyncSummary is what one source gave.
type keySyncSummary struct {
	bitlocker.SyncReport
	Passwords *fetchSummary `json:"passwords,omitempty"`
}

// fetchSummary says what became of passwords that were read into the vault.
type fetchSummary struct {
	Sealed  int      `json:"sealed"`
	Denied  int      `json:"denied"`
	Missing int      `json:"missing"`
	Invalid int      `json:"invalid"`
	Failed  []string `json:"failed"`
}

func (a *app) syncKeys(ctx context.Context, f keysSyncFlags) error {
	if f.from != "" && !slices.Contains(sourceKinds, f.from) {
		return usage(fmt.Errorf("--from %q is none of %s", f.from, strings.Join(sourceKinds, ", ")), "a table is read with fleetmend keys import FILE")
	}
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	if f.passwords {
		if f.reason, err = a.reasonFor(ctx, f.reason); err != nil {
			return err
		}
		if err := a.unlock(ctx, d, f.access); err != nil {
			return err
		}
	}
	sources, err := a.keySources(ctx, f.from)
	if err != nil {
		return err
	}
	var summaries []keySyncSummary
	var errs []error
	failed := 0
	for _, source := range sources {
		report, err := d.Sync(ctx, source, f.full)
		if err != nil { // the other source may answer
			errs = append(errs, keyAuth(err))
			continue
		}
		summary := keySyncSummary{SyncReport: report}
		if f.passwords {
			if summary.Passwords, err = a.fetchAll(ctx, d, source, f.reason); err != nil {
				return err
			}
			failed += len(summary.Passwords.Failed)
		}
		summaries = append(summaries, summary)
	}
	if len(summaries) > 0 {
		if err := one(a.out, a.streams.Out, summaries, func(w io.Writer) error { return writeKeySyncs(w, summaries) }); err != nil {
			return err
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if failed > 0 {
		return silently(exitSomeFailed)
	}
	return nil
}

// keyAuth gives the exit code of a sign-in that Entra or a SQL Server rejected; exitCode knows those of a directory.
func keyAuth(err error) error {
	if errors.Is(err, entra.ErrSignIn) || errors.Is(err, mssql.ErrSignIn) {
		return coded(exitAuth, err)
	}
	return err
}

// fetchAll reads the passwords of a source that the vault does not hold.
func (a *app) fetchAll(ctx context.Context, d *desk, source bitlocker.Source, reason string) (*fetchSummary, error) {
	var refs []bitlocker.KeyRef
	err := d.All(ctx, func(m bitlocker.Match) error {
		if m.Source == source.Name() && m.State != bitlocker.StateSealed {
			refs = append(refs, m.KeyRef)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return fetchKeys(ctx, d, source, reason, refs)
}

func fetchKeys(ctx context.Context, d *desk, source bitlocker.Source, reason string, refs []bitlocker.KeyRef) (*fetchSummary, error) {
	report, err := d.Fetch(ctx, source, reason, refs...)
	if err != nil {
		return nil, err
	}
	out := &fetchSummary{Sealed: report.Sealed, Denied: report.Denied, Missing: report.Missing, Invalid: report.Invalid}
	for _, failure := range report.Failed {
		out.Failed = append(out.Failed, fmt.Sprintf("key %s of %s: %v", failure.Ref.ID, failure.Ref.Machine.Label(), failure.Err))
	}
	return out, nil
}

func (s *fetchSummary) write(w io.Writer) {
	fmt.Fprintf(w, "  %s sealed, %d not ours to read, %d not stored there, %d that cannot be right\n", counted(s.Sealed, "password", "passwords"), s.Denied, s.Missing, s.Invalid)
	writeLines(w, "not read", s.Failed)
}

// writeLines prints the first lines of a list; the machine-readable forms hold all.
func writeLines(w io.Writer, title string, lines []string) {
	for i, line := range lines {
		if i == 20 {
			fmt.Fprintf(w, "  %s: and %d more; -o json lists all\n", title, len(lines)-i)
			return
		}
		fmt.Fprintf(w, "  %s: %s\n", title, oneLine(line))
	}
}

func writeKeySyncs(w io.Writer, all []keySyncSummary) error {
	for _, s := range all {
		how := "what is new"
		if s.Full {
			how = "all"
		}
		fmt.Fprintf(w, "%s: %s read (%s), %d new, %d changed, %d gone there\n", oneLine(s.Source), counted(s.Read, "key", "keys"), how, s.Added, s.Changed, s.Gone)
		if s.Passwords != nil {
			s.Passwords.write(w)
		}
	}
	return nil
}
