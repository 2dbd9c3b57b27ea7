package fve

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
)

// Volume is what the metadata of a volume says. It holds no key. It is immutable and safe for concurrent use.
type Volume struct {
	Layout Layout `json:"layout"`

	// ID is the GUID of the metadata, in the form of a key ID.
	ID          string    `json:"id"`
	Description string    `json:"description,omitempty"` // computer, volume and date, in the language of that Windows
	Created     time.Time `json:"created,omitzero"`      // when the volume was prepared, by its computer's clock
	Method      Method    `json:"method"`
	State       State     `json:"state"`

	// Converted is the place in bytes up to which a conversion has come; 0 where none is under way.
	Converted  int64       `json:"converted,omitempty"`
	Protectors []Protector `json:"protectors"`
	Copies     []Copy      `json:"copies"`

	block *block
}

// Read reads the metadata of a volume of size bytes that begins at byte 0 of r. The error wraps [ErrNotBitLocker] or
// [ErrDamaged], or is that of r or ctx.
func Read(ctx context.Context, r io.ReaderAt, size int64) (*Volume, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h, err := readHeader(r, size)
	if err != nil {
		return nil, err
	}
	b, copies, err := readCopies(r, size, h)
	if err != nil {
		return nil, err
	}
	v := &Volume{
		Layout: h.layout, ID: string(bitlocker.KeyIDFromGUID(b.identification)), Created: fileTime(b.created),
		Method: method(b.method), State: state(b.current, b.next), Copies: copies, block: b,
	}
	if v.State.Converting() && b.stateOffset <= unknownSize {
		v.Converted = int64(b.stateOffset)
	}
	for _, d := range b.datums {
		switch {
		case d.role == roleDescription && d.kind == typeText:
			v.Description = text(d.body)
		case d.role == roleProtector && d.kind == typeProtector:
			p, err := parseProtector(d.body)
			if err != nil {
				return nil, fmt.Errorf("%w: %v", ErrDamaged, err)
			}
			v.Protectors = append(v.Protectors, p)
		}
	}
	return v, nil
}

// Suspended reports whether the volume's key lies open on the volume: protection is suspended, or was never switched on.
// Such a volume needs no key.
func (v *Volume) Suspended() bool {
	for _, p := range v.Protectors {
		if p.Kind == ClearKey {
			return true
		}
	}
	return false
}

// RecoveryIDs gives the key IDs of the recovery passwords that the volume has, in the order of the metadata: one of these
// is what its recovery screen shows.
func (v *Volume) RecoveryIDs() []bitlocker.KeyID {
	var ids []bitlocker.KeyID
	for _, p := range v.Protectors {
		if p.Kind == RecoveryPassword {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// Protector is one way to open the volume.
type Protector struct {
	ID      bitlocker.KeyID `json:"id"`
	Kind    Kind            `json:"kind"`
	Name    string          `json:"name,omitempty"`   // such as "DiskPassword"; Windows gives it, not the user
	Changed time.Time       `json:"changed,omitzero"` // when it was added or last changed, by the computer's clock
	Flags   uint16          `json:"flags"`            // as stored, for kinds that are not known
	datums  []datum
}

const protectorHeaderSize = 28

func parseProtector(b []byte) (Protector, error) {
	if len(b) < protectorHeaderSize {
		return Protector{}, fmt.Errorf("a protector has %d bytes", len(b))
	}
	p := Protector{ID: bitlocker.KeyIDFromGUID([16]byte(b[:16])), Changed: fileTime(binary.LittleEndian.Uint64(b[16:])), Flags: binary.LittleEndian.Uint16(b[26:])}
	p.Kind = kind(p.Flags)
	var err error
	if p.datums, err = parseDatums(b[protectorHeaderSize:]); err != nil {
		return Protector{}, fmt.Errorf("protector %s: %w", p.ID, err)
	}
	if name, ok := find(p.datums, typeText); ok {
		p.Name = text(name)
	}
	return p, nil
}

// Kind is what a protector asks for.
type Kind string

// The kinds of protector.
const (
	RecoveryPassword Kind = "recovery-password"
	Passphrase       Kind = "passphrase"
	StartupKey       Kind = "startup-key" // a .BEK file
	TPM              Kind = "tpm"
	TPMPIN           Kind = "tpm-pin"
	TPMStartupKey    Kind = "tpm-startup-key"
	TPMPINStartupKey Kind = "tpm-pin-startup-key"
	PublicKey        Kind = "public-key" // smart card or data recovery agent
	ClearKey         Kind = "clear-key"  // protection is suspended
	Unknown          Kind = "unknown"
)

// kind takes the flags of a protector apart: TPM 0x0100, external key 0x0200, PIN 0x0400 and one of 0x0800, 0x1000, 0x2000.
func kind(flags uint16) Kind {
	switch flags {
	case 0:
		return ClearKey
	case 0x0100:
		return TPM
	case 0x0200:
		return StartupKey
	case 0x0300:
		return TPMStartupKey
	case 0x0400, 0x0500:
		return TPMPIN
	case 0x0600, 0x0700:
		return TPMPINStartupKey
	case 0x0800:
		return RecoveryPassword
	case 0x1000:
		return PublicKey
	case 0x2000:
		return Passphrase
	}
	return Unknown
}

// Method is how the data are encrypted.
type Method string

// method names an encryption method as manage-bde means it.
func method(v uint16) Method {
	switch v {
	case 0:
		return "none"
	case 0x8000:
		return "AES-CBC 128 with diffuser"
	case 0x8001:
		return "AES-CBC 256 with diffuser"
	case 0x8002:
		return "AES-CBC 128"
	case 0x8003:
		return "AES-CBC 256"
	case 0x8004:
		return "XTS-AES 128"
	case 0x8005:
		return "XTS-AES 256"
	}
	return Method(fmt.Sprintf("unknown (0x%04x)", v))
}

// State is how much of the volume is encrypted and where it is going.
type State string

// The states. A conversion that is paused or was cut off is told as the conversion.
const (
	Encrypted    State = "encrypted" // all of it, or all that is used
	Decrypted    State = "decrypted"
	Encrypting   State = "encrypting"
	Decrypting   State = "decrypting"
	StateUnknown State = "unknown"
)

// Converting reports whether part of the volume is encrypted and part is not.
func (s State) Converting() bool { return s == Encrypting || s == Decrypting }

// state reads the present state and the one that is wanted: 1 is decrypted, 4 is encrypted, 2, 3 and 5 are on the way.
func state(current, next uint16) State {
	const decrypted, encrypted = 1, 4
	switch {
	case current == encrypted && next == encrypted:
		return Encrypted
	case current == decrypted && next == decrypted:
		return Decrypted
	case next == encrypted:
		return Encrypting
	case next == decrypted:
		return Decrypting
	}
	return StateUnknown
}
