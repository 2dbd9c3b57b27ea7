package keys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"filippo.io/age"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// Status says what the vault holds and what unlocks it.
func Status(ctx context.Context, d *desk.Desk) (bitlocker.Status, error) {
	vault, err := d.Vault(ctx)
	if err != nil {
		return bitlocker.Status{}, err
	}
	return vault.Status(ctx)
}

// Protection is a way to unlock the vault: a public key of age, or a passphrase.
type Protection struct {
	Recipient      string // age1...; "": a passphrase
	Label          string // who holds the identity
	PassphraseFile string // with the new passphrase in its first line; "": it is asked for
}

// Protect adds a way to unlock the vault, or changes its passphrase. A vault that has one is unlocked first.
func Protect(ctx context.Context, d *desk.Desk, p Protection, how desk.Access) error {
	vault, err := d.Vault(ctx)
	if err != nil {
		return err
	}
	status, err := vault.Status(ctx)
	if err != nil {
		return err
	}
	if len(status.Slots) > 0 {
		if err := d.Unlock(ctx, how); err != nil {
			return err
		}
	}
	if p.Recipient == "" {
		text, err := newPassphrase(ctx, d, p.PassphraseFile)
		if err != nil {
			return err
		}
		return vault.ProtectWithPassphrase(ctx, text)
	}
	r, err := recipient(p.Recipient)
	if err != nil {
		return err
	}
	if p.Label == "" {
		p.Label = p.Recipient[:min(len(p.Recipient), 12)]
	}
	return vault.ProtectWithRecipients(ctx, p.Label, r)
}

func recipient(text string) (age.Recipient, error) {
	r, err := age.ParseX25519Recipient(text)
	if err != nil {
		return nil, hint.Mistake(fmt.Errorf("--recipient %q is no public key of age", text), "it begins with age1; age-keygen -y prints it for an identity file")
	}
	return r, nil
}

// newPassphrase reads a passphrase from a file, or twice from a person.
func newPassphrase(ctx context.Context, d *desk.Desk, file string) (secret.String, error) {
	if file != "" {
		return d.Connect.Secret(file, "the file must have the new passphrase in its first line")
	}
	q := question.Question{ID: "vault.new-passphrase", Kind: question.NewSecret, Text: "New passphrase", Flag: "give --new-passphrase-file FILE"}
	answer, err := d.Ask.Ask(ctx, q)
	if needed := (*question.NeededError)(nil); errors.As(err, &needed) {
		return secret.String{}, question.Needed(q, "no new passphrase, and there is nobody to ask")
	}
	return answer.Secret, err
}

// UseKeyring lets the keyring of whoever is logged on unlock the vault from now on.
func UseKeyring(ctx context.Context, d *desk.Desk, how desk.Access) error {
	if err := d.Unlock(ctx, how); err != nil {
		return err
	}
	vault, err := d.Vault(ctx)
	if err != nil {
		return err
	}
	return vault.ProtectWithKeyring(ctx)
}

// LeaveKeyring ends what [UseKeyring] began, and reports whether the keyring had unlocked the vault.
func LeaveKeyring(ctx context.Context, d *desk.Desk) (bool, error) {
	vault, err := d.Vault(ctx)
	if err != nil {
		return false, err
	}
	status, err := vault.Status(ctx)
	if err != nil {
		return false, err
	}
	for _, slot := range status.Slots {
		if slot.Kind == bitlocker.SlotKeyring {
			return true, hint.Wrap(vault.RemoveSlot(ctx, slot.ID), "choose a passphrase with `fleetmend keys protect`, then lock")
		}
	}
	return false, nil
}

// SnapshotRequest says for whom a snapshot is sealed.
type SnapshotRequest struct {
	Out            string // file to write
	Recipient      string // public key of age that alone opens it; "": a passphrase
	PassphraseFile string // of the snapshot; "": it is asked for
}

// Export writes all keys into one sealed file, whole or not at all.
func Export(ctx context.Context, d *desk.Desk, r SnapshotRequest, reason string, how desk.Access) (bitlocker.SnapshotReport, error) {
	if r.Out == "" {
		return bitlocker.SnapshotReport{}, hint.Mistake(errors.New("no file to write"), "name it with --out, such as --out keys.age")
	}
	vault, err := open(ctx, d)
	if err != nil {
		return bitlocker.SnapshotReport{}, err
	}
	if err := whyReveal(reason); err != nil {
		return bitlocker.SnapshotReport{}, err
	}
	if err := d.Unlock(ctx, how); err != nil {
		return bitlocker.SnapshotReport{}, err
	}
	var to age.Recipient
	if r.Recipient != "" {
		to, err = recipient(r.Recipient)
	} else {
		var text secret.String
		if text, err = newPassphrase(ctx, d, r.PassphraseFile); err == nil {
			to, err = vault.SnapshotPassphrase(text)
		}
	}
	if err != nil {
		return bitlocker.SnapshotReport{}, err
	}
	return vault.ExportFile(ctx, r.Out, reason, to)
}

// Snapshot names a snapshot and what opens it.
type Snapshot struct {
	File           string
	Identity       string // age identity file
	PassphraseFile string // "": it is asked for
	Reason         string // "": that it was imported
}

// ImportSnapshot takes in a snapshot, all of it or nothing.
func ImportSnapshot(ctx context.Context, d *desk.Desk, s Snapshot, how desk.Access) (bitlocker.SnapshotReport, error) {
	vault, err := open(ctx, d)
	if err != nil {
		return bitlocker.SnapshotReport{}, err
	}
	if err := d.Unlock(ctx, how); err != nil {
		return bitlocker.SnapshotReport{}, err
	}
	identities, err := s.identities(ctx, d)
	if err != nil {
		return bitlocker.SnapshotReport{}, err
	}
	in, err := os.Open(s.File)
	if err != nil {
		return bitlocker.SnapshotReport{}, fmt.Errorf("read the snapshot: %w", err)
	}
	defer in.Close()
	if s.Reason == "" {
		s.Reason = "imported from " + filepath.Base(s.File)
	}
	report, err := vault.Import(ctx, in, s.Reason, identities...)
	if errors.Is(err, bitlocker.ErrWrongKey) {
		err = hint.Wrap(err, "nothing was taken in")
	}
	return report, err
}

func (s Snapshot) identities(ctx context.Context, d *desk.Desk) ([]age.Identity, error) {
	if s.Identity != "" {
		return desk.Identities(s.Identity)
	}
	var text secret.String
	if s.PassphraseFile != "" {
		var err error
		if text, err = d.Connect.Secret(s.PassphraseFile, "--snapshot-passphrase-file names a file with the snapshot's passphrase in its first line"); err != nil {
			return nil, err
		}
	} else {
		q := question.Question{ID: "snapshot.passphrase", Kind: question.Secret, Text: "Passphrase of the snapshot", Flag: "give --snapshot-passphrase-file or --snapshot-identity"}
		answer, err := d.Ask.Ask(ctx, q)
		if needed := (*question.NeededError)(nil); errors.As(err, &needed) {
			return nil, question.Needed(q, "nothing to open the snapshot with, and there is nobody to ask")
		}
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
