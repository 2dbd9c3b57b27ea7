package inventory

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// partition merges and gives each machine as its sorted record keys "source/key+source/key".
func partition(records []Record) (machines []string, conflicts []string) {
	recs := make([]*rec, len(records))
	for i, r := range records {
		recs[i] = &rec{Record: r, facts: readFacts(r.Fields)}
	}
	groups, said := merge(recs)
	for i, g := range groups {
		var keys []string
		for _, r := range g {
			keys = append(keys, r.Source+"/"+r.SourceKey)
		}
		slices.Sort(keys)
		machines = append(machines, strings.Join(keys, "+"))
		conflicts = append(conflicts, said[i]...)
	}
	slices.Sort(machines)
	slices.Sort(conflicts)
	return machines, conflicts
}

const guidA, guidB, uuidX = "2a6b1f0c-52e7-4b8d-9b7e-6f1b2c3d4e5f", "2a6b1f0c-52e7-4b8d-9b7e-000000000002", "4c4c4544-0051-3610-8052-b4c04f564433"

func gone(r Record) Record { r.Gone = true; return r }

func TestMergeRules(t *testing.T) {
	for _, c := range []struct {
		name      string
		records   []Record
		want      string // machines, separated by blanks
		conflicts int    // sentences, counted once per machine
		says      string
	}{
		{"strong key across sources", []Record{record("ad", "1", "name", "WS1", "claims.sid", "S-1-5-21-1"), record("cm", "7", "name", "OTHER", "claims.sid", "s-1-5-21-1")}, "ad/1+cm/7", 0, ""},
		{"hybrid join: device ID is the object GUID", []Record{record("ad", "1", "claims.object_guid", "{"+strings.ToUpper(guidA)+"}"), record("entra", "d", "claims.entra_device_id", guidA)}, "ad/1+entra/d", 0, ""},
		{"registered only: other device ID, same name", []Record{record("ad", "1", "name", "WS1", "claims.object_guid", guidA), record("entra", "d", "name", "ws1", "claims.entra_device_id", guidB)}, "ad/1+entra/d", 0, ""},
		{"Azure VM ID is the SMBIOS UUID", []Record{record("azure", "v", "claims.vm_id", uuidX), record("falcon", "a", "claims.smbios", uuidX)}, "azure/v+falcon/a", 0, ""},
		{"different SIDs of one name", []Record{record("ad", "1", "name", "WS1", "claims.sid", "S-1-5-21-1"), record("cm", "7", "name", "WS1", "claims.sid", "S-1-5-21-2")}, "ad/1 cm/7", 2, "different values of the SID"},
		{"a cloned UUID joins nobody", []Record{record("ad", "1", "claims.sid", "S-1-5-21-1", "claims.smbios", uuidX), record("ad", "2", "claims.sid", "S-1-5-21-2", "claims.smbios", uuidX), record("falcon", "a", "claims.smbios", uuidX)}, "ad/1 ad/2 falcon/a", 3, "share the SMBIOS UUID"},
		{"cloned machines with agents of their own", []Record{record("falcon", "1", "name", "A", "claims.falcon_aid", "1", "claims.smbios", uuidX), record("falcon", "2", "name", "B", "claims.falcon_aid", "2", "claims.smbios", uuidX)}, "falcon/1 falcon/2", 2, "different values of the name"},
		{"installed anew: two agents, one UUID, one name", []Record{record("falcon", "1", "name", "A", "claims.falcon_aid", "1", "claims.smbios", uuidX), record("falcon", "2", "name", "A", "claims.falcon_aid", "2", "claims.smbios", uuidX)}, "falcon/1+falcon/2", 0, ""},
		{"installed anew: two Intune records, one serial", []Record{record("intune", "1", "name", "A", "claims.intune_id", guidA, "serial", "5CG1", "model", "X1"), record("intune", "2", "name", "A", "claims.intune_id", guidB, "serial", "5cg1", "model", "x1")}, "intune/1+intune/2", 0, ""},
		{"enrolments of different sources are no proof", []Record{record("a", "1", "claims.sid", "S-1-5-21-1", "claims.falcon_aid", "1"), record("b", "2", "claims.sid", "S-1-5-21-1", "claims.falcon_aid", "2")}, "a/1 b/2", 2, "Falcon agent ID"},
		{"an all-zero UUID is no key", []Record{record("a", "1", "claims.smbios", "00000000-0000-0000-0000-000000000000"), record("b", "2", "claims.smbios", "00000000-0000-0000-0000-000000000000")}, "a/1 b/2", 0, ""},
		{"serial with model", []Record{record("a", "1", "serial", "5CG1", "model", "X1"), record("b", "2", "serial", "5CG1", "model", "X1")}, "a/1+b/2", 0, ""},
		{"serial with manufacturer", []Record{record("a", "1", "serial", "5CG1", "manufacturer", "Dell Inc."), record("b", "2", "serial", "5CG1", "manufacturer", "DELL")}, "a/1+b/2", 0, ""},
		{"serial with manufacturer but other model", []Record{record("a", "1", "serial", "5CG1", "manufacturer", "Dell", "model", "A"), record("b", "2", "serial", "5CG1", "manufacturer", "Dell", "model", "B")}, "a/1 b/2", 2, "model"},
		{"serial alone", []Record{record("a", "1", "serial", "5CG1"), record("b", "2", "serial", "5CG1")}, "a/1 b/2", 0, ""},
		{"junk serial", []Record{record("a", "1", "serial", "To be filled by O.E.M.", "model", "X1"), record("b", "2", "serial", "To Be Filled By O.E.M.", "model", "X1")}, "a/1 b/2", 0, ""},
		{"serial twice in one source", []Record{record("a", "1", "name", "A", "serial", "5CG1", "model", "X1"), record("a", "2", "name", "B", "serial", "5CG1", "model", "X1"), record("b", "3", "name", "C", "serial", "5CG1", "model", "X1")}, "a/1 a/2 b/3", 3, "a lists more than once"},
		{"FQDN", []Record{record("a", "1", "fqdn", "WS1.fleet.test."), record("b", "2", "fqdn", "ws1.FLEET.test")}, "a/1+b/2", 0, ""},
		{"short name against FQDN", []Record{record("a", "1", "fqdn", "ws1.fleet.test"), record("b", "2", "name", "WS1")}, "a/1+b/2", 0, ""},
		{"one name in two domains", []Record{record("a", "1", "fqdn", "ws1.fleet.test"), record("b", "2", "fqdn", "ws1.other.test")}, "a/1 b/2", 2, "different values of the FQDN"},
		{"name twice on one side", []Record{record("a", "1", "fqdn", "ws1.x.test"), record("a", "2", "fqdn", "ws1.y.test"), record("b", "3", "name", "WS1")}, "a/1 a/2 b/3", 3, "a lists more than once"},
		{"two domains of one source are no conflict", []Record{record("a", "1", "fqdn", "ws1.x.test"), record("a", "2", "fqdn", "ws1.y.test")}, "a/1 a/2", 0, ""},
		{"name unique on both sides, not on a third", []Record{record("ad", "1", "name", "WS1", "claims.object_guid", guidA), record("falcon", "2", "name", "WS1"), record("entra", "3", "name", "WS1", "claims.entra_device_id", guidB), record("entra", "4", "name", "WS1", "claims.entra_device_id", uuidX)}, "ad/1+falcon/2 entra/3 entra/4", 3, "entra lists more than once"},
		{"three sources of which two contradict", []Record{record("a", "1", "name", "WS1", "claims.sid", "S-1-5-21-1"), record("b", "2", "name", "WS1", "claims.sid", "S-1-5-21-2"), record("c", "3", "name", "WS1")}, "a/1 b/2 c/3", 3, "SID"},
		{"a gone record makes room for its successor", []Record{gone(record("a", "1", "name", "WS1")), record("a", "2", "name", "WS1"), record("b", "3", "name", "WS1")}, "a/1 a/2+b/3", 0, ""},
		{"a gone record alone still joins", []Record{gone(record("a", "1", "name", "WS1")), record("b", "3", "name", "WS1")}, "a/1+b/3", 0, ""},
		{"NetBIOS name of 15 characters", []Record{record("ad", "1", "name", "LON-WORKSTATION", "fqdn", "lon-workstation-17.fleet.test"), record("falcon", "2", "name", "lon-workstation-17")}, "ad/1+falcon/2", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			machines, conflicts := partition(c.records)
			if got := strings.Join(machines, " "); got != c.want {
				t.Errorf("machines %s, want %s", got, c.want)
			}
			if len(conflicts) != c.conflicts || c.says != "" && !strings.Contains(strings.Join(conflicts, "\n"), c.says) {
				t.Errorf("%d conflicts, want %d with %q:\n%s", len(conflicts), c.conflicts, c.says, strings.Join(conflicts, "\n"))
			}
		})
	}
}

// chaos makes records that share keys, names and serials at random, so that every rule and contradiction occurs.
func chaos(rng *rand.Rand, n int) []Record {
	var out []Record
	few := func(format string) string { return fmt.Sprintf(format, rng.IntN(n/3+1)) }
	formats := map[string]string{"name": "WS%d", "fqdn": "ws%d.fleet.test", "claims.sid": "S-1-5-21-%d",
		"claims.object_guid": "2a6b1f0c-52e7-4b8d-9b7e-%012d", "claims.entra_device_id": "2a6b1f0c-52e7-4b8d-9b7e-%012d",
		"claims.smbios": "4c4c4544-0051-3610-8052-%012d", "claims.falcon_aid": "a%d", "serial": "5CG1%d", "model": "X%d"}
	fields := slices.Sorted(maps.Keys(formats)) // a seed draws the same each time
	for i := range n {
		r := record([]string{"ad", "entra", "falcon", "csv"}[rng.IntN(4)], fmt.Sprint(i))
		for _, field := range fields {
			if v := few(formats[field]); rng.IntN(3) == 0 {
				r.Fields[field] = v
			}
		}
		r.Gone = rng.IntN(8) == 0
		out = append(out, r)
	}
	return out
}

// Whatever the records: their order does not matter, none is lost, and no machine has two values of a key that stays.
func TestMergeProperties(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		records := chaos(rng, 3+rng.IntN(40))
		machines, conflicts := partition(records)
		if n := len(strings.FieldsFunc(strings.Join(machines, "+"), func(r rune) bool { return r == '+' })); n != len(records) {
			t.Fatalf("seed %d: %d of %d records are left", seed, n, len(records))
		}
		byKey := map[string]Record{}
		for _, r := range records {
			byKey[r.Source+"/"+r.SourceKey] = r
		}
		for _, m := range machines {
			for k := range claims {
				values, sources := map[string]bool{}, map[string]bool{}
				for key := range strings.SplitSeq(m, "+") {
					if v := readFacts(byKey[key].Fields).claim[k]; v != "" {
						values[v], sources[byKey[key].Source] = true, true
					}
				}
				if len(values) > 1 && !claimInfo[k].reissued {
					t.Fatalf("seed %d: machine %s has the %ss %v", seed, m, claimInfo[k].words, slices.Sorted(maps.Keys(values)))
				}
				if len(values) > 1 && len(values) == len(sources) && len(sources) == strings.Count(m, "+")+1 {
					t.Fatalf("seed %d: machine %s has enrolments of one source each", seed, m)
				}
			}
		}
		for range 3 {
			rng.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
			again, said := partition(records)
			if !slices.Equal(machines, again) || !slices.Equal(conflicts, said) {
				t.Fatalf("seed %d: order matters:\n%q\n%q\n%q\n%q", seed, machines, again, conflicts, said)
			}
		}
	}
}

// The same through the store, source by source: same machines, and importing again changes nothing, not even an ID.
func TestImportInAnyOrder(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 2))
		records := chaos(rng, 30)
		want, _ := partition(records)
		for range 2 {
			s := open(t)
			bySource := map[string][]Record{}
			for _, r := range records {
				bySource[r.Source] = append(bySource[r.Source], r)
			}
			sources := slices.Sorted(maps.Keys(bySource))
			rng.Shuffle(len(sources), func(i, j int) { sources[i], sources[j] = sources[j], sources[i] })
			for _, source := range sources {
				put(t, s, source, bySource[source]...)
			}
			before := stored(t, s)
			if got := slices.Sorted(maps.Keys(before)); !slices.Equal(got, want) {
				t.Fatalf("seed %d, sources %q:\n got %q\nwant %q", seed, sources, got, want)
			}
			for _, source := range sources {
				if r := put(t, s, source, bySource[source]...); r.Unchanged != len(bySource[source]) || r.NewMachines+r.JoinedMachines > 0 {
					t.Fatalf("seed %d: import again: %+v", seed, r)
				}
			}
			if after := stored(t, s); !maps.Equal(before, after) {
				t.Fatalf("seed %d: IDs changed: %v, then %v", seed, before, after)
			}
		}
	}
}

// stored gives the ID of each machine by its records.
func stored(t *testing.T, s *Store) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, m := range pick(t, s, "all") {
		full, err := s.Machine(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, r := range full.Records {
			keys = append(keys, r.Source+"/"+r.SourceKey)
		}
		slices.Sort(keys)
		out[strings.Join(keys, "+")] = m.ID
	}
	return out
}
