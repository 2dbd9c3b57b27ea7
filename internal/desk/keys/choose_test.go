package keys

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/inventory/ad"
)

// Entra ID refuses the key after 200: a machine that has as many there is left out where a new one would go there.
func TestEntraKeeps200(t *testing.T) {
	row := func(entra, inAD int) *Row {
		r := &Row{machine: inventory.Machine{ID: "m1", Name: "PC1", Enabled: true}}
		for i := range entra {
			ref := bitlocker.KeyRef{ID: keyID(i), Source: "entra:contoso"}
			r.refs = append(r.refs, ref, ref) // listed twice, it is one key
		}
		for i := range inAD {
			r.refs = append(r.refs, bitlocker.KeyRef{ID: keyID(1000 + i), Source: "ad:fleet.test"})
		}
		return r
	}
	for _, c := range []struct {
		name        string
		entra, inAD int
		request     RotateRequest
		way, escrow string
	}{
		{"one below", 199, 1, RotateRequest{Via: "auto", Escrow: "auto"}, WayWinRM, "both"},
		{"full", 200, 1, RotateRequest{Via: "auto", Escrow: "auto"}, "", ""},
		{"full, and Intune would be asked", 200, 0, RotateRequest{Via: "auto", Escrow: "auto"}, "", ""},
		{"full, by request", 230, 0, RotateRequest{Via: WayWinRM, Escrow: "entra"}, "", ""},
		{"full, and the new one goes to AD", 200, 1, RotateRequest{Via: WayWinRM, Escrow: "ad"}, WayWinRM, "ad"},
		{"many in AD, which has no such limit", 1, 500, RotateRequest{Via: "auto", Escrow: "ad"}, WayWinRM, "ad"},
	} {
		r := row(c.entra, c.inAD)
		r.choose(&c.request, false)
		if r.Way != c.way || r.Escrow != c.escrow || (c.way == "") != strings.Contains(r.Why, "keeps 200 recovery keys") {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

// Who is not there is not rotated, unless it was named one by one; a disabled machine lets nobody in, named or not.
func TestAbsentAreNotRotated(t *testing.T) {
	for want, m := range map[string]inventory.Machine{
		"no source lists it any more": {ID: "m1", Name: "PC1", Enabled: true, Gone: true}, "disabled in its directory": {ID: "m1", Name: "PC1"},
	} {
		for _, named := range []bool{false, true} {
			r := &Row{machine: m, named: named, refs: []bitlocker.KeyRef{{ID: keyID(1), Source: "ad:fleet.test"}}}
			r.choose(&RotateRequest{Via: "auto", Escrow: "auto"}, false)
			if left := r.Way == "" && r.Why == want; left == (named && m.Gone) {
				t.Errorf("%s, named %v: %q %q", want, named, r.Way, r.Why)
			}
		}
	}
}

// lapsOf answers for machines from a table.
type lapsOf map[string]error

func (l lapsOf) Read(_ context.Context, m *inventory.Machine) (ad.LocalAdmin, error) {
	if err := l[m.Name]; err != nil {
		return ad.LocalAdmin{}, fmt.Errorf("read LAPS password of %s: %w", m.Name, err)
	}
	return ad.LocalAdmin{Password: secret.New("pw of " + m.Name)}, nil
}

// What the directory says of one machine keeps nothing else from the sheet; a directory that cannot be asked ends it.
func TestOneBadLAPSValueEndsNoSheet(t *testing.T) {
	d := sitDown(t, t.TempDir())
	var keys []wanted
	for i := range 8 {
		keys = append(keys, wanted{Key{}, inventory.Machine{ID: pc(i), Name: pc(i)}, true})
	}
	answers := lapsOf{pc(1): ad.ErrMalformed, pc(2): ad.ErrSeveral, pc(3): ad.ErrEncrypted, pc(4): ad.ErrNoRight, pc(5): ad.ErrNoLAPS, pc(6): ad.ErrNoMachine}
	accounts, without, err := readAdmins(t.Context(), d, answers, keys, "INC-1")
	if err != nil || len(accounts) != 2 || accounts[pc(7)].Password.Reveal() != "pw of "+pc(7) || len(without) != 6 {
		t.Fatalf("%v, %q, %v", accounts, without, err)
	}
	if !strings.HasPrefix(without[0], pc(1)+": the stored value is not in the form of Windows LAPS") {
		t.Errorf("%q", without[0])
	}
	answers[pc(7)] = errors.New("connection refused")
	if _, _, err := readAdmins(t.Context(), d, answers, keys, "INC-1"); err == nil {
		t.Error("a directory that cannot be asked passed")
	}
}
