// Package keyscmd are the commands around recovery keys: the noun keys.
//
// [New] makes it. Each command reads flags into a request, asks for what must be said before, lets desk/keys do it, and prints
// what came of it. No use case lives here.
package keyscmd

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/keys"
	"github.com/fleetmend/fleetmend/internal/question"
)

// New makes the noun keys.
func New(c *command.Context) *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "BitLocker recovery keys: find, show, sheet, coverage, rotate", GroupID: "work", Args: command.NoArgs,
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
		newFind(c), newShow(c), newSheet(c),
		newSync(c), newImport(c), newCoverage(c), newRotate(c),
		newProtect(c), newStatus(c), newUnlock(c), newLock(c),
		newExport(c), newImportSnapshot(c), newVerify(c),
	)
	return cmd
}

// accessFlags say how the vault is unlocked.
type accessFlags struct{ desk.Access }

func (f *accessFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.PassphraseFile, "passphrase-file", "", "file with the vault's passphrase in its first line (default: you are asked)")
	cmd.Flags().StringVar(&f.Identity, "identity", "", "age identity file that unlocks the vault")
	cmd.Flags().BoolVar(&f.Keyring, "keyring", false, "unlock the vault with your keyring, and with nothing else")
	cmd.MarkFlagsMutuallyExclusive("passphrase-file", "identity", "keyring")
}

// withReason calls do with the reason of the flag, and once more with what a person says where do needs one.
func withReason[T any](ctx context.Context, c *command.Context, reason string, do func(reason string) (T, error)) (T, error) {
	got, err := do(reason)
	needed, ok := errors.AsType[*question.NeededError](err)
	if !ok || needed.Question.ID != "keys.reason" || !c.CanAsk() {
		return got, err
	}
	q := needed.Question
	q.Text = "Why is the key needed? It is written to the audit"
	answer, asked := c.Ask(ctx, q)
	switch {
	case asked != nil:
		return got, asked
	case answer.Text == "":
		return got, err
	}
	return do(answer.Text)
}

// coded gives errors of keys their exit code.
func coded(err error) error {
	switch {
	case err == nil:
		return nil
	case command.Is[*keys.NothingHeldError](err), command.Is[*keys.LeftOutError](err), errors.Is(err, keys.ErrNotStored) && !errors.Is(err, keys.ErrNotHeld):
		return command.Coded(command.ExitNothing, err)
	case keys.Rejected(err):
		return command.Coded(command.ExitAuth, err)
	}
	return err
}
