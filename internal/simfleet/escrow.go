package simfleet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/simfleet/directory"
	"github.com/fleetmend/fleetmend/internal/simfleet/graph"
	"github.com/fleetmend/fleetmend/internal/simfleet/machine"
)

// volumes are the encrypted volumes of a machine when the fleet is made: the keys that its directories keep and that were
// not replaced since, or one that none of them has.
func (h *host) volumes() []machine.Volume {
	keys := h.recoveryKeys()
	if len(keys) == 0 {
		keys = h.tenantKeys()
	}
	var out []machine.Volume
	for _, k := range keys {
		if k.Stale {
			continue
		}
		letter := string(rune('C'+len(out))) + ":" // one current key for each volume
		out = append(out, machine.Volume{Letter: letter, GUID: k.volume, Protectors: []machine.Protector{{GUID: k.guid, Password: k.Password}}})
	}
	if len(out) == 0 && len(keys) > 0 { // set up anew, and the new password is kept nowhere
		r := rand.New(rand.NewPCG(h.seed, 0xbde))
		out = []machine.Volume{{Letter: "C:", GUID: randomGUID(r), Protectors: []machine.Protector{machine.NewProtector(r)}}}
	}
	return out
}

// escrow keeps a recovery password that a machine hands over: in Active Directory below its computer object, in the tenant
// with its device.
func (h *host) escrow(to machine.Escrow, v machine.Volume, p machine.Protector) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := recoveryKey(p, v.GUID)
	k.Created = time.Now().UTC().Truncate(time.Second)
	switch {
	case h.fault.NoEscrow:
		return fmt.Errorf("escrow key of %s: %s takes none", h.info.Name, to)
	case to == machine.EscrowAD:
		if err := h.fleet.tree.Add(k.object(h.dn(), rand.New(rand.NewPCG(h.seed, uint64(len(h.escrowed)))))); err != nil {
			return fmt.Errorf("escrow key of %s: %w", h.info.Name, err)
		}
		h.escrowed = append(h.escrowed, k)
		return nil
	}
	kind := "operatingSystemVolume"
	if v.Letter != "C:" {
		kind = "fixedDataVolume"
	}
	err := h.fleet.tenant.AddKey(graph.Key{ID: strings.ToLower(k.ID), DeviceID: directory.GUID(h.identity.guid), Volume: kind, Created: k.Created, Password: k.Password})
	if err != nil {
		return fmt.Errorf("escrow key of %s: %w", h.info.Name, err)
	}
	h.inTenant = append(h.inTenant, k)
	return nil
}

// rotateDevice is what a machine does when Intune's request reaches it: it keeps its new passwords where it kept the old.
// One that is switched off does it never.
func (f *Fleet) rotateDevice(deviceID string) {
	for _, h := range f.hosts {
		if !strings.EqualFold(directory.GUID(h.identity.guid), deviceID) || h.info.Kind == Refused || h.info.Kind == BlackHole {
			continue
		}
		places := []machine.Escrow{machine.EscrowEntra}
		if len(h.recoveryKeys()) > 0 {
			places = append(places, machine.EscrowAD)
		}
		windows, _ := h.inside()
		_ = windows.Rotate(places...) // it keeps its old password, and Intune hears of it much later
		return
	}
}

// RecoveryKeys returns the recovery passwords that the directory keeps below a machine, oldest first within a volume, then
// those that the machine has escrowed since the start.
func (f *Fleet) RecoveryKeys(name string) ([]RecoveryKey, error) {
	h, ok := f.byName[name]
	if !ok {
		return nil, fmt.Errorf("recovery keys of %q: no such simulated machine", name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Concat(h.recoveryKeys(), h.escrowed), nil
}

// TenantKeys returns the recovery keys that the tenant keeps for a machine: of most workstations all those that are in AD
// as well, of some that AD has none of a key of their own or one from before they were set up anew, of the rest none; then
// those escrowed since the start.
func (f *Fleet) TenantKeys(name string) ([]RecoveryKey, error) {
	h, ok := f.byName[name]
	if !ok {
		return nil, fmt.Errorf("keys of %q in the tenant: no such simulated machine", name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Concat(h.tenantKeys(), h.inTenant), nil
}

// Protector is a recovery password that opens a volume of a machine now.
type Protector struct {
	ID       string        `json:"id"`
	Volume   string        `json:"volume"` // C:
	Password secret.String `json:"-"`
}

// Protectors returns the recovery passwords that open the volumes of a machine now, whatever a directory says.
func (f *Fleet) Protectors(name string) ([]Protector, error) {
	h, ok := f.byName[name]
	if !ok {
		return nil, fmt.Errorf("protectors of %q: no such simulated machine", name)
	}
	windows, _ := h.inside()
	return protectors(windows), nil
}

func protectors(windows *machine.Machine) []Protector {
	out := []Protector{}
	for _, v := range windows.Volumes() {
		for _, p := range v.Protectors {
			out = append(out, Protector{ID: p.ID(), Volume: v.Letter, Password: p.Password})
		}
	}
	return out
}
