package fve

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// Errors of a trial. ErrWrongKey is an answer: the volume was read, and this key does not open it.
var (
	ErrWrongKey    = errors.New("this key does not open the volume")
	ErrNoProtector = errors.New("the volume has no such protector")
)

// Opened is the proof that a key opens a volume.
type Opened struct {
	ID bitlocker.KeyID `json:"key_id"` // of the protector that gave the volume's key

	// Genuine is true where the volume's key also confirmed the hash of the metadata: it is as Windows wrote it. It is
	// false where the volume has no such hash or the metadata were changed.
	Genuine bool `json:"genuine"`
}

// TryPassword tries a recovery password on the protector with this key ID, or on each recovery password of the volume in
// turn where id is empty. It returns [ErrWrongKey] or [ErrNoProtector], or the error of ctx, which it obeys within
// milliseconds. One trial is a million rounds of SHA-256, by intent: a fraction of a second up to some seconds.
func (v *Volume) TryPassword(ctx context.Context, id bitlocker.KeyID, password bitlocker.Password) (Opened, error) {
	if password.IsZero() {
		return Opened{}, errors.New("try recovery password: it is empty")
	}
	var raw [2 * bitlocker.GroupCount]byte
	for i, n := range password.Numbers() {
		binary.LittleEndian.PutUint16(raw[2*i:], n)
	}
	first := sha256.Sum256(raw[:])
	clear(raw[:])
	defer clear(first[:])
	return v.try(ctx, id, RecoveryPassword, first)
}

// TryPassphrase tries a passphrase as a user types it; see [Volume.TryPassword].
func (v *Volume) TryPassphrase(ctx context.Context, id bitlocker.KeyID, passphrase secret.String) (Opened, error) {
	if passphrase.IsZero() {
		return Opened{}, errors.New("try passphrase: it is empty")
	}
	units := utf16.Encode([]rune(passphrase.Reveal()))
	raw := make([]byte, 0, 2*len(units))
	for _, u := range units {
		raw = binary.LittleEndian.AppendUint16(raw, u)
	}
	first := sha256.Sum256(raw)
	first = sha256.Sum256(first[:])
	clear(raw)
	clear(units)
	defer clear(first[:])
	return v.try(ctx, id, Passphrase, first)
}

func (v *Volume) try(ctx context.Context, id bitlocker.KeyID, want Kind, first [sha256.Size]byte) (Opened, error) {
	tried := false
	for _, p := range v.Protectors {
		if p.Kind != want || id != "" && p.ID != id {
			continue
		}
		tried = true
		master, err := p.open(ctx, first)
		if errors.Is(err, errSeal) {
			continue
		}
		if err != nil {
			return Opened{}, fmt.Errorf("try protector %s: %w", p.ID, err)
		}
		opened := Opened{ID: p.ID, Genuine: v.block.genuine(master)}
		clear(master)
		return opened, nil
	}
	switch {
	case tried:
		return Opened{}, ErrWrongKey
	case id != "":
		return Opened{}, fmt.Errorf("%w: no %s with ID %s", ErrNoProtector, want, id)
	}
	return Opened{}, fmt.Errorf("%w: no %s at all", ErrNoProtector, want)
}

// open unwraps the volume's master key. The error wraps errSeal for a wrong key.
func (p Protector) open(ctx context.Context, first [sha256.Size]byte) ([]byte, error) {
	const saltAt, saltSize = 4, 16
	stretch, ok := find(p.datums, typeStretchKey)
	if !ok || len(stretch) < saltAt+saltSize {
		return nil, fmt.Errorf("%w: the protector has no salt", ErrDamaged)
	}
	sealed, ok := find(p.datums, typeSealedKey)
	if !ok {
		return nil, fmt.Errorf("%w: the protector has no sealed key", ErrDamaged)
	}
	key, err := stretchKey(ctx, first, [saltSize]byte(stretch[saltAt:]))
	if err != nil {
		return nil, err
	}
	defer clear(key[:])
	plain, err := unseal(key[:], sealed)
	if err != nil {
		return nil, err
	}
	return keyOf(plain)
}

// keyOf takes the key out of an unsealed datum: a header, 4 bytes for the kind of key, and 32 bytes of key.
func keyOf(plain []byte) ([]byte, error) {
	const keyAt, keySize = 4, 32
	datums, err := parseDatums(plain)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	body, ok := find(datums, typeKey)
	if !ok || len(body) < keyAt+keySize {
		return nil, fmt.Errorf("%w: the sealed key is of an unknown kind", ErrDamaged)
	}
	return body[keyAt : keyAt+keySize], nil
}

// genuine asks whether the sealed hash behind the metadata is theirs.
func (b *block) genuine(master []byte) bool {
	datums, err := parseDatums(b.validation[:min(len(b.validation), firstDatum(b.validation))])
	if err != nil {
		return false
	}
	sealed, ok := find(datums, typeSealedKey)
	if !ok {
		return false
	}
	plain, err := unseal(master, sealed)
	if err != nil {
		return false
	}
	hash, err := keyOf(plain)
	if err != nil {
		return false
	}
	sum := sha256.Sum256(b.raw)
	return subtle.ConstantTimeCompare(hash, sum[:]) == 1
}

// firstDatum is the size of the datum at the beginning of b; what follows it is padding.
func firstDatum(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	return int(binary.LittleEndian.Uint16(b))
}

// stretchKey makes a key from a secret's hash in 2^20 rounds: each hashes the last hash, the first, the salt and the count.
func stretchKey(ctx context.Context, first [sha256.Size]byte, salt [16]byte) ([sha256.Size]byte, error) {
	const rounds, between = 1 << 20, 1 << 12
	var state [2*sha256.Size + 16 + 8]byte
	defer clear(state[:])
	copy(state[sha256.Size:], first[:])
	copy(state[2*sha256.Size:], salt[:])
	for n := range uint64(rounds) {
		if n%between == 0 {
			if err := ctx.Err(); err != nil {
				return [sha256.Size]byte{}, err
			}
		}
		binary.LittleEndian.PutUint64(state[2*sha256.Size+16:], n)
		last := sha256.Sum256(state[:])
		copy(state[:], last[:])
	}
	return [sha256.Size]byte(state[:sha256.Size]), nil
}
