package simfleet

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/simfleet/directory"
	"github.com/fleetmend/fleetmend/internal/simfleet/machine"
)

// RecoveryKey is a BitLocker recovery password that the directory keeps for a machine.
type RecoveryKey struct {
	ID       string        `json:"id"`     // of the protector, as the recovery screen shows it: upper case, with hyphens
	Volume   string        `json:"volume"` // GUID of the volume
	Password secret.String `json:"password"`
	Created  time.Time     `json:"created"`
	Stale    bool          `json:"stale"` // replaced by a newer one of the same volume, or of the machine before it was set up anew

	guid, volume [16]byte
}

// recoveryKeys draws the keys of a machine: most workstations have one to three, some servers have one.
func (h *host) recoveryKeys() []RecoveryKey {
	r := rand.New(rand.NewPCG(h.seed, 0xb17))
	volumes, rotations := 1, 1+r.IntN(3)
	share := r.Float64()
	switch {
	case h.info.Class == "dc", h.info.Class == "server" && share > .3, share > .92:
		return nil
	case share < .1:
		volumes = 2 // a data volume as well
	}
	var keys []RecoveryKey
	for range volumes {
		volume := randomGUID(r)
		at := h.identity.created
		for n := range rotations {
			k := newRecoveryKey(r, volume)
			k.Created = at.Add(time.Duration(1+r.IntN(50*86400)) * time.Second)
			at, k.Stale = k.Created, n < rotations-1
			keys = append(keys, k)
		}
		rotations = 1
	}
	return keys
}

func newRecoveryKey(r *rand.Rand, volume [16]byte) RecoveryKey {
	return recoveryKey(machine.NewProtector(r), volume)
}

func recoveryKey(p machine.Protector, volume [16]byte) RecoveryKey {
	return RecoveryKey{ID: p.ID(), Volume: strings.ToUpper(directory.GUID(volume)), Password: p.Password, guid: p.GUID, volume: volume}
}

// object is the key below its machine, named as Windows names it: time with offset, and GUID.
func (k RecoveryKey) object(machineDN string, r *rand.Rand) directory.Object {
	guid := randomGUID(r)
	cn := k.Created.UTC().Format("2006-01-02T15:04:05") + "-00:00{" + k.ID + "}"
	packet := make([]byte, 40)
	for i := range packet {
		packet[i] = byte(r.Uint32())
	}
	return directory.Object{DN: "CN=" + cn + "," + machineDN, Attributes: []directory.Attribute{
		directory.Attr("objectClass", "top", "msFVE-RecoveryInformation"), directory.Attr("cn", cn),
		directory.Attr("objectGUID", string(guid[:])), directory.Attr("objectCategory", category("ms-FVE-RecoveryInformation")),
		directory.Attr("whenCreated", directory.Time(k.Created)), directory.Attr("whenChanged", directory.Time(k.Created)),
		directory.Attr("msFVE-RecoveryPassword", k.Password.Reveal()), directory.Attr("msFVE-RecoveryGuid", string(k.guid[:])),
		directory.Attr("msFVE-VolumeGuid", string(k.volume[:])), directory.Attr("msFVE-KeyPackage", string(packet)),
	}}
}
