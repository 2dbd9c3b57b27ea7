package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"filippo.io/age"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// Access says how the vault is unlocked. The zero value takes what the settings name, else the keyring, else asks.
type Access struct {
	PassphraseFile string
	Identity       string // age identity file
	Keyring        bool   // with the keyring and with nothing else
}

// Unlock opens the vault for passwords.
func (d *Desk) Unlock(ctx context.Context, w Access) error {
	vault, err := d.Vault(ctx)
	if err != nil {
		return err
	}
	if w == (Access{}) {
		w.PassphraseFile, w.Identity = d.Settings.Keys.PassphraseFile, d.Settings.Keys.Identity
	}
	switch {
	case w.PassphraseFile != "":
		text, err := d.Connect.Secret(w.PassphraseFile, "--passphrase-file names a file with the passphrase in its first line")
		if err != nil {
			return err
		}
		return vault.UnlockWithPassphrase(ctx, text)
	case w.Identity != "":
		identities, err := Identities(w.Identity)
		if err != nil {
			return err
		}
		return vault.UnlockWithIdentities(ctx, identities...)
	case w.Keyring:
		return vault.UnlockWithKeyring(ctx)
	}
	return d.unlockByItself(ctx, vault)
}

func (d *Desk) unlockByItself(ctx context.Context, vault *bitlocker.Vault) error {
	status, err := vault.Status(ctx)
	if err != nil {
		return err
	}
	has := func(kind bitlocker.SlotKind) bool {
		return slices.ContainsFunc(status.Slots, func(s bitlocker.Slot) bool { return s.Kind == kind })
	}
	if len(status.Slots) == 0 {
		return hint.Wrap(errors.New("the key vault has no passphrase yet, so that it holds no password"), "choose one with `fleetmend keys protect`")
	}
	if has(bitlocker.SlotKeyring) {
		if err = vault.UnlockWithKeyring(ctx); err == nil {
			return nil
		}
	}
	if has(bitlocker.SlotPassphrase) {
		answer, asked := d.Ask.Ask(ctx, question.Question{ID: "vault.passphrase", Kind: question.Secret, Text: "Passphrase of the key vault", Flag: howToUnlock})
		var nobody *question.NeededError
		switch {
		case asked == nil:
			return vault.UnlockWithPassphrase(ctx, answer.Secret)
		case !errors.As(asked, &nobody):
			return asked
		}
	}
	if err != nil {
		return err
	}
	return hint.Wrap(bitlocker.ErrLocked, howToUnlock)
}

const howToUnlock = "unlock it with its passphrase (--passphrase-file, or at the prompt), an age identity (--identity FILE) or the keyring (--keyring)"

// Identities reads an age identity file.
func Identities(file string) ([]age.Identity, error) {
	text, err := textfile.Read(file, textfile.MaxSecret)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("read the identity: %w", err), "--identity names a file that age-keygen wrote")
	}
	identities, err := age.ParseIdentities(strings.NewReader(text.Content))
	if err != nil { // the library's words may quote the line
		return nil, hint.Wrap(fmt.Errorf("%s holds no age identity", file), "it is the file that age-keygen wrote, with a line AGE-SECRET-KEY-...")
	}
	return identities, nil
}

// Reason gives the reason for the audit: the one given, or the one asked for with text; missing is said where there is none.
func (d *Desk) Reason(ctx context.Context, given, text, missing string) (string, error) {
	if given = strings.TrimSpace(given); given != "" {
		return given, nil
	}
	q := question.Question{
		ID: "keys.reason", Kind: question.Line, Text: text + "? It is written to the audit",
		Flag: `give it with --reason, such as --reason "INC-1234, at the desk of the user"`,
	}
	answer, err := d.Ask.Ask(ctx, q)
	if needed := (*question.NeededError)(nil); errors.As(err, &needed) || err == nil && answer.Text == "" {
		return "", question.Needed(q, missing)
	}
	return answer.Text, err
}
