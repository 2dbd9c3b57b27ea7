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
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/bitlocker/fve"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// auditVerify is the action of a password that was tried on a volume and not shown.
const auditVerify audit.Action = "verify"

// verifyFlags are the flags of keys verify.
type verifyFlags struct {
	access
	reason, keyFile string
}

func newKeysVerify(a *app) *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify IMAGE|DEVICE",
		Short: "Read a BitLocker volume: its state, its protectors, and which stored key opens it",
		Long: `Read the BitLocker metadata of a disk, a partition or an image of one, and try the keys that the vault holds for its
protectors. Nothing is written to it, and no password is shown. With --key-file a recovery password from a file (- for stdin) is
tried instead of those in the vault.

The exit code is 0 where a key opens every volume that needs one, and 3 where none does.`,
		Example: "fleetmend keys verify disk.img\nfleetmend keys verify /dev/sda3\nfleetmend keys verify '\\\\.\\PhysicalDrive1' --key-file typed.txt",
		Args:    exactly(1, "an image or a device"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.verifyVolume(cmd.Context(), args[0], f)
		},
	}
	f.access.flags(cmd)
	cmd.Flags().StringVar(&f.keyFile, "key-file", "", "try the recovery password in the first line of this file")
	cmd.Flags().StringVar(&f.reason, "reason", "", "a word for the audit (default: that the key was tried)")
	exits(cmd, exitSomeFailed)
	return cmd
}

// verifiedVolume is what was found out about one volume.
type verifiedVolume struct {
	Partition fve.Partition `json:"partition"`
	Volume    *fve.Volume   `json:"volume,omitempty"`
	Known     []string      `json:"known"`               // key IDs of it that some source keeps
	OpenedBy  *fve.Opened   `json:"opened_by,omitempty"` //
	Error     string        `json:"error,omitempty"`     // why none opens it, or why it could not be read
	needsNone bool
}

func (a *app) verifyVolume(ctx context.Context, path string, f verifyFlags) error {
	device, err := fve.Open(path)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { _ = device.Close() }()
	partitions, err := fve.Partitions(ctx, device, device.Size())
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	try, err := a.keyTrial(ctx, path, f)
	if err != nil {
		return err
	}
	var results []verifiedVolume
	closed := 0
	for _, p := range partitions {
		r := verifiedVolume{Partition: p, Known: []string{}}
		if r.Volume, err = fve.Read(ctx, p.Reader(device), p.Size); err == nil {
			r.needsNone = r.Volume.Suspended() || r.Volume.State == fve.Decrypted
			err = try(&r)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.Error = err.Error()
			for _, h := range hint.Of(err) {
				a.say("hint: %s", h)
			}
		}
		if r.OpenedBy == nil && !r.needsNone {
			closed++
		}
		results = append(results, r)
	}
	if err := one(a.out, a.streams.Out, results, func(w io.Writer) error { return writeVolumes(w, results) }); err != nil {
		return err
	}
	if closed > 0 {
		return silently(exitSomeFailed)
	}
	return nil
}

// keyText reads a recovery password from a file; "-" is stdin.
func keyText(stdin io.Reader, file string) (textfile.Text, error) {
	if file == "-" {
		return textfile.ReadFrom(stdin, textfile.MaxSecret)
	}
	return textfile.Read(file, textfile.MaxSecret)
}

// keyTrial gives what tries a volume: one typed password, or those in the vault.
func (a *app) keyTrial(ctx context.Context, path string, f verifyFlags) (func(*verifiedVolume) error, error) {
	if f.keyFile == "" {
		d, err := a.openDesk(ctx)
		if err != nil {
			return nil, err
		}
		if f.reason == "" {
			f.reason = "tried on " + path
		}
		return func(r *verifiedVolume) error { return a.tryStored(ctx, d, r, f) }, nil
	}
	text, err := keyText(a.In, f.keyFile)
	if err != nil {
		return nil, fmt.Errorf("read the recovery password: %w", err)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(text.Content), "\n")
	password, err := bitlocker.ParsePassword(strings.TrimSpace(line))
	if err != nil {
		return nil, hint.Wrap(err, "compare that group with the paper or the screen it came from")
	}
	return func(r *verifiedVolume) error {
		opened, err := r.Volume.TryPassword(ctx, "", password)
		if err == nil {
			r.OpenedBy = &opened
		}
		return err
	}, nil
}

// tryStored tries the keys that the vault holds for the protectors of a volume, by their IDs.
func (a *app) tryStored(ctx context.Context, d *desk, r *verifiedVolume, f verifyFlags) error {
	ids := r.Volume.RecoveryIDs()
	if len(ids) == 0 {
		return fmt.Errorf("it has no recovery password: %w", fve.ErrNoProtector)
	}
	var refs []bitlocker.KeyRef
	var lookups []error
	for _, id := range ids {
		found, err := d.Find(ctx, bitlocker.Query{KeyID: id.Prefix()})
		if err != nil && !errors.Is(err, bitlocker.ErrNotStored) {
			return err
		}
		if err != nil {
			lookups = append(lookups, err)
			continue
		}
		r.Known = append(r.Known, string(id))
		refs = append(refs, sealed(found.Matches)...)
	}
	nameless, err := withoutID(ctx, d, r.Volume)
	if err != nil {
		return err
	}
	for _, ref := range nameless {
		r.Known = append(r.Known, string(ref.ID))
		refs = append(refs, ref)
	}
	if len(r.Known) == 0 {
		return errors.Join(lookups...)
	}
	if len(refs) == 0 {
		return hint.Wrap(fmt.Errorf("a key for it is known, but %w", bitlocker.ErrNotHeld), "fleetmend keys sync --passwords reads it into the vault")
	}
	if err := a.unlock(ctx, d, f.access); err != nil {
		return err
	}
	keys, err := d.RevealAll(ctx, auditVerify, f.reason, refs...)
	if err != nil {
		return err
	}
	for _, key := range keys {
		id := key.ID
		if !id.Known() {
			id = "" // on every protector
		}
		opened, err := r.Volume.TryPassword(ctx, id, key.Password)
		if err == nil {
			r.OpenedBy = &opened
			return nil
		}
		if !errors.Is(err, fve.ErrWrongKey) {
			return err
		}
	}
	return fmt.Errorf("the vault holds a key with the right ID, but %w", fve.ErrWrongKey)
}

// withoutID finds the keys that came without a key ID and belong to the computer that encrypted the volume: Windows writes
// its name first into the description.
func withoutID(ctx context.Context, d *desk, v *fve.Volume) ([]bitlocker.KeyRef, error) {
	host, _, _ := strings.Cut(v.Description, " ")
	if host == "" {
		return nil, nil
	}
	found, err := d.Find(ctx, bitlocker.Query{Host: host})
	if err != nil && !errors.Is(err, bitlocker.ErrNotStored) {
		return nil, err
	}
	return slices.DeleteFunc(sealed(found.Matches), func(ref bitlocker.KeyRef) bool { return ref.ID.Known() }), nil
}

func writeVolumes(w io.Writer, results []verifiedVolume) error {
	for i, r := range results {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if r.Partition.Number > 0 {
			fmt.Fprintf(w, "partition  %d, %d bytes at byte %d\n", r.Partition.Number, r.Partition.Size, r.Partition.Start)
		}
		if r.Volume != nil {
			writeVolume(w, r.Volume, r.Partition.Size)
		}
		for _, id := range r.Known {
			fmt.Fprintf(w, "known      %s\n", id)
		}
		switch {
		case r.OpenedBy != nil:
			fmt.Fprintf(w, "opened by  %s\n", r.OpenedBy.ID)
			if !r.OpenedBy.Genuine {
				fmt.Fprintln(w, "remark     the metadata could not be confirmed as Windows wrote them")
			}
		case r.needsNone && r.Volume.Suspended():
			fmt.Fprintln(w, "It needs no key: protection is suspended.")
		case r.needsNone:
			fmt.Fprintln(w, "It needs no key: nothing is encrypted.")
		default:
			fmt.Fprintf(w, "not opened %s\n", oneLine(r.Error))
		}
	}
	return nil
}

// writeVolume says of a volume what its JSON knows.
func writeVolume(w io.Writer, v *fve.Volume, size int64) {
	fmt.Fprintf(w, "volume     %s\nmetadata   %s, %s", oneLine(v.Description), v.ID, v.Layout)
	if !v.Created.IsZero() {
		fmt.Fprintf(w, ", made %s", v.Created.UTC().Format("2006-01-02 15:04 UTC"))
	}
	fmt.Fprintf(w, "\nstate      %s, %s\n", v.State, v.Method)
	if v.State.Converting() {
		fmt.Fprintf(w, "converted  up to byte %d of %d\n", v.Converted, size)
	}
	if v.Suspended() {
		fmt.Fprintln(w, "protection SUSPENDED: the key of what is encrypted lies open on the volume")
	}
	for _, p := range v.Protectors {
		words := []string{string(p.Kind)}
		if p.Kind == fve.Unknown {
			words = append(words, fmt.Sprintf("(flags %#04x)", p.Flags))
		}
		if p.Name != "" {
			words = append(words, oneLine(p.Name))
		}
		if !p.Changed.IsZero() {
			words = append(words, "of "+p.Changed.UTC().Format("2006-01-02 15:04 UTC"))
		}
		fmt.Fprintf(w, "protector  %s  %s\n", p.ID, strings.Join(words, " "))
	}
	for i, c := range v.Copies {
		switch {
		case c.Damage != "":
			fmt.Fprintf(w, "DAMAGED    copy %d of %d of the metadata, at byte %d: %s\n", i+1, len(v.Copies), c.Offset, oneLine(c.Damage))
		case !c.Checked:
			fmt.Fprintf(w, "remark     copy %d of %d of the metadata, at byte %d, has no checksum\n", i+1, len(v.Copies), c.Offset)
		}
	}
}
