package keyscmd

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/keys"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

func newProtect(c *command.Context) *cobra.Command {
	var access accessFlags
	var p keys.Protection
	cmd := &cobra.Command{
		Use: "protect", Aliases: []string{"passphrase"}, Short: "Choose the vault's passphrase, change it, or let an age identity open it too", Args: command.NoArgs,
		Long: `Choose the passphrase that seals the passwords in the vault, or change it. A vault that has one must be unlocked first, as
for every command that needs passwords. With --recipient the holder of an age identity can unlock it as well.

The passphrase is asked for, or read from the first line of --new-passphrase-file; it is never on the command line.`,
		Example: "fleetmend keys protect\nfleetmend keys protect --recipient age1qx... --label \"the safe\" --passphrase-file old",
		RunE: c.At(func(ctx context.Context, d *desk.Desk, _ []string) error {
			if err := keys.Protect(ctx, d, p, access.Access); err != nil {
				return err
			}
			if p.Recipient != "" {
				c.Say("The holder of the identity of %s can unlock the vault", p.Recipient)
				return nil
			}
			c.Say("The passphrase is set. Nobody can open the vault without it; keep it where you find it on a bad day.")
			return nil
		}),
	}
	access.add(cmd)
	cmd.Flags().StringVar(&p.PassphraseFile, "new-passphrase-file", "", "file with the new passphrase in its first line")
	cmd.Flags().StringVar(&p.Recipient, "recipient", "", "public key age1... whose identity may unlock the vault too")
	cmd.Flags().StringVar(&p.Label, "label", "", "who holds the identity, for keys status")
	cmd.MarkFlagsMutuallyExclusive("new-passphrase-file", "recipient")
	return cmd
}

func newStatus(c *command.Context) *cobra.Command {
	return command.Formats(&cobra.Command{
		Use: "status", Short: "What the vault holds, from where and how old, and what unlocks it", Args: command.NoArgs,
		Example: "fleetmend keys status",
		RunE: c.At(func(ctx context.Context, d *desk.Desk, _ []string) error {
			status, err := keys.Status(ctx, d)
			if err != nil {
				return err
			}
			return c.Page(status, keys.StatusText(status, d.Now()))
		}),
	}, terminal.OneFormats...)
}

func newUnlock(c *command.Context) *cobra.Command {
	var access accessFlags
	cmd := &cobra.Command{
		Use: "unlock", Short: "Let your keyring unlock the vault, so that nothing asks for the passphrase", Args: command.NoArgs,
		Long: `Unlock the vault once, and put an identity of its own for it into the keyring of your operating system. Until fleetmend keys
lock every command that needs a password opens the vault by itself, on this computer and for you alone.`,
		Example: "fleetmend keys unlock",
		RunE: c.At(func(ctx context.Context, d *desk.Desk, _ []string) error {
			if err := keys.UseKeyring(ctx, d, access.Access); err != nil {
				return err
			}
			c.Say("The keyring unlocks the vault from now on; `fleetmend keys lock` ends that.")
			return nil
		}),
	}
	access.add(cmd)
	return cmd
}

func newLock(c *command.Context) *cobra.Command {
	return &cobra.Command{
		Use: "lock", Short: "Take the vault away from the keyring", Args: command.NoArgs,
		Long:    "End what fleetmend keys unlock began: the passphrase or an identity is needed again. The vault is locked between commands in any case.",
		Example: "fleetmend keys lock",
		RunE: c.At(func(ctx context.Context, d *desk.Desk, _ []string) error {
			was, err := keys.LeaveKeyring(ctx, d)
			if err == nil {
				c.Say("%s", map[bool]string{true: "The keyring no longer unlocks the vault.", false: "The vault is locked; the keyring did not unlock it."}[was])
			}
			return err
		}),
	}
}

func newExport(c *command.Context) *cobra.Command {
	var access accessFlags
	var r keys.SnapshotRequest
	var reason string
	cmd := &cobra.Command{
		Use: "export", Short: "Write all keys as an encrypted snapshot, for the day the directories are down", Args: command.NoArgs,
		Long: `Write everything that the vault knows, passwords included, into one encrypted file (age) that appears whole or not at all.
It opens with a passphrase of its own, or with the identity of --recipient. The vault must be unlocked.`,
		Example: "fleetmend keys export --out keys.age --reason \"monthly snapshot for the safe\"",
		RunE: c.At(func(ctx context.Context, d *desk.Desk, _ []string) error {
			report, err := withReason(ctx, c, reason, func(reason string) (keys.SnapshotReport, error) {
				return keys.Export(ctx, d, r, reason, access.Access)
			})
			if err != nil {
				return err
			}
			c.Say("%s with %s written to %s", prose.Counted(report.Refs, "key", "keys"), prose.Counted(report.Passwords, "password", "passwords"), r.Out)
			return nil
		}),
	}
	access.add(cmd)
	cmd.Flags().StringVar(&r.Out, "out", "", "file to write, such as keys.age")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit")
	cmd.Flags().StringVar(&r.Recipient, "recipient", "", "public key age1... that alone opens the snapshot")
	cmd.Flags().StringVar(&r.PassphraseFile, "snapshot-passphrase-file", "", "file with the snapshot's passphrase in its first line")
	cmd.MarkFlagsMutuallyExclusive("recipient", "snapshot-passphrase-file")
	return cmd
}

func newImportSnapshot(c *command.Context) *cobra.Command {
	var access accessFlags
	var s keys.Snapshot
	cmd := &cobra.Command{
		Use: "import-snapshot FILE", Short: "Take in a snapshot that keys export wrote, all of it or nothing",
		Example: "fleetmend keys import-snapshot keys.age --reason \"AD is down\"",
		Args:    command.Exactly(1, "a snapshot"),
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			s.File = args[0]
			report, err := keys.ImportSnapshot(ctx, d, s, access.Access)
			if err != nil {
				return err
			}
			c.Say("%s with %s taken in from a snapshot of %s", prose.Counted(report.Refs, "key", "keys"), prose.Counted(report.Passwords, "password", "passwords"), prose.Second(report.Created))
			return nil
		}),
	}
	access.add(cmd)
	cmd.Flags().StringVar(&s.Reason, "reason", "", "a word for the audit (default: that the file was imported)")
	cmd.Flags().StringVar(&s.Identity, "snapshot-identity", "", "age identity file that opens the snapshot")
	cmd.Flags().StringVar(&s.PassphraseFile, "snapshot-passphrase-file", "", "file with the snapshot's passphrase in its first line")
	cmd.MarkFlagsMutuallyExclusive("snapshot-identity", "snapshot-passphrase-file")
	return cmd
}
