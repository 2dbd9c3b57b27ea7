package keys

import (
	"slices"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/bitlocker"
)

// Places that name no machine, or know it by an ID alone, do not name another one.
func TestPlacesThatDisagree(t *testing.T) {
	id, err := bitlocker.ParseKeyID("4C4B6D8A-0F1E-4D2C-9B3A-112233445566")
	if err != nil {
		t.Fatal(err)
	}
	table, other := bitlocker.Machine{Name: "LON-WS-00001"}, bitlocker.Machine{Name: "LON-WS-00002"}
	file, device := bitlocker.Machine{}, bitlocker.Machine{DeviceID: "2a6b1f0c-52e7-4b8d-9b7e-000000000001"}
	for _, c := range []struct {
		places []bitlocker.Machine
		want   string
	}{
		{[]bitlocker.Machine{table, {Name: "LON-WS-00001", FQDN: "lon-ws-00001.corp.example"}}, "LON-WS-00001"},
		{[]bitlocker.Machine{file, table}, "LON-WS-00001"},
		{[]bitlocker.Machine{table, device, file}, "LON-WS-00001"},
		{[]bitlocker.Machine{device, device}, strings.ToUpper(device.DeviceID)},
		{[]bitlocker.Machine{file, file}, ""},
		{[]bitlocker.Machine{table, file, other}, "LON-WS-00001 LON-WS-00002"},
	} {
		key := Key{Match: bitlocker.Match{KeyRef: bitlocker.KeyRef{ID: id}}}
		for _, m := range c.places {
			key.Places = append(key.Places, Place{Match: bitlocker.Match{KeyRef: bitlocker.KeyRef{ID: id, Machine: m}}})
		}
		if got := key.Machines(); !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("%+v: %q, want %q", c.places, got, c.want)
		}
		if said := strings.Contains(key.Remark(), "different machines"); said != strings.Contains(c.want, " ") {
			t.Errorf("%+v: %q", c.places, key.Remark())
		}
	}
}

// One key ID that a source has with two passwords is found as what it is, and what two sources have once each is not remarked on.
func TestASourceThatHasAKeyTwiceIsSaid(t *testing.T) {
	place := func(source string) Place {
		return Place{Match: bitlocker.Match{KeyRef: bitlocker.KeyRef{Source: source, Machine: bitlocker.Machine{Name: "WS1"}}}}
	}
	twice := Key{Places: []Place{place("csv:a.csv"), place("csv:a.csv"), place("ad:x")}}
	if got, want := twice.Remark(), "csv:a.csv has it 2 times, perhaps with different passwords"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := (Key{Places: []Place{place("csv:a.csv"), place("ad:x")}}).Remark(); got != "" {
		t.Errorf("%q", got)
	}
}

// A key is shown with the machine that some place names, whichever place is asked for its password first.
func TestAPlaceWithoutNameTakesThatOfAnother(t *testing.T) {
	id, err := bitlocker.ParseKeyID("4C4B6D8A-0F1E-4D2C-9B3A-112233445566")
	if err != nil {
		t.Fatal(err)
	}
	match := func(state bitlocker.State, m bitlocker.Machine) bitlocker.Match {
		return bitlocker.Match{KeyRef: bitlocker.KeyRef{ID: id, Machine: m}, State: state}
	}
	folded := together([]bitlocker.Match{match(bitlocker.StateUnknown, bitlocker.Machine{Name: "WS1", FQDN: "ws1.corp.example"}), match(bitlocker.StateSealed, bitlocker.Machine{})}, nil)
	if len(folded) != 1 || folded[0].State != bitlocker.StateSealed || folded[0].Machine.Label() != "ws1.corp.example" {
		t.Errorf("%+v", folded)
	}
}
