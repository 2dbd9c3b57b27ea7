package bitlocker

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"filippo.io/age"
	"github.com/zalando/go-keyring"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// ErrLocked is returned where a password is needed and the vault is locked.
var ErrLocked = errors.New("the key vault is locked")

// ErrWrongKey is returned for a passphrase or identity that does not open the vault or snapshot. It says no more.
var ErrWrongKey = errors.New("this does not open it")

// Slot is one way to unlock the vault. Each wraps the same data key, so that a passphrase is changed without touching the
// passwords.
type Slot struct {
	ID      int64     `json:"id"`
	Kind    SlotKind  `json:"kind"`
	Label   string    `json:"label,omitempty"` // the public keys, shortened; who they belong to
	Created time.Time `json:"created"`
}

// SlotKind is what a slot asks for.
type SlotKind string

// The kinds of slot.
const (
	SlotPassphrase SlotKind = "passphrase"
	SlotIdentity   SlotKind = "identity" // an age identity file
	SlotKeyring    SlotKind = "keyring"  // the keyring of the operating system
)

// Keyring keeps one secret text per vault for the user who is logged on.
type Keyring interface {
	Get(service, account string) (string, error)
	Set(service, account, value string) error
}

const keyringService = "fleetmend key vault"

type systemKeyring struct{}

func (systemKeyring) Get(service, account string) (string, error) {
	return keyring.Get(service, account)
}
func (systemKeyring) Set(service, account, value string) error {
	return keyring.Set(service, account, value)
}

// ProtectWithPassphrase sets the passphrase, in place of one that is there. A vault without data key gets one and is
// unlocked; any other must be unlocked. A passphrase has at least 8 characters.
func (v *Vault) ProtectWithPassphrase(ctx context.Context, passphrase secret.String) error {
	r, err := v.scrypt(passphrase)
	if err != nil {
		return fmt.Errorf("protect key vault: %w", err)
	}
	return v.protect(ctx, SlotPassphrase, "", true, r)
}

// ProtectWithRecipients adds a slot for age public keys, any of whose identities then unlocks the vault.
func (v *Vault) ProtectWithRecipients(ctx context.Context, label string, recipients ...age.Recipient) error {
	if len(recipients) == 0 {
		return fmt.Errorf("protect key vault: no public key is given")
	}
	return v.protect(ctx, SlotIdentity, label, false, recipients...)
}

// ProtectWithKeyring puts a new identity into the keyring of the user who is logged on, in place of one that is there.
func (v *Vault) ProtectWithKeyring(ctx context.Context) error {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return fmt.Errorf("protect key vault: %w", err)
	}
	name, err := v.id(ctx)
	if err != nil {
		return err
	}
	if has, err := v.protected(ctx); err != nil {
		return err
	} else if has && v.dataKey() == nil {
		return locked()
	}
	// The identity goes under a name of its own, so that the old slot opens until the new one is committed.
	account := name + "/" + id.Recipient().String()[4:16]
	if err := v.keyring.Set(keyringService, account, id.String()); err != nil {
		return hint.Wrap(fmt.Errorf("protect key vault: write to the keyring: %w", err), "a server without desktop has no keyring; use a passphrase or an identity file")
	}
	return v.protect(ctx, SlotKeyring, account, true, id.Recipient())
}

func (v *Vault) scrypt(passphrase secret.String) (age.Recipient, error) {
	if len([]rune(passphrase.Reveal())) < 8 {
		return nil, errors.New("a passphrase needs at least 8 characters")
	}
	r, err := age.NewScryptRecipient(passphrase.Reveal())
	if err == nil && v.work > 0 {
		r.SetWorkFactor(v.work)
	}
	return r, err
}

func (v *Vault) protected(ctx context.Context) (bool, error) {
	slots, err := v.slots(ctx)
	return len(slots) > 0, err
}

func (v *Vault) protect(ctx context.Context, kind SlotKind, label string, replace bool, recipients ...age.Recipient) error {
	key := v.dataKey()
	fresh := key == nil
	if fresh {
		if has, err := v.protected(ctx); err != nil {
			return err
		} else if has {
			return locked()
		}
		key = make([]byte, chacha20poly1305.KeySize)
		if _, err := rand.Read(key); err != nil {
			return fmt.Errorf("protect key vault: %w", err)
		}
	}
	var wrapped bytes.Buffer
	w, err := age.Encrypt(&wrapped, recipients...)
	if err == nil {
		_, err = w.Write(key)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return fmt.Errorf("protect key vault: %w", err)
	}
	if err := v.record(ctx, audit.Entry{Action: audit.LockKeys, Detail: fmt.Sprintf("%s %s", kind, label)}); err != nil {
		return err
	}
	err = v.write(ctx, func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM slots").Scan(&n); err != nil {
			return err
		}
		if fresh && n > 0 {
			return errors.New("another process has set its key meanwhile; unlock it first")
		}
		if replace {
			if _, err := tx.ExecContext(ctx, "DELETE FROM slots WHERE kind = ?", kind); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO slots (kind, label, wrapped, created) VALUES (?, ?, ?, ?)", kind, label, wrapped.Bytes(), nanos(v.now()))
		return err
	})
	if err != nil {
		return fmt.Errorf("protect key vault: %w", err)
	}
	if fresh {
		v.setKey(key)
	}
	return v.forget(ctx)
}

// forget empties the WAL, where a replaced slot would stand for a while. Another process that reads may prevent it; then
// the next checkpoint does it.
func (v *Vault) forget(ctx context.Context) error {
	if _, err := v.db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return fmt.Errorf("protect key vault: %w", err)
	}
	return nil
}

// RemoveSlot takes away one way to unlock. The last one is not removed. Who kept an old copy of the file and had the old
// way can still open that copy.
func (v *Vault) RemoveSlot(ctx context.Context, id int64) error {
	if err := v.record(ctx, audit.Entry{Action: audit.LockKeys, Detail: fmt.Sprintf("slot %d removed", id)}); err != nil {
		return err
	}
	err := v.write(ctx, func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM slots").Scan(&n); err != nil {
			return err
		}
		if n == 1 {
			return hint.Wrap(errors.New("it is the last one; the passwords would be lost"), "add another way to unlock first")
		}
		r, err := tx.ExecContext(ctx, "DELETE FROM slots WHERE id = ?", id)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return errors.Join(errors.New("there is no such slot"), err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove slot %d of the key vault: %w", id, err)
	}
	return v.forget(ctx)
}

// UnlockWithPassphrase unlocks the vault until [Vault.Lock]. It takes about a second and 256 MB by intent (scrypt); the memory
// is given back before it returns. A wrong passphrase gives [ErrWrongKey].
func (v *Vault) UnlockWithPassphrase(ctx context.Context, passphrase secret.String) error {
	id, err := age.NewScryptIdentity(passphrase.Reveal())
	if err != nil {
		return wrongKey("passphrase")
	}
	id.SetMaxWorkFactor(22)
	defer debug.FreeOSMemory()
	return v.unlock(ctx, SlotPassphrase, "passphrase", id)
}

// UnlockWithIdentities unlocks with age identities, as [age.ParseIdentities] reads them from a file.
func (v *Vault) UnlockWithIdentities(ctx context.Context, identities ...age.Identity) error {
	return v.unlock(ctx, SlotIdentity, "identity", identities...)
}

// UnlockWithKeyring unlocks with what the keyring of the user who is logged on holds.
func (v *Vault) UnlockWithKeyring(ctx context.Context) error {
	slots, err := v.slots(ctx)
	if err != nil {
		return err
	}
	for _, s := range slots {
		if s.Kind != SlotKeyring {
			continue
		}
		text, err := v.keyring.Get(keyringService, s.Label)
		if err != nil {
			return hint.Wrap(fmt.Errorf("unlock key vault: read the keyring: %w", err), "the keyring is another user's or another computer's; use the passphrase or an identity file")
		}
		id, err := age.ParseX25519Identity(text)
		if err != nil {
			return wrongKey("identity in the keyring")
		}
		return v.unlock(ctx, SlotKeyring, "identity in the keyring", id)
	}
	return v.unlock(ctx, SlotKeyring, "keyring")
}

func wrongKey(what string) error {
	return hint.Wrapf(fmt.Errorf("unlock key vault: wrong %s: %w", what, ErrWrongKey), "nothing was changed; try again, or use another way to unlock (`fleetmend keys status` lists them)")
}

func (v *Vault) unlock(ctx context.Context, kind SlotKind, what string, identities ...age.Identity) error {
	rows, err := v.db.QueryContext(ctx, "SELECT kind, wrapped FROM slots ORDER BY id DESC")
	if err != nil {
		return fmt.Errorf("unlock key vault: %w", err)
	}
	defer func() { _ = rows.Close() }()
	all, tried := 0, 0
	for rows.Next() {
		var k SlotKind
		var wrapped []byte
		if err := rows.Scan(&k, &wrapped); err != nil {
			return fmt.Errorf("unlock key vault: %w", err)
		}
		all++
		if k != kind {
			continue
		}
		tried++
		if key, err := unwrap(wrapped, identities); err == nil {
			v.setKey(key)
			return rows.Close()
		}
	}
	switch err := rows.Err(); {
	case err != nil:
		return fmt.Errorf("unlock key vault: %w", err)
	case all == 0:
		return hint.Wrap(errors.New("unlock key vault: it has no key yet"), "set one with `fleetmend keys protect`")
	case tried == 0:
		return hint.Wrapf(fmt.Errorf("unlock key vault: it is not protected by %s", kind), "`fleetmend keys status` lists the ways to unlock it")
	}
	return wrongKey(what)
}

func unwrap(wrapped []byte, identities []age.Identity) ([]byte, error) {
	if len(identities) == 0 {
		return nil, ErrWrongKey
	}
	r, err := age.Decrypt(bytes.NewReader(wrapped), identities...)
	if err != nil {
		return nil, err
	}
	key, err := io.ReadAll(io.LimitReader(r, chacha20poly1305.KeySize+1))
	if err == nil && len(key) != chacha20poly1305.KeySize {
		err = ErrWrongKey
	}
	return key, err
}

// Lock forgets the data key. Go may have copied it in memory; nothing can be promised about that.
func (v *Vault) Lock() { v.setKey(nil) }

func (v *Vault) setKey(key []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.key)
	v.key = key
}

// dataKey gives a copy, which Lock cannot clear under a running call.
func (v *Vault) dataKey() []byte {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return bytes.Clone(v.key)
}

func locked() error {
	return hint.Wrap(ErrLocked, "unlock it with its passphrase (--passphrase-file, or at the prompt), an age identity (--identity FILE) or the keyring (--keyring)")
}

func (v *Vault) id(ctx context.Context) (id string, err error) {
	if err := v.db.QueryRowContext(ctx, "SELECT id FROM vault").Scan(&id); err != nil {
		return "", fmt.Errorf("read key vault: %w", err)
	}
	return id, nil
}

func (v *Vault) slots(ctx context.Context) ([]Slot, error) {
	rows, err := v.db.QueryContext(ctx, "SELECT id, kind, label, created FROM slots ORDER BY id")
	if err != nil {
		return nil, fmt.Errorf("read key vault: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []Slot
	for rows.Next() {
		var s Slot
		var created int64
		if err := rows.Scan(&s.ID, &s.Kind, &s.Label, &created); err != nil {
			return nil, fmt.Errorf("read key vault: %w", err)
		}
		s.Created = fromNanos(created)
		out = append(out, s)
	}
	return out, rows.Err()
}

// record writes to the audit, which must be there.
func (v *Vault) record(ctx context.Context, entries ...audit.Entry) error {
	if v.audit == nil {
		return errors.New("the key vault has no audit, and gives nothing away without one")
	}
	_, err := v.audit.Append(ctx, entries...)
	return err
}
