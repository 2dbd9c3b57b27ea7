package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/csv"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// keysImportFlags are the flags of keys import.
type keysImportFlags struct {
	access
	tableFlags
	source, reason string
}

func newKeysImport(a *app) *cobra.Command {
	var f keysImportFlags
	cmd := &cobra.Command{
		Use:   "import FILE-OR-FOLDER",
		Short: "Read keys with their passwords from tables, Windows' own key files, manage-bde",
		Long: `Read recovery keys from a file and seal their passwords in the vault; - reads stdin. It may be a table or JSON (CrowdStrike's
KeyID,RecoveryKey, exports of Active Directory, Entra, MBAM, Configuration Manager, Fleet), a file that Windows saved
("BitLocker Recovery Key ....TXT") or what manage-bde -protectors -get printed, in any language. Of a folder every *.txt, *.csv, *.json
and *.log is read, also in the folders in it. docs/tables.md lists what is known.

Encoding, delimiter and the meaning of columns are found out and said; flags set them. A bad row is named with its line, a
mistyped password with the group that is wrong, and the rest is imported. A key that comes without a key ID is kept under
its machine's name, as UNKNOWN-NAME.

The exit code is 3 where some rows were left out. The file itself still holds the passwords in clear: destroy it.`,
		Example: "fleetmend keys import keys.csv\nfleetmend keys import //server/keys\nfleetmend keys import export.csv --map Kennwort=password --map Rechner=name",
		Args:    exactly(1, "a file or folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.importKeys(cmd.Context(), args[0], f)
		},
	}
	f.access.flags(cmd)
	cmd.Flags().StringVar(&f.source, "source", "", "name of the source (default: csv: and the file's name)")
	cmd.Flags().StringVar(&f.reason, "reason", "", "a word for the audit (default: that the file was imported)")
	f.tableFlags.flags(cmd, "column=field, where the header is not understood: key, password, name, fqdn, serial, device, guid, dn, created, volume, volumeid; column=- leaves one out")
	exits(cmd, exitSomeFailed)
	return cmd
}

// keysImportSummary is what a table gave.
type keysImportSummary struct {
	Source  string            `json:"source"`
	ReadAs  string            `json:"read_as"`
	Files   int               `json:"files,omitempty"`
	Rows    int               `json:"rows"`
	New     int               `json:"new"`
	Changed int               `json:"changed"`
	Sealed  int               `json:"sealed"`
	NoID    int               `json:"no_id"` // keys without a key ID
	Columns map[string]string `json:"columns"`
	Ignored []string          `json:"ignored"`
	BadRows []string          `json:"bad_rows"`
	Remarks []string          `json:"remarks"`
}

func (a *app) importKeys(ctx context.Context, file string, f keysImportFlags) error {
	delimiter, order, err := f.parse()
	if err != nil {
		return err
	}
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	if err := a.unlock(ctx, d, f.access); err != nil {
		return err
	}
	if f.source == "" {
		f.source = "csv:" + filepath.Base(file)
	}
	if f.reason == "" {
		f.reason = "imported from " + filepath.Base(file)
	}
	o := csv.Options{Source: f.source, File: file, Map: f.mapping, Encoding: f.encoding, Delimiter: delimiter, DateOrder: order}
	source, report, origin, err := readKeys(ctx, a.streams.In, o)
	if err != nil {
		return err
	}
	taken, err := d.Take(ctx, source, f.reason, fmt.Sprintf("%s, %s", counted(report.Keys, "password", "passwords"), origin))
	if err != nil {
		return err
	}
	summary := keysImportSummary{
		Source: f.source, ReadAs: report.ReadAs, Files: report.Files, Rows: report.Rows, New: taken.Added, Changed: taken.Changed, Sealed: taken.Sealed,
		NoID: report.NoID, Columns: report.Columns, Ignored: report.Ignored, Remarks: report.Remarks,
	}
	place := func(r csv.BadRow) string {
		if report.Files > 0 {
			return r.String()
		}
		return fmt.Sprintf("%s:%d: %s", file, r.Line, r.Reason)
	}
	for _, bad := range report.BadRows {
		summary.BadRows = append(summary.BadRows, place(bad))
	}
	for _, remark := range report.Problems {
		summary.Remarks = append(summary.Remarks, place(remark))
	}
	if len(report.Ignored) > 0 {
		summary.Remarks = append(summary.Remarks, "columns that mean nothing here: "+strings.Join(report.Ignored, ", "))
	}
	if err := one(a.out, a.streams.Out, summary, summary.write); err != nil {
		return err
	}
	if len(report.BadRows) > 0 || len(taken.Failed) > 0 {
		return silently(exitSomeFailed)
	}
	return nil
}

// readKeys reads a file, stdin or a folder. The origin tells the audit what was read.
func readKeys(ctx context.Context, stdin io.Reader, o csv.Options) (source *csv.Source, report csv.Report, origin string, err error) {
	if info, wrong := os.Stat(o.File); wrong == nil && info.IsDir() {
		source, report, err = csv.ReadFolder(ctx, o.File, o)
		return source, report, counted(report.Files, "file", "files") + " of a folder", err
	}
	data, err := readInput(stdin, o.File)
	if err != nil {
		return nil, report, "", err
	}
	if source, report, err = csv.Read(bytes.NewReader(data), o); err != nil {
		return nil, report, "", fmt.Errorf("read %s: %w", o.File, err)
	}
	return source, report, fmt.Sprintf("SHA-256 of the file %x", sha256.Sum256(data)), nil
}

func (s keysImportSummary) write(w io.Writer) error {
	fmt.Fprintf(w, "%s: %s read, %s new, %d changed, %s sealed\n", oneLine(s.Source), counted(s.Rows, "row", "rows"), counted(s.New, "key", "keys"), s.Changed, counted(s.Sealed, "password", "passwords"))
	fmt.Fprintf(w, "  read as %s\n", oneLine(s.ReadAs))
	if s.NoID > 0 {
		fmt.Fprintf(w, "  %s no key ID and %s kept as UNKNOWN- with the machine's name; keys verify and media try them by machine\n", counted(s.NoID, "key has", "keys have"), map[bool]string{true: "is", false: "are"}[s.NoID == 1])
	}
	if n := len(s.BadRows); n > 0 {
		fmt.Fprintf(w, "  %s left out, or their passwords\n", counted(n, "row was", "rows were"))
	}
	writeLines(w, "left out", s.BadRows)
	writeLines(w, "remark", s.Remarks)
	return nil
}

// snapshotFlags say for whom a snapshot is sealed, or what opens it.
type snapshotFlags struct {
	access
	reason, out               string
	passphraseFile, recipient string
	snapshotIdentity          string
}

func newKeysExport(a *app) *cobra.Command {
	var f snapshotFlags
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write all keys as an encrypted snapshot, for the day the directories are down",
		Long: `Write everything that the vault knows, passwords included, into one encrypted file (age) that appears whole or not at all.
It opens with a passphrase of its own, or with the identity of --recipient. The vault must be unlocked.`,
		Example: "fleetmend keys export --out keys.age --reason \"monthly snapshot for the safe\"",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.exportKeys(cmd.Context(), f)
		},
	}
	f.access.flags(cmd)
	cmd.Flags().StringVar(&f.out, "out", "", "file to write, such as keys.age")
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, for the audit")
	cmd.Flags().StringVar(&f.recipient, "recipient", "", "public key age1... that alone opens the snapshot")
	cmd.Flags().StringVar(&f.passphraseFile, "snapshot-passphrase-file", "", "file with the snapshot's passphrase in its first line")
	cmd.MarkFlagsMutuallyExclusive("recipient", "snapshot-passphrase-file")
	return cmd
}

func (a *app) exportKeys(ctx context.Context, f snapshotFlags) error {
	if f.out == "" {
		return usage(errors.New("no file to write"), "name it with --out, such as --out keys.age")
	}
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	if f.reason, err = a.reasonFor(ctx, f.reason); err != nil {
		return err
	}
	if err := a.unlock(ctx, d, f.access); err != nil {
		return err
	}
	var recipient age.Recipient
	if f.recipient != "" {
		if recipient, err = age.ParseX25519Recipient(f.recipient); err != nil {
			return usage(fmt.Errorf("--recipient %q is no public key of age", f.recipient), "it begins with age1; age-keygen -y prints it for an identity file")
		}
	} else {
		text, err := a.newPassphrase(ctx, f.passphraseFile)
		if err != nil {
			return err
		}
		if recipient, err = d.SnapshotPassphrase(text); err != nil {
			return err
		}
	}
	report, err := d.ExportFile(ctx, f.out, f.reason, recipient)
	if err != nil {
		return err
	}
	a.say("%s with %s written to %s", counted(report.Refs, "key", "keys"), counted(report.Passwords, "password", "passwords"), f.out)
	return nil
}

func newKeysImportSnapshot(a *app) *cobra.Command {
	var f snapshotFlags
	cmd := &cobra.Command{
		Use:     "import-snapshot FILE",
		Short:   "Take in a snapshot that keys export wrote, all of it or nothing",
		Example: "fleetmend keys import-snapshot keys.age --reason \"AD is down\"",
		Args:    exactly(1, "a snapshot"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.importSnapshot(cmd.Context(), args[0], f)
		},
	}
	f.access.flags(cmd)
	cmd.Flags().StringVar(&f.reason, "reason", "", "a word for the audit (default: that the file was imported)")
	cmd.Flags().StringVar(&f.snapshotIdentity, "snapshot-identity", "", "age identity file that opens the snapshot")
	cmd.Flags().StringVar(&f.passphraseFile, "snapshot-passphrase-file", "", "file with the snapshot's passphrase in its first line")
	cmd.MarkFlagsMutuallyExclusive("snapshot-identity", "snapshot-passphrase-file")
	return cmd
}

func (a *app) importSnapshot(ctx context.Context, file string, f snapshotFlags) error {
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	if err := a.unlock(ctx, d, f.access); err != nil {
		return err
	}
	identities, err := a.snapshotKeys(ctx, f)
	if err != nil {
		return err
	}
	in, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("read the snapshot: %w", err)
	}
	defer in.Close()
	if f.reason == "" {
		f.reason = "imported from " + filepath.Base(file)
	}
	report, err := d.Import(ctx, in, f.reason, identities...)
	if errors.Is(err, bitlocker.ErrWrongKey) {
		return hint.Wrap(err, "nothing was taken in")
	}
	if err != nil {
		return err
	}
	a.say("%s with %s taken in from a snapshot of %s", counted(report.Refs, "key", "keys"), counted(report.Passwords, "password", "passwords"), when(report.Created))
	return nil
}

func (a *app) snapshotKeys(ctx context.Context, f snapshotFlags) ([]age.Identity, error) {
	if f.snapshotIdentity != "" {
		return readIdentities(f.snapshotIdentity)
	}
	var text secret.String
	switch {
	case f.passphraseFile != "":
		var err error
		if text, err = a.secretFrom(f.passphraseFile, "--snapshot-passphrase-file names a file with the snapshot's passphrase in its first line"); err != nil {
			return nil, err
		}
	case !a.canAsk():
		return nil, usage(errors.New("nothing to open the snapshot with, and there is nobody to ask"), "give --snapshot-passphrase-file or --snapshot-identity")
	default:
		answer, err := a.Ask(ctx, question.Question{ID: "snapshot.passphrase", Kind: question.Secret, Text: "Passphrase of the snapshot"})
		if err != nil {
			return nil, err
		}
		text = answer.Secret
	}
	identity, err := age.NewScryptIdentity(text.Reveal())
	if err != nil {
		return nil, fmt.Errorf("open the snapshot: wrong passphrase: %w", bitlocker.ErrWrongKey)
	}
	identity.SetMaxWorkFactor(22)
	return []age.Identity{identity}, nil
}
