package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/textfile"
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

// keysConfig holds defaults for the flags of the same names.
type keysConfig struct {
	PassphraseFile string `yaml:"passphrase-file"`
	Identity       string `yaml:"identity"` // age identity file
}

// desk is the vault with its audit.
type desk struct {
	*bitlocker.Vault
	audit *audit.Log
}

func (a *app) openDesk(ctx context.Context) (*desk, error) {
	log, err := a.openAudit(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := a.stateFolder()
	if err != nil {
		return nil, err
	}
	vault, err := bitlocker.OpenVault(ctx, filepath.Join(dir, "keys.db"), bitlocker.Options{Audit: log})
	if err != nil {
		return nil, fmt.Errorf("open the key vault: %w", err)
	}
	a.closers = append(a.closers, vault)
	return &desk{vault, log}, nil
}

func (a *app) openAudit(ctx context.Context) (*audit.Log, error) {
	dir, err := a.stateFolder()
	if err != nil {
		return nil, err
	}
	operator, err := a.operator()
	if err != nil {
		return nil, err
	}
	log, err := audit.Open(ctx, filepath.Join(dir, "audit.db"), operator)
	if err != nil {
		return nil, fmt.Errorf("open the audit: %w", err)
	}
	log.Tell(a.warn)
	a.closers = append(a.closers, log)
	return log, nil
}

// operator is who the audit names: the user of the operating system, and who the directory is asked as.
func (a *app) operator() (audit.Operator, error) {
	c, err := a.config()
	if err != nil {
		return audit.Operator{}, err
	}
	who, err := user.Current()
	if err != nil {
		return audit.Operator{}, hint.Wrap(fmt.Errorf("find out who is logged on: %w", err), "the audit needs a name; the account must be known to this computer")
	}
	host, err := os.Hostname()
	if err != nil {
		return audit.Operator{}, fmt.Errorf("find out the name of this computer: %w", err)
	}
	return audit.Operator{OSUser: who.Username, Identity: c.Directory.User, Host: host}, nil
}

// access says how the vault is unlocked.
type access struct {
	passphraseFile string
	identity       string
	keyring        bool
}

func (w *access) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&w.passphraseFile, "passphrase-file", "", "file with the vault's passphrase in its first line (default: you are asked)")
	cmd.Flags().StringVar(&w.identity, "identity", "", "age identity file that unlocks the vault")
	cmd.Flags().BoolVar(&w.keyring, "keyring", false, "unlock the vault with your keyring, and with nothing else")
	cmd.MarkFlagsMutuallyExclusive("passphrase-file", "identity", "keyring")
}

// unlock opens the vault for passwords: with what the flags name, else the settings, else the keyring, else a person.
func (a *app) unlock(ctx context.Context, d *desk, w access) error {
	if w == (access{}) {
		c, err := a.config()
		if err != nil {
			return err
		}
		w.passphraseFile, w.identity = c.Keys.PassphraseFile, c.Keys.Identity
	}
	switch {
	case w.passphraseFile != "":
		text, err := a.secretFrom(w.passphraseFile, "--passphrase-file names a file with the passphrase in its first line")
		if err != nil {
			return err
		}
		return d.UnlockWithPassphrase(ctx, text)
	case w.identity != "":
		identities, err := readIdentities(w.identity)
		if err != nil {
			return err
		}
		return d.UnlockWithIdentities(ctx, identities...)
	case w.keyring:
		return d.UnlockWithKeyring(ctx)
	}
	return a.unlockByItself(ctx, d)
}

func (a *app) unlockByItself(ctx context.Context, d *desk) error {
	status, err := d.Status(ctx)
	if err != nil {
		return err
	}
	has := func(kind bitlocker.SlotKind) bool {
		return slices.ContainsFunc(status.Slots, func(s bitlocker.Slot) bool { return s.Kind == kind })
	}
	if len(status.Slots) == 0 {
		return hint.Wrap(errors.New("the key vault has no passphrase yet, so that it holds no password"), "choose one with fleetmend keys protect")
	}
	if has(bitlocker.SlotKeyring) {
		if err = d.UnlockWithKeyring(ctx); err == nil {
			return nil
		}
	}
	if has(bitlocker.SlotPassphrase) && a.canAsk() {
		text, err := a.streams.askSecret("Passphrase of the key vault: ")
		if err != nil {
			return err
		}
		return d.UnlockWithPassphrase(ctx, secret.New(text))
	}
	if err != nil {
		return err
	}
	return hint.Wrap(bitlocker.ErrLocked, "unlock it with its passphrase (--passphrase-file, or at the prompt), an age identity (--identity FILE) or the keyring (--keyring)")
}

func readIdentities(file string) ([]age.Identity, error) {
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

// reasonFor gives the reason for a reveal, asked for where a person is there.
func (a *app) reasonFor(reason string) (string, error) {
	return a.reasonWhy(reason, "Why is the key needed", errors.New("a reason is needed before a key leaves the vault, and nothing was shown"))
}

// reasonWhy gives the reason for the audit; without one and without anybody to ask, the error.
func (a *app) reasonWhy(reason, question string, missing error) (string, error) {
	if strings.TrimSpace(reason) != "" {
		return strings.TrimSpace(reason), nil
	}
	if a.canAsk() {
		answer, err := a.streams.ask(question + "? It is written to the audit: ")
		if err != nil {
			return "", err
		}
		if answer != "" {
			return answer, nil
		}
	}
	return "", usage(missing, `give it with --reason, such as --reason "INC-1234, at the desk of the user"`)
}
