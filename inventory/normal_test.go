package inventory

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fleetmend/fleetmend/internal/bounded"
)

func TestNormalForms(t *testing.T) {
	f := readFacts(map[string]string{"name": `FLEET\ws1$`, "fqdn": "WS1.Fleet.Test.", "claims.object_guid": "{2A6B1F0C-52E7-4B8D-9B7E-6F1B2C3D4E5F}",
		"claims.smbios": "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "claims.arm_id": "/Subscriptions/X", "macs": "AA-BB-CC-00-11-22;aabb.cc00.1121", "os.version": "10.0.22631.3880",
		"os.name": "Windows Server 2022", "address": "10.1.2.3:5985", "last_seen": "133600000000000000", "serial": "None", "enabled": "Nein", "tags": "b, a,b"})
	m := f.m
	if m.Name != "WS1" || m.FQDN != "ws1.fleet.test" || m.Domain != "fleet.test" || m.Claims.ObjectGUID != guidA || m.Claims.SMBIOS != "" || m.Claims.ARMID != "/subscriptions/x" ||
		m.MACs[0] != "aa:bb:cc:00:11:21" || m.OS.Build != 22631 || m.Class != Server || m.Subnet != "10.1.2.0/24" || m.Serial != "" || m.Enabled || len(m.Tags) != 2 || len(f.bad) != 0 ||
		!m.LastSeen.Equal(time.Date(2024, 5, 12, 15, 6, 40, 0, time.UTC)) {
		t.Errorf("%+v %q", m, f.bad)
	}
	for name, value := range map[string]string{"name": "10.1.2.3", "fqdn": "ws1", "subnet": "10.1.2.3", "class": "x", "health": "x", "claims.sid": "4711", "claims.intune_id": "x",
		"macs": "x", "priority": "x", "enabled": "x", "last_seen": "yesterday", "address": "a b", "os.build": "-1", "nmae": "x"} {
		if err := CheckField(name, value); err == nil {
			t.Errorf("%s took %q", name, value)
		}
	}
}

// The quick way to read stored fields gives what the JSON decoder gives, or says that it cannot.
func FuzzParseStoredFields(f *testing.F) {
	for _, text := range []string{`{}`, `{"name":"WS1"}`, `{"name":"WS1","site":"a\"b"}`, `{"name":"WS1",}`, `{"name" : "x"}`, `{"a":"b","site":"München"}`, `{`, `{""}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		defer bounded.Input(t, len(text))()
		var said values
		if !utf8.ValidString(text) || !said.parse(text) { // what is stored was encoded, and is valid
			return
		}
		var want map[string]string
		if json.Unmarshal([]byte(text), &want) != nil {
			return // only what was encoded by us is stored
		}
		for i := range recordFields {
			if got := said[i]; got != want[recordFields[i].name] {
				t.Errorf("%s: %q, want %q", recordFields[i].name, got, want[recordFields[i].name])
			}
		}
		again := encode(slices.Sorted(maps.Keys(want)), want)
		var back map[string]string
		if err := json.Unmarshal([]byte(again), &back); err != nil || !maps.Equal(want, back) {
			t.Errorf("%q: %v", again, err)
		}
	})
}
