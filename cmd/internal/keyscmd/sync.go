package keyscmd

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/connect"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/keys"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

func newSync(c *command.Context) *cobra.Command {
	var access accessFlags
	var r keys.SyncRequest
	var reason string
	cmd := &cobra.Command{
		Use: "sync", Short: "Read which keys the directories keep, and with --passwords the keys themselves", Args: command.NoArgs,
		Long: `Read from Active Directory, Entra ID and the database of Configuration Manager or MBAM, as the settings name them, which recovery
keys there are. No password is read and none is needed. What a source no longer lists is flagged and kept.

With --passwords every password that is not in the vault yet is read into it as well, for the day the directories are down.
Entra ID records each one in its own log. The exit code is 3 where some could not be read.`,
		Example: "fleetmend keys sync\nfleetmend keys sync --from ad --full\nfleetmend keys sync --passwords --reason \"monthly snapshot\"",
		RunE: c.At(func(ctx context.Context, d *desk.Desk, _ []string) error {
			all, err := withReason(ctx, c, reason, func(reason string) ([]keys.Synced, error) {
				return keys.Sync(ctx, d, r, reason, access.Access)
			})
			if len(all) > 0 {
				if err := c.Page(all, command.Texts(all)); err != nil {
					return err
				}
			}
			if err != nil {
				return coded(err)
			}
			for _, s := range all {
				if s.Passwords != nil && len(s.Passwords.Failed) > 0 {
					return command.Silently(command.ExitSomeFailed)
				}
			}
			return nil
		}),
	}
	access.add(cmd)
	kinds := connect.KeyKinds()
	cmd.Flags().StringVar(&r.From, "from", "", strings.Join(kinds, ", ")+" alone (default: each that the settings name)")
	cmd.Flags().BoolVar(&r.Full, "full", false, "read all of them, and flag what is gone")
	cmd.Flags().BoolVar(&r.Passwords, "passwords", false, "read the passwords into the vault as well")
	cmd.Flags().StringVar(&reason, "reason", "", "with --passwords: why, for the audit")
	command.Complete(cmd, "from", kinds...)
	command.Exits(cmd, command.ExitSomeFailed, command.ExitAuth)
	return command.Formats(cmd, terminal.OneFormats...)
}

func newImport(c *command.Context) *cobra.Command {
	var access accessFlags
	var f command.TableFlags
	var t keys.Table
	cmd := &cobra.Command{
		Use: "import FILE-OR-FOLDER", Short: "Read keys with their passwords from tables, Windows' own key files, manage-bde",
		Long: `Read recovery keys from a file and seal their passwords in the vault; - reads stdin. It may be a table or JSON (CrowdStrike's
KeyID,RecoveryKey, exports of Active Directory, Entra, MBAM, Configuration Manager, Fleet), a file that Windows saved
("BitLocker Recovery Key ....TXT") or what manage-bde -protectors -get printed, in any language. Of a folder every *.txt, *.csv, *.json
and *.log is read, also in the folders in it. docs/tables.md lists what is known.

Encoding, delimiter and the meaning of columns are found out and said; flags set them. A bad row is named with its line, a
mistyped password with the group that is wrong, and the rest is imported, all of it in one step. A key that comes without a
key ID is kept under its machine's name, as UNKNOWN-NAME.

The exit code is 3 where some rows were left out. The file itself still holds the passwords in clear: destroy it.`,
		Example: "fleetmend keys import keys.csv\nfleetmend keys import //server/keys\nfleetmend keys import export.csv --map Kennwort=password --map Rechner=name",
		Args:    command.Exactly(1, "a file or folder"),
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) (err error) {
			if t.Delimiter, t.DateOrder, err = f.Parse(); err != nil {
				return err
			}
			t.File, t.Map, t.Encoding, t.Stdin = args[0], f.Map, f.Encoding, c.In
			imported, err := keys.Import(ctx, d, t, access.Access)
			if err != nil {
				return coded(err)
			}
			if err := c.Page(imported, imported.Text()); err != nil {
				return err
			}
			if len(imported.BadRows) > 0 || imported.Unsealed > 0 {
				return command.Silently(command.ExitSomeFailed)
			}
			return nil
		}),
	}
	access.add(cmd)
	cmd.Flags().StringVar(&t.Source, "source", "", "name of the source (default: csv: and the file's name)")
	cmd.Flags().StringVar(&t.Reason, "reason", "", "a word for the audit (default: that the file was imported)")
	f.Add(cmd, "column=field, where the header is not understood: key, password, name, fqdn, serial, device, guid, dn, created, volume, volumeid; column=- leaves one out")
	command.Exits(cmd, command.ExitSomeFailed)
	return command.Formats(cmd, terminal.OneFormats...)
}
