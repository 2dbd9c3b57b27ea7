package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/entra"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/prose"
)

// entra signs in at the tenant of the settings and says what is allowed there.
func (e *examination) entra(ctx context.Context) {
	if e.desk.Settings.Entra.Tenant == "" {
		return // many have none, and nothing is missing then
	}
	sources, err := e.desk.Connect.KeySources(ctx, "entra")
	if err != nil {
		e.fail("entra", err)
		return
	}
	tenant, ok := sources[0].(interface {
		Rights(context.Context) (entra.Rights, error)
	})
	if !ok {
		return
	}
	may, err := tenant.Rights(ctx)
	if err != nil {
		e.fail("entra", err)
		return
	}
	e.ok("entra", "%s signs in", sources[0].Name())
	const consent = ", for the application with an administrator's consent"
	e.permission("entra list keys", may.ListKeys, "lists recovery keys", "grant BitlockerKey.ReadBasic.All or BitlockerKey.Read.All"+consent)
	if may.Shown {
		e.permission("entra read keys", may.ReadKeys, "reads recovery keys, says its token", "grant BitlockerKey.Read.All"+consent)
	} else {
		e.warn("entra read keys", "`fleetmend keys show KEY` proves it; the tenant records that", "the token does not show whether the account may read recovery keys, and none was read to try")
	}
	e.permission("entra devices", may.ListDevices, "gives keys the names of their devices", "grant Device.Read.All"+consent)
	e.permission("entra intune", may.ListManaged, "gives keys serial numbers, and finds devices to rotate", "grant DeviceManagementManagedDevices.Read.All"+consent+"; a tenant without Intune has none")
	if may.ListKeys && !may.KeysEscrowed {
		e.warn("entra list keys", "see whether the policy of Intune saves recovery keys to Entra ID", "not one key is listed")
	}
}

func (e *examination) permission(check string, granted bool, means, do string) {
	if granted {
		e.ok(check, "the account %s", means)
		return
	}
	e.warn(check, do, "the account has no right: it would be one that %s", means)
}

var errEnough = errors.New("one is enough")

// database signs in at the database of Configuration Manager or MBAM and reads the first reference there, no password.
func (e *examination) database(ctx context.Context) {
	if e.desk.Settings.MSSQL.Server == "" {
		return
	}
	sources, err := e.desk.Connect.KeySources(ctx, "mssql")
	if err != nil {
		e.fail("mssql", err)
		return
	}
	err = sources[0].Keys(ctx, time.Time{}, func(bitlocker.KeyRef) error { return errEnough })
	switch {
	case errors.Is(err, errEnough):
		e.ok("mssql", "%s signs in and lists recovery keys", sources[0].Name())
	case err != nil:
		e.fail("mssql", err)
	default:
		e.warn("mssql", "see whether this is the database that holds the keys", "%s signs in, and lists not one key", sources[0].Name())
	}
}

// vault says whether the recovery keys of this computer can be opened on the day, and how old they are.
func (e *examination) vault(ctx context.Context) {
	const do = "`fleetmend keys protect`, then `fleetmend keys sync --passwords`: what is in the vault stays usable when the directories are down"
	folder, err := e.desk.Folder()
	if err != nil {
		e.fail("vault", err)
		return
	}
	if _, err := os.Stat(filepath.Join(folder, "keys.db")); errors.Is(err, os.ErrNotExist) {
		e.warn("vault", do, "there is none: every recovery key will have to be read from where it is kept")
		return
	}
	vault, err := e.desk.Vault(ctx)
	if err != nil {
		e.fail("vault", err)
		return
	}
	status, err := vault.Status(ctx)
	if err != nil {
		e.fail("vault", err)
		return
	}
	held := fmt.Sprintf("%s known, %s held", prose.Counted(status.Refs, "key", "keys"), prose.Counted(status.Passwords, "password", "passwords"))
	if len(status.Slots) == 0 {
		e.warn("vault", do, "%s, and nothing to lock passwords with", held)
	} else {
		e.opens(ctx, vault, status, held)
	}
	for _, s := range status.Sources {
		e.age("vault", "`fleetmend keys sync`, best every night", fmt.Sprintf("%s: %s", s.Source, prose.Counted(s.Refs, "key", "keys")), s.Synced)
	}
}

// opens tries what opens the vault without a person, and locks it again.
func (e *examination) opens(ctx context.Context, vault *bitlocker.Vault, status bitlocker.Status, held string) {
	defer vault.Lock()
	has := func(kind bitlocker.SlotKind) bool {
		return slices.ContainsFunc(status.Slots, func(s bitlocker.Slot) bool { return s.Kind == kind })
	}
	keys, access := e.desk.Settings.Keys, desk.Access{Keyring: true}
	by := "the keyring of this computer"
	switch {
	case keys.PassphraseFile != "":
		access, by = desk.Access{PassphraseFile: keys.PassphraseFile}, "keys.passphrase-file"
	case keys.Identity != "":
		access, by = desk.Access{Identity: keys.Identity}, "keys.identity"
	case !has(bitlocker.SlotKeyring):
		e.ok("vault", "%s; a person opens it, which was not tried", held)
		return
	}
	if err := e.desk.Unlock(ctx, access); err != nil {
		e.fail("vault", fmt.Errorf("%s does not open it: %w", by, err))
		return
	}
	e.ok("vault", "%s; %s opens it", held, by)
}
