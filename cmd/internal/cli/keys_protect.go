package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/internal/secret"
)

func newKeysProtect(a *app) *cobra.Command {
	var w access
	var file, recipient, label string
	cmd := &cobra.Command{
		Use:     "protect",
		Aliases: []string{"passphrase"},
		Short:   "Choose the vault's passphrase, change it, or let an age identity open it too",
		Long: `Choose the passphrase that seals the passwords in the vault, or change it. A vault that has one must be unlocked first, as
for every command that needs passwords. With --recipient the holder of an age identity can unlock it as well.

The passphrase is asked for, or read from the first line of --new-passphrase-file; it is never on the command line.`,
		Example: "fleetmend keys protect\nfleetmend keys protect --recipient age1qx... --label \"the safe\" --passphrase-file old",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			d, err := a.openDesk(ctx)
			if err != nil {
				return err
			}
			status, err := d.Status(ctx)
			if err != nil {
				return err
			}
			if len(status.Slots) > 0 {
				if err := a.unlock(ctx, d, w); err != nil {
					return err
				}
			}
			if recipient != "" {
				return a.addRecipient(ctx, d, recipient, label)
			}
			text, err := a.newPassphrase(cmd.Context(), file)
			if err != nil {
				return err
			}
			if err := d.ProtectWithPassphrase(ctx, text); err != nil {
				return err
			}
			a.say("The passphrase is set. Nobody can open the vault without it; keep it where you find it on a bad day.")
			return nil
		},
	}
	w.flags(cmd)
	cmd.Flags().StringVar(&file, "new-passphrase-file", "", "file with the new passphrase in its first line")
	cmd.Flags().StringVar(&recipient, "recipient", "", "public key age1... whose identity may unlock the vault too")
	cmd.Flags().StringVar(&label, "label", "", "who holds the identity, for keys status")
	cmd.MarkFlagsMutuallyExclusive("new-passphrase-file", "recipient")
	return cmd
}

func (a *app) addRecipient(ctx context.Context, d *desk, recipient, label string) error {
	r, err := age.ParseX25519Recipient(recipient)
	if err != nil {
		return usage(fmt.Errorf("--recipient %q is no public key of age", recipient), "it begins with age1; age-keygen -y prints it for an identity file")
	}
	if label == "" {
		label = recipient[:min(len(recipient), 12)]
	}
	if err := d.ProtectWithRecipients(ctx, label, r); err != nil {
		return err
	}
	a.say("The holder of the identity of %s can unlock the vault", recipient)
	return nil
}

// newPassphrase reads a passphrase from a file, or twice from a person.
func (a *app) newPassphrase(ctx context.Context, file string) (secret.String, error) {
	if file != "" {
		return a.secretFrom(file, "the file must have the new passphrase in its first line")
	}
	if !a.canAsk() {
		return secret.String{}, usage(errors.New("no new passphrase, and there is nobody to ask"), "give --new-passphrase-file FILE")
	}
	answer, err := a.Ask(ctx, question.Question{ID: "vault.new-passphrase", Kind: question.NewSecret, Text: "New passphrase"})
	return answer.Secret, err
}

func newKeysStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "What the vault holds, from where and how old, and what unlocks it",
		Example: "fleetmend keys status",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := a.openDesk(cmd.Context())
			if err != nil {
				return err
			}
			status, err := d.Status(cmd.Context())
			if err != nil {
				return err
			}
			return one(a.out, a.streams.Out, status, func(w io.Writer) error { return writeStatus(w, status) })
		},
	}
}

func writeStatus(w io.Writer, s bitlocker.Status) error {
	fmt.Fprintf(w, "%s known, %s sealed in the vault\n", counted(s.Refs, "key", "keys"), counted(s.Passwords, "password", "passwords"))
	for _, source := range s.Sources {
		seen := "never read as a whole"
		if !source.Synced.IsZero() {
			seen = "read " + ago(source.Synced, time.Now())
		}
		fmt.Fprintf(w, "  %s%s, %s\n", pad(oneLine(source.Source), 28), counted(source.Refs, "key", "keys"), seen)
	}
	if len(s.Slots) == 0 {
		fmt.Fprintln(w, "It has no passphrase yet: fleetmend keys protect")
	}
	for _, slot := range s.Slots {
		fmt.Fprintf(w, "unlocked by %s%s since %s\n", pad(string(slot.Kind), 12), oneLine(slot.Label), when(slot.Created))
	}
	return nil
}

func newKeysUnlock(a *app) *cobra.Command {
	var w access
	cmd := &cobra.Command{
		Use:   "unlock",
		Short: "Let your keyring unlock the vault, so that nothing asks for the passphrase",
		Long: `Unlock the vault once, and put an identity of its own for it into the keyring of your operating system. Until fleetmend keys
lock every command that needs a password opens the vault by itself, on this computer and for you alone.`,
		Example: "fleetmend keys unlock",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := a.openDesk(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.unlock(cmd.Context(), d, w); err != nil {
				return err
			}
			if err := d.ProtectWithKeyring(cmd.Context()); err != nil {
				return err
			}
			a.say("The keyring unlocks the vault from now on; fleetmend keys lock ends that.")
			return nil
		},
	}
	w.flags(cmd)
	return cmd
}

func newKeysLock(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "lock",
		Short:   "Take the vault away from the keyring",
		Long:    "End what fleetmend keys unlock began: the passphrase or an identity is needed again. The vault is locked between commands in any case.",
		Example: "fleetmend keys lock",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			d, err := a.openDesk(ctx)
			if err != nil {
				return err
			}
			status, err := d.Status(ctx)
			if err != nil {
				return err
			}
			for _, slot := range status.Slots {
				if slot.Kind != bitlocker.SlotKeyring {
					continue
				}
				if err := d.RemoveSlot(ctx, slot.ID); err != nil {
					return hint.Wrap(err, "choose a passphrase with fleetmend keys protect, then lock")
				}
				a.say("The keyring no longer unlocks the vault.")
				return nil
			}
			a.say("The vault is locked; the keyring did not unlock it.")
			return nil
		},
	}
}
