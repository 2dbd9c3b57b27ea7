package bitlocker

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/prose"
)

// KeyRef says that a recovery password exists and where. It holds no secret. Deleted and Stale warn; neither makes a key
// useless.
type KeyRef struct {
	ID         KeyID     `json:"key_id"`
	VolumeID   string    `json:"volume_id,omitempty"` // GUID of the volume, in the form of a KeyID
	Volume     Volume    `json:"volume,omitempty"`
	Machine    Machine   `json:"machine"`
	Created    time.Time `json:"created,omitzero"`      // when it was escrowed, as the source says
	Source     string    `json:"source"`                // "ad:fleet.test", "entra:contoso", "csv:keys.csv"
	SourceKey  string    `json:"source_key"`            // how the source finds it again; unique within the source
	Deleted    bool      `json:"deleted,omitempty"`     // among deleted objects, or a whole reading no longer lists it
	Stale      bool      `json:"stale,omitempty"`       // the source itself says that the key was replaced
	StaleCause string    `json:"stale_cause,omitempty"` // one sentence
}

// Machine is what a source says about the computer of a key, each field empty where it says nothing. It is matched with
// the inventory by whoever knows both.
type Machine struct {
	Name     string `json:"name,omitempty"`      // short host name, upper case
	FQDN     string `json:"fqdn,omitempty"`      // lower case
	Serial   string `json:"serial,omitempty"`    //
	DeviceID string `json:"device_id,omitempty"` // Entra device ID or AD object GUID, lower case with hyphens
	DN       string `json:"dn,omitempty"`        // distinguished name of the computer object
	GUID     string `json:"guid,omitempty"`      // objectGUID of the computer object, as DeviceID is written; it stays when the computer is renamed or moved
}

// Label is the best name of a machine for people: its FQDN, name, device ID, DN or serial, and "(unknown machine)" else.
func (m Machine) Label() string {
	for _, s := range []string{m.FQDN, m.Name, m.DeviceID, m.DN, m.Serial} {
		if s != "" {
			return s
		}
	}
	return "(unknown machine)"
}

// normal gives the fields their one form, without control characters, and the name that an FQDN or DN implies.
func (m Machine) normal() Machine {
	for _, s := range []*string{&m.Name, &m.FQDN, &m.Serial, &m.DeviceID, &m.DN, &m.GUID} {
		*s = prose.OneLine(strings.ToValidUTF8(*s, "\ufffd"))
	}
	m.FQDN = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(m.FQDN), "."))
	m.Name = strings.ToUpper(strings.TrimSuffix(strings.TrimSpace(m.Name), "$"))
	if strings.Contains(m.Name, ".") { // many exports put the FQDN where the name belongs
		if m.FQDN == "" {
			m.FQDN = strings.ToLower(m.Name)
		}
		m.Name = ""
	}
	if m.Name == "" {
		name, _, _ := strings.Cut(m.FQDN, ".")
		m.Name = strings.ToUpper(name)
	}
	if m.Name == "" && len(m.DN) > 3 && strings.EqualFold(m.DN[:3], "CN=") {
		name, _, _ := strings.Cut(m.DN[3:], ",")
		m.Name = strings.ToUpper(name)
	}
	m.Serial = strings.TrimSpace(m.Serial)
	for _, s := range []*string{&m.DeviceID, &m.GUID} {
		*s = strings.ToLower(strings.Trim(strings.TrimSpace(*s), "{}"))
	}
	return m
}

// Volume is the kind of a volume.
type Volume string

// The kinds of volume that sources tell apart.
const (
	VolumeUnknown   Volume = ""
	VolumeOS        Volume = "os"
	VolumeFixed     Volume = "fixed"
	VolumeRemovable Volume = "removable"
)

// RecoveryKey is a reference with its password.
type RecoveryKey struct {
	KeyRef
	Password Password `json:"password"` // prints as dots
}

// Source is a place where keys are escrowed: a directory, a table, a management database. Its methods may be called
// from several goroutines.
type Source interface {
	// Name tells this place from all others: "ad:fleet.test". It is KeyRef.Source of all its keys.
	Name() string

	// Keys calls emit for each key that was added or changed since then (with some overlap), in any order; the zero time
	// asks for all. Keys that the source knows to be deleted come with Deleted set. An error of emit ends the reading and
	// is returned. A source that may not be listed returns ErrListDenied, never an empty list.
	Keys(ctx context.Context, since time.Time, emit func(KeyRef) error) error

	// Password reads one password. Many sources record each call. It returns ErrNotStored where the source has no such
	// key, ErrReadDenied where the key is seen and its password is not given, and a *PasswordError for one that cannot
	// be right.
	Password(ctx context.Context, ref KeyRef) (Password, error)
}

// The three answers that are not a key. They are different facts and different errands: escrow the key, ask for the right
// to list, ask for the right to read. Sources wrap them with the place and a hint.
var (
	ErrNotStored  = errors.New("no such key is stored")
	ErrListDenied = errors.New("not allowed to list keys")
	ErrReadDenied = errors.New("not allowed to read this key's password")
)
