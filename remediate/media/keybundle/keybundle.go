// Package keybundle seals BitLocker recovery keys for a boot medium: a small list of key IDs and recovery passwords,
// encrypted with a passphrase, with a day on which it is no longer used.
//
// [Seal] writes a bundle, [Open] reads one. The format is age (age-encryption.org/v1) with a scrypt recipient, so the
// age program opens it as well; inside is JSON. The package writes no key anywhere else. The expiry is a rule of this
// program, not of the encryption: who has file and passphrase can read the keys for ever, so the keys of machines that
// were repaired with a medium should be rotated.
package keybundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// Key is the recovery key of one volume.
type Key struct {
	Machine  string        // name, upper case; empty where it is not known
	ID       string        // of the protector: a GUID in upper case, without braces; empty where the source of the key did not say
	Password secret.String // 48 digits in eight groups with hyphens
}

// Bundle is what is sealed.
type Bundle struct {
	Made    time.Time
	Expires time.Time
	Keys    []Key
}

// ErrPassphrase means that the passphrase does not open the bundle.
var ErrPassphrase = errors.New("the passphrase does not open the key bundle")

// ExpiredError says that a bundle must not be used any more.
type ExpiredError struct{ Expires time.Time }

func (e *ExpiredError) Error() string {
	return fmt.Sprintf("the key bundle expired on %s", e.Expires.UTC().Format("2006-01-02 15:04 UTC"))
}

const (
	workFactor    = 17 // scrypt N = 2^17: under a second on a machine in Windows PE
	maxWorkFactor = 20
	maxBundle     = 64 << 20
	minPassphrase = 12
)

type wire struct {
	Version int       `json:"v"`
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires"`
	Keys    []wireKey `json:"keys"`
}

type wireKey struct {
	Machine  string `json:"machine,omitempty"`
	ID       string `json:"id"`
	Password string `json:"password"`
}

// CheckPassphrase refuses a passphrase that [Seal] would refuse.
func CheckPassphrase(passphrase secret.String) error {
	if n := len([]rune(passphrase.Reveal())); n < minPassphrase {
		return hint.Wrap(fmt.Errorf("the passphrase of a key bundle must have at least %d characters", minPassphrase),
			"four words that do not belong together are easy to type at a machine")
	}
	return nil
}

// Seal encrypts a bundle. It refuses a bundle without expiry, a malformed key, and a passphrase below 12 characters.
func Seal(w io.Writer, b Bundle, passphrase secret.String) error {
	if err := CheckPassphrase(passphrase); err != nil {
		return err
	}
	if !b.Expires.After(b.Made) {
		return errors.New("a key bundle needs an expiry after the time it is made")
	}
	out := wire{Version: 1, Made: b.Made.UTC(), Expires: b.Expires.UTC(), Keys: []wireKey{}}
	for _, k := range b.Keys {
		if err := k.Check(); err != nil {
			return err
		}
		out.Keys = append(out.Keys, wireKey{k.Machine, k.ID, k.Password.Reveal()})
	}
	recipient, err := age.NewScryptRecipient(passphrase.Reveal())
	if err != nil {
		return fmt.Errorf("seal keys: %w", err)
	}
	recipient.SetWorkFactor(workFactor)
	sealed, err := age.Encrypt(w, recipient)
	if err != nil {
		return fmt.Errorf("seal keys: %w", err)
	}
	if err := json.NewEncoder(sealed).Encode(out); err != nil {
		return fmt.Errorf("seal keys: %w", err)
	}
	if err := sealed.Close(); err != nil {
		return fmt.Errorf("seal keys: %w", err)
	}
	return nil
}

// Open decrypts a bundle. It returns [ErrPassphrase] or an [*ExpiredError]; now is what the expiry is compared with.
func Open(r io.Reader, passphrase secret.String, now time.Time) (*Bundle, error) {
	identity, err := age.NewScryptIdentity(passphrase.Reveal())
	if err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	identity.SetMaxWorkFactor(maxWorkFactor)
	plain, err := age.Decrypt(r, identity)
	if noMatch := (*age.NoIdentityMatchError)(nil); errors.As(err, &noMatch) {
		return nil, hint.Wrap(ErrPassphrase, "check the keyboard layout: Windows PE starts with that of its image, often US")
	}
	if err != nil {
		return nil, fmt.Errorf("open keys: the file is damaged: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(plain, maxBundle))
	if err != nil {
		return nil, fmt.Errorf("open keys: the file is damaged: %w", err)
	}
	var in wire
	if err := json.Unmarshal(raw, &in); err != nil || in.Version != 1 {
		return nil, errors.New("open keys: this is no key bundle of version 1")
	}
	if !now.Before(in.Expires) {
		return nil, hint.Wrap(&ExpiredError{in.Expires}, "build the medium again, or put a new keys.age on it")
	}
	b := &Bundle{Made: in.Made, Expires: in.Expires}
	for _, k := range in.Keys {
		b.Keys = append(b.Keys, Key{k.Machine, k.ID, secret.New(k.Password)})
	}
	return b, nil
}

var (
	guidPattern     = lazyregexp.New(`^[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}$`)
	passwordPattern = lazyregexp.New(`^\d{6}(-\d{6}){7}$`)
)

// Normal returns the key with its ID and machine in the form that is sealed.
func (k Key) Normal() Key {
	k.Machine = strings.ToUpper(strings.TrimSpace(k.Machine))
	k.ID = strings.Trim(strings.ToUpper(strings.TrimSpace(k.ID)), "{}")
	k.Password = secret.New(strings.TrimSpace(k.Password.Reveal()))
	return k
}

// Check refuses a key that no volume can have: every group of a recovery password is a multiple of 11 below 720,896.
// The error names the key by its ID and never shows digits.
func (k Key) Check() error {
	if k.ID != "" && !guidPattern.MatchString(k.ID) {
		return fmt.Errorf("key %.40q of machine %q: its ID is no GUID", k.ID, k.Machine)
	}
	if !passwordPattern.MatchString(k.Password.Reveal()) {
		return fmt.Errorf("key %s of machine %q: its recovery password is not eight groups of six digits", k.ID, k.Machine)
	}
	for i, group := range strings.Split(k.Password.Reveal(), "-") {
		if n, err := strconv.Atoi(group); err != nil || n%11 != 0 || n >= 720896 {
			return fmt.Errorf("key %s of machine %q: group %d of its recovery password is mistyped", k.ID, k.Machine, i+1)
		}
	}
	return nil
}
