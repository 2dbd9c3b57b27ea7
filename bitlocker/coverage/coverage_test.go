package coverage_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/coverage"
)

var t0 = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func key(n int, m bitlocker.Machine, change ...func(*bitlocker.Match)) bitlocker.Match {
	k := bitlocker.Match{KeyRef: bitlocker.KeyRef{ID: bitlocker.KeyID(fmt.Sprintf("%08X-0000-4000-8000-000000000000", n)), Machine: m, Created: t0, Source: "ad:fleet.test"}}
	for _, c := range change {
		c(&k)
	}
	return k
}

func TestVerdicts(t *testing.T) {
	on := func(s string) bitlocker.Machine { return bitlocker.Machine{Name: s} }
	state := func(s bitlocker.State) func(*bitlocker.Match) { return func(k *bitlocker.Match) { k.State = s } }
	machines := []coverage.Machine{}
	for _, n := range []string{"NONE", "OK", "SEVERAL", "STALE", "BAD", "DENIED", "MISSING", "DELETED", "TWICE", "DATA", "PLAIN", "RESCUED"} {
		machines = append(machines, coverage.Machine{Name: n, Group: "LON"})
	}
	machines[3].Reimaged, machines[11].Reimaged = t0.Add(time.Hour), t0.Add(time.Hour)
	machines[10].NoDrive = true
	machines = append(machines, coverage.Machine{Name: "NY", Group: "NYC"})
	other := func(k *bitlocker.Match) { k.Source = "entra:x" }
	later := func(k *bitlocker.Match) { k.Created = t0.Add(2 * time.Hour) }
	keys := []bitlocker.Match{
		key(1, on("ok")), key(2, on("SEVERAL")), key(3, on("SEVERAL"), later), key(4, on("STALE")), key(5, on("BAD"), state(bitlocker.StateInvalid), func(k *bitlocker.Match) { k.Note = "group 3 is mistyped" }),
		key(6, on("DENIED"), state(bitlocker.StateDenied)), key(7, on("MISSING"), state(bitlocker.StateMissing)), key(8, on("DELETED"), func(k *bitlocker.Match) { k.Deleted = true }),
		key(9, on("TWICE")), key(9, on("TWICE"), other), key(10, on("DATA"), func(k *bitlocker.Match) { k.Volume = bitlocker.VolumeFixed }),
		key(11, on("RESCUED")), key(12, on("RESCUED"), later, state(bitlocker.StateSealed)), key(13, on("NOBODY")), key(14, on("NY")),
	}
	r := coverage.Build(t0, machines, keys)
	got := map[string]coverage.Line{}
	for _, l := range r.Lines {
		got[l.Machine.Name] = l
	}
	for name, want := range map[string]coverage.Verdict{"NONE": coverage.None, "OK": coverage.OK, "SEVERAL": coverage.Several, "STALE": coverage.Stale, "BAD": coverage.Invalid, "DENIED": coverage.Unreadable,
		"MISSING": coverage.None, "DELETED": coverage.Stale, "TWICE": coverage.OK, "DATA": coverage.None, "PLAIN": coverage.Exempt, "RESCUED": coverage.OK, "NY": coverage.OK} {
		if got[name].Verdict != want {
			t.Errorf("%s: %+v, want %s", name, got[name], want)
		}
	}
	if l := got["RESCUED"]; l.Newest.Short() != "0000000C" || l.Keys != 2 || l.Usable != 1 {
		t.Errorf("%+v", l)
	}
	for name, want := range map[string]string{"STALE": "escrowed before the machine was set up on 2026-03-01", "DELETED": "deleted in ad:fleet.test"} {
		if got[name].Why != want {
			t.Errorf("%s: %q", name, got[name].Why)
		}
	}
	if l := got["TWICE"]; len(l.Sources) != 2 {
		t.Errorf("%+v", l)
	}
	if len(r.Orphans) != 1 || r.Total.Total != 13 || len(r.Groups) != 2 || r.Groups[0].Group != "LON" || r.Lines[0].Verdict != coverage.None || r.Groups[1].Covered() != 1 {
		t.Errorf("%+v", r)
	}
	if c := r.Total.Covered(); c < 5.0/12-0.001 || c > 5.0/12+0.001 {
		t.Errorf("covered %v", c)
	}
}

func TestRotatedKeyIsStale(t *testing.T) {
	machines := []coverage.Machine{{Name: "PC-1"}}
	rotated := func(k *bitlocker.Match) { k.Rotated = t0 }
	old, fresh := key(1, bitlocker.Machine{Name: "PC-1"}, rotated), key(2, bitlocker.Machine{Name: "PC-1"})
	if l := coverage.Build(t0, machines, []bitlocker.Match{old}).Lines[0]; l.Verdict != coverage.Stale || !strings.Contains(l.Why, "rotated on") {
		t.Errorf("%+v", l)
	}
	if l := coverage.Build(t0, machines, []bitlocker.Match{old, fresh}).Lines[0]; l.Verdict != coverage.OK || l.Newest != fresh.ID {
		t.Errorf("%+v", l)
	}
}

func TestMatching(t *testing.T) {
	machines := []coverage.Machine{
		{ID: "1", Name: "PC-1", FQDN: "pc-1.a.test", DeviceIDs: []string{"D1", "old"}, DN: "CN=PC-1,OU=X,DC=a"},
		{ID: "2", Name: "PC-1", FQDN: "pc-1.b.test", DeviceIDs: []string{"d2"}},
		{ID: "3", Name: "PC-3", Serial: "S3"},
		{ID: "4", Name: "PC-4", DN: "CN=PC-4,OU=X,DC=a,DC=b"},
	}
	for i, c := range []struct {
		m    bitlocker.Machine
		want string // "" : nobody's
	}{
		{bitlocker.Machine{Name: "PC-1"}, ""}, {bitlocker.Machine{Name: "PC-1", FQDN: "PC-1.B.test"}, "2"}, {bitlocker.Machine{DeviceID: "OLD"}, "1"},
		{bitlocker.Machine{DN: "cn=pc-1,ou=x,dc=a"}, "1"}, {bitlocker.Machine{Name: "pc-3"}, "3"}, {bitlocker.Machine{Name: "PC-3", FQDN: "pc-3.elsewhere.test"}, ""},
		{bitlocker.Machine{Name: "PC-1", DN: "CN=PC-1,OU=moved,DC=a"}, ""}, {bitlocker.Machine{Name: "PC-3", DN: "CN=PC-3,OU=X,DC=a"}, "3"},
		{bitlocker.Machine{Name: "PC-4", DN: `CN=PC-4\0ADEL:1,CN=Deleted Objects,DC=a,DC=b`}, "4"}, {bitlocker.Machine{Name: "PC-4", DN: "CN=PC-4,DC=x,DC=b"}, ""},
		{bitlocker.Machine{Serial: "s3"}, "3"}, {bitlocker.Machine{Name: "PC-3", DeviceID: "unknown"}, ""}, {bitlocker.Machine{}, ""},
	} {
		r := coverage.Build(t0, machines, []bitlocker.Match{key(i, c.m)})
		got := ""
		for _, l := range r.Lines {
			if l.Keys > 0 {
				got += l.Machine.ID
			}
		}
		if got != c.want || (len(r.Orphans) == 1) != (c.want == "") {
			t.Errorf("%+v: %q, want %q", c.m, got, c.want)
		}
	}
}

func TestWriters(t *testing.T) {
	r := coverage.Build(t0, []coverage.Machine{{Name: "=PC<b>", Group: ""}, {Name: "PC-2", Group: "OU=LON"}}, []bitlocker.Match{key(1, bitlocker.Machine{Name: "PC-2"}), key(2, bitlocker.Machine{Name: "<i>X"})})
	var text, table, html bytes.Buffer
	if err := errors.Join(r.Text(&text), r.CSV(&table), r.HTML(&html)); err != nil {
		t.Fatal(err)
	}
	if s := text.String(); !strings.Contains(s, "50.0 %") || !strings.Contains(s, "Keys of none of these machines: 1. They") || strings.Contains(s, "PC-2") {
		t.Errorf("%s", s)
	}
	rows, err := csv.NewReader(&table).ReadAll()
	if err != nil || len(rows) != 3 || rows[1][0] != "'=PC<b>" || rows[2][4] != "ok" {
		t.Errorf("%v, %v", rows, err)
	}
	if s := html.String(); strings.Contains(s, "<b>PC") || strings.Contains(s, "<i>X") || !strings.Contains(s, "=PC&lt;b&gt;") || strings.Contains(s, "http") && !strings.Contains(s, "http-equiv") || !strings.Contains(s, "Escrow a key") {
		t.Errorf("%s", s)
	}
	var none strings.Builder
	if err := errors.Join(coverage.Build(t0, nil, nil).Text(&none), coverage.Build(t0, nil, nil).HTML(&none)); err != nil || strings.Contains(none.String(), "100") || strings.Contains(none.String(), "0 machines,") {
		t.Errorf("of no machine a share is said (%v): %s", err, none.String())
	}
	if c := coverage.Build(t0, nil, nil).Total.Covered(); c != 1 {
		t.Errorf("%v", c)
	}
}

// TestRenamedAndAbsentMachines: a key stays with its computer's GUID, whatever the names say; nobody misses a key of a
// machine that is gone.
func TestRenamedAndAbsentMachines(t *testing.T) {
	machines := []coverage.Machine{
		{Name: "NEW", DN: "CN=NEW,OU=PAR,DC=fleet,DC=test", GUID: "aa"},
		{Name: "OLD", DN: "CN=OLD,OU=LON,DC=fleet,DC=test", GUID: "bb"}, // took the name and the place of the one that is NEW now
		{Name: "AWAY", LeftOut: "gone"}, {Name: "OFF-1", LeftOut: "disabled"}, {Name: "OFF-2", LeftOut: "disabled"},
		{Name: "TABLE"},
	}
	r := coverage.Build(t0, machines, []bitlocker.Match{
		key(1, bitlocker.Machine{Name: "OLD", DN: "CN=OLD,OU=LON,DC=fleet,DC=test", GUID: "AA"}),
		key(2, bitlocker.Machine{Name: "AWAY"}), key(3, bitlocker.Machine{Name: "TABLE", GUID: "cc"}),
		key(4, bitlocker.Machine{Name: "NEW", DN: "CN=NEW,OU=PAR,DC=fleet,DC=test", GUID: "dd"}),
	})
	got := map[string]coverage.Verdict{}
	for _, l := range r.Lines {
		got[l.Machine.Name] = l.Verdict
	}
	if got["NEW"] != coverage.OK || got["OLD"] != coverage.None || got["TABLE"] != coverage.OK || len(got) != 3 || r.Total.Total != 3 {
		t.Errorf("%v, %+v", got, r.Total)
	}
	if len(r.Orphans) != 1 || r.Orphans[0].Machine.GUID != "dd" || r.LeftOut["gone"] != 1 || r.LeftOut["disabled"] != 2 {
		t.Errorf("%+v %v", r.Orphans, r.LeftOut)
	}
	var text, page bytes.Buffer
	if err := errors.Join(r.Text(&text), r.HTML(&page)); err != nil {
		t.Fatal(err)
	}
	if want := "Not counted: 2 disabled, 1 gone."; !strings.Contains(text.String(), want) || !strings.Contains(page.String(), want) {
		t.Errorf("%s", text.String())
	}
}

// What is judged from keys that come one by one is what the report says.
func TestGatheringSaysWhatTheReportSays(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		pick := func(values ...string) string { return values[r.IntN(len(values))] }
		var machines []coverage.Machine
		for i := range 6 {
			m := coverage.Machine{ID: fmt.Sprint(i), Name: pick("A", "B", "C", "d"), Serial: pick("", "S1", "s2", "S3"), FQDN: pick("", "a.x", "b.x"), GUID: pick("", "g1", "g2"),
				DN: pick("", "CN=A,DC=x", "CN=A,DC=y"), NoDrive: r.IntN(5) == 0}
			if r.IntN(3) == 0 {
				m.DeviceIDs = []string{pick("d1", "D2")}
			}
			if r.IntN(3) == 0 {
				m.Reimaged = t0.Add(time.Duration(r.IntN(5)) * time.Hour)
			}
			machines = append(machines, m)
		}
		var keys []bitlocker.Match
		for range 12 {
			k := bitlocker.Match{KeyRef: bitlocker.KeyRef{ID: bitlocker.KeyID(pick("K1", "K2", "K3", "K4")), Source: pick("ad", "csv"), Volume: bitlocker.Volume(pick("", "os", "fixed")),
				Created: t0.Add(time.Duration(r.IntN(5)) * time.Hour), Deleted: r.IntN(6) == 0, Stale: r.IntN(6) == 0}, State: bitlocker.State(pick("", "sealed", "denied", "missing", "invalid"))}
			k.Machine = bitlocker.Machine{Name: pick("", "A", "B", "D"), Serial: pick("", "s1", "S2"), FQDN: pick("", "", "A.x"), GUID: pick("", "", "g1", "g3"), DeviceID: pick("", "", "d1", "d2", "g2"), DN: pick("", "", "cn=a,dc=x")}
			if r.IntN(6) == 0 {
				k.Rotated = t0
			}
			keys = append(keys, k)
		}
		parts := coverage.Gather(machines, 1+r.IntN(3), len(keys))
		for i := range keys {
			parts[i*len(parts)/len(keys)].Add(&keys[i])
		}
		got := map[string]string{}
		half := r.IntN(len(machines) + 1)
		joined := coverage.Join(parts)
		for _, bounds := range [][2]int{{0, half}, {half, len(machines)}} {
			joined.Each(bounds[0], bounds[1], func(i int, l *coverage.Line, sealed bool) {
				if l.Machine.ID != machines[i].ID {
					t.Fatalf("machine %d is %s", i, l.Machine.ID)
				}
				holds := slices.ContainsFunc(keys, func(k bitlocker.Match) bool { return k.ID == l.Newest && k.State == bitlocker.StateSealed })
				if sealed && !holds {
					t.Fatalf("seed %d: nobody holds %s", seed, l.Newest)
				}
				got[l.Machine.ID] = fmt.Sprint(l.Verdict, l.Keys, l.Usable, l.Newest, l.Created)
			})
		}
		for _, l := range coverage.Build(t0, machines, keys).Lines {
			if want := fmt.Sprint(l.Verdict, l.Keys, l.Usable, l.Newest, l.Created); l.Keys > 0 && got[l.Machine.ID] != want || l.Keys == 0 && got[l.Machine.ID] != "" {
				t.Fatalf("seed %d, machine %s: %q, the report says %q", seed, l.Machine.ID, got[l.Machine.ID], want)
			}
		}
	}
}
