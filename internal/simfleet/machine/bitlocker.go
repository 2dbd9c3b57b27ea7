package machine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/simfleet/directory"
)

// Protector is a recovery password that opens a volume.
type Protector struct {
	GUID     [16]byte // in the byte order of Windows
	Password secret.String
}

// ID is the GUID as manage-bde and the recovery screen show it, without braces.
func (p Protector) ID() string { return strings.ToUpper(directory.GUID(p.GUID)) }

// NewProtector draws a recovery password.
func NewProtector(r *rand.Rand) (p Protector) {
	for i := range p.GUID {
		p.GUID[i] = byte(r.Uint32())
	}
	p.GUID[7], p.GUID[8] = p.GUID[7]&0x0f|0x40, p.GUID[8]&0x3f|0x80 // version 4
	groups := make([]string, 8)
	for i := range groups {
		groups[i] = fmt.Sprintf("%06d", r.IntN(65536)*11)
	}
	p.Password = secret.New(strings.Join(groups, "-"))
	return p
}

// Volume is an encrypted volume with its recovery passwords. All volumes have a protector of the TPM besides.
type Volume struct {
	Letter     string // C:
	GUID       [16]byte
	Protectors []Protector
}

// Escrow says where a recovery password is kept.
type Escrow string

// The places.
const (
	EscrowAD    Escrow = "ad"
	EscrowEntra Escrow = "entra"
)

// Volumes returns the encrypted volumes as they are now.
func (m *Machine) Volumes() []Volume {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := slices.Clone(m.volumes)
	for i := range out {
		out[i].Protectors = slices.Clone(out[i].Protectors)
	}
	return out
}

// volume returns a copy of a volume by its letter.
func (m *Machine) volume(letter string) (Volume, bool) {
	for _, v := range m.Volumes() {
		if strings.EqualFold(v.Letter, strings.TrimRight(letter, `\`)) {
			return v, true
		}
	}
	return Volume{}, false
}

// protect adds a new recovery password to a volume.
func (m *Machine) protect(letter string) (Protector, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.volumes {
		if strings.EqualFold(m.volumes[i].Letter, letter) {
			p := NewProtector(m.dice)
			m.volumes[i].Protectors = append(m.volumes[i].Protectors, p)
			m.turned++
			return p, true
		}
	}
	return Protector{}, false
}

// unprotect removes a recovery password from a volume.
func (m *Machine) unprotect(letter, id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.volumes {
		v := &m.volumes[i]
		if at := slices.IndexFunc(v.Protectors, func(p Protector) bool { return strings.EqualFold(p.ID(), id) }); at >= 0 && strings.EqualFold(v.Letter, letter) {
			v.Protectors = slices.Delete(slices.Clone(v.Protectors), at, at+1)
			m.turned++
			return true
		}
	}
	return false
}

// escrow hands a recovery password to a directory.
func (m *Machine) escrow(to Escrow, v Volume, id string) error {
	at := slices.IndexFunc(v.Protectors, func(p Protector) bool { return strings.EqualFold(p.ID(), id) })
	if at < 0 || m.spec.Escrow == nil {
		return fmt.Errorf("escrow %s of %s: there is nothing to hand over, or nobody to take it", id, m.spec.Name)
	}
	return m.spec.Escrow(to, v, v.Protectors[at])
}

// Rotate is what Intune has a machine do: for each volume a new recovery password that is escrowed first, then the old
// ones go. What cannot be escrowed is taken away again.
func (m *Machine) Rotate(to ...Escrow) error {
	for _, before := range m.Volumes() {
		fresh, _ := m.protect(before.Letter)
		now, _ := m.volume(before.Letter)
		for _, place := range to {
			if err := m.escrow(place, now, fresh.ID()); err != nil {
				m.unprotect(before.Letter, fresh.ID())
				return fmt.Errorf("rotate %s of %s: %w", before.Letter, m.spec.Name, err)
			}
		}
		for _, old := range before.Protectors {
			m.unprotect(before.Letter, old.ID())
		}
	}
	return nil
}
