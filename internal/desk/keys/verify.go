package keys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/bitlocker/fve"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// auditVerify is the action of a password that was tried on a volume and not shown.
const auditVerify audit.Action = "verify"

// Trial says which keys are tried on what.
type Trial struct {
	Path   string             // image or device
	Typed  bitlocker.Password // the only one that is tried; zero: those of the vault
	Reason string             // for the audit; empty: that it was tried
}

// Verified is what was found out about one volume.
type Verified struct {
	Partition fve.Partition `json:"partition"`
	Volume    *fve.Volume   `json:"volume,omitempty"`
	Known     []string      `json:"known"` // key IDs of it that some source keeps
	OpenedBy  *fve.Opened   `json:"opened_by,omitempty"`
	Error     string        `json:"error,omitempty"` // why none opens it, or why it could not be read
	NeedsNone bool          `json:"-"`               // it opens without a key
	Hints     []string      `json:"-"`               // what helps against Error
}

// Verify reads the BitLocker volumes of a disk, a partition or an image, and tries keys on each. It writes nothing and shows no
// password; those of the vault are in the audit before they are tried.
func Verify(ctx context.Context, d *desk.Desk, t Trial, how desk.Access) ([]Verified, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	device, err := fve.Open(t.Path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", t.Path, err)
	}
	defer func() { _ = device.Close() }()
	partitions, err := fve.Partitions(ctx, device, device.Size())
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.Path, err)
	}
	try := func(v *Verified) error {
		opened, err := v.Volume.TryPassword(ctx, "", t.Typed)
		if err == nil {
			v.OpenedBy = &opened
		}
		return err
	}
	if t.Typed.IsZero() {
		vault, err := open(ctx, d)
		if err != nil {
			return nil, err
		}
		if t.Reason == "" {
			t.Reason = "tried on " + t.Path
		}
		try = func(v *Verified) error { return v.tryStored(ctx, d, vault, t.Reason, how) }
	}
	var out []Verified
	for _, p := range partitions {
		v := Verified{Partition: p, Known: []string{}}
		if v.Volume, err = fve.Read(ctx, p.Reader(device), p.Size); err == nil {
			v.NeedsNone = v.Volume.Suspended() || v.Volume.State == fve.Decrypted
			err = try(&v)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			v.Error, v.Hints = err.Error(), hint.Of(err)
		}
		out = append(out, v)
	}
	return out, nil
}

// tryStored tries the keys that the vault holds for the protectors of a volume, by their IDs.
func (r *Verified) tryStored(ctx context.Context, d *desk.Desk, vault *bitlocker.Vault, reason string, how desk.Access) error {
	ids := r.Volume.RecoveryIDs()
	if len(ids) == 0 {
		return fmt.Errorf("it has no recovery password: %w", fve.ErrNoProtector)
	}
	var refs []bitlocker.KeyRef
	var lookups []error
	for _, id := range ids {
		found, err := vault.Find(ctx, bitlocker.Query{KeyID: id.Prefix()})
		if err != nil && !notStored(err) {
			return err
		}
		if err != nil {
			lookups = append(lookups, err)
			continue
		}
		r.Known = append(r.Known, string(id))
		refs = append(refs, sealedOf(found.Matches)...)
	}
	nameless, err := withoutID(ctx, vault, r.Volume)
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
		return hint.Wrap(fmt.Errorf("a key for it is known, but %w", bitlocker.ErrNotHeld), "`fleetmend keys sync --passwords` reads it into the vault")
	}
	if err := d.Unlock(ctx, how); err != nil {
		return err
	}
	revealed, err := vault.RevealAll(ctx, auditVerify, reason, refs...)
	if err != nil {
		return err
	}
	for _, key := range revealed {
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
func withoutID(ctx context.Context, vault *bitlocker.Vault, v *fve.Volume) ([]bitlocker.KeyRef, error) {
	host, _, _ := strings.Cut(v.Description, " ")
	if host == "" {
		return nil, nil
	}
	found, err := vault.Find(ctx, bitlocker.Query{Host: host})
	if err != nil && !notStored(err) {
		return nil, err
	}
	return slices.DeleteFunc(sealedOf(found.Matches), func(ref bitlocker.KeyRef) bool { return ref.ID.Known() }), nil
}

// sealedOf are the references whose passwords the vault holds.
func sealedOf(matches []bitlocker.Match) (held []bitlocker.KeyRef) {
	for _, m := range matches {
		if m.State == bitlocker.StateSealed {
			held = append(held, m.KeyRef)
		}
	}
	return held
}

// Typed reads a recovery password from the first line of a file; "-" is stdin.
func Typed(stdin io.Reader, name string) (bitlocker.Password, error) {
	text, err := textfile.Text{}, error(nil)
	if name == "-" {
		text, err = textfile.ReadFrom(stdin, textfile.MaxSecret)
	} else {
		text, err = textfile.Read(name, textfile.MaxSecret)
	}
	if err != nil {
		return bitlocker.Password{}, fmt.Errorf("read the recovery password: %w", err)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(text.Content), "\n")
	password, err := bitlocker.ParsePassword(strings.TrimSpace(line))
	if err != nil {
		err = hint.Wrap(err, "compare that group with the paper or the screen it came from")
	}
	return password, err
}
