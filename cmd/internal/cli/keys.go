package cli

import (
	"github.com/spf13/cobra"
)

func newKeys(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "keys",
		Short:   "BitLocker recovery keys: find, show, print, check, rotate",
		GroupID: "work",
		Args:    noArgs,
		Long: `The key desk knows which BitLocker recovery keys exist, in which directory, and for which machine. Finding needs no
secret. Passwords lie sealed in the vault, in the state folder, and every one that leaves it is written to the audit first.

The first time:
  fleetmend keys protect            choose a passphrase
  fleetmend keys sync               read which keys there are
On the day:
  fleetmend keys find 4C4B6D8A      the digits on the recovery screen
  fleetmend keys show 4C4B6D8A --reason "INC-1234"
And afterwards:
  fleetmend keys rotate 4C4B6D8A --reason "INC-1234"`,
	}
	cmd.AddCommand(
		newKeysFind(a), newKeysShow(a), newKeysSheet(a), newKeysVerify(a),
		newKeysSync(a), newKeysImport(a), newKeysCoverage(a), newKeysRotate(a),
		newKeysProtect(a), newKeysStatus(a), newKeysUnlock(a), newKeysLock(a),
		newKeysExport(a), newKeysImportSnapshot(a),
	)
	return cmd
}
