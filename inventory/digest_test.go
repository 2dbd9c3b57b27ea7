package inventory

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"
)

// seen are the machines as one reads them who has the digest; merged are the same from their records.
func seen(t *testing.T, s *Store) []Machine {
	t.Helper()
	var all []Machine
	err := s.stream(t.Context(), func(m *Machine) error {
		all = append(all, *m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, compareMachines)
	return all
}

func merged(t *testing.T, s *Store) []Machine {
	t.Helper()
	var all []Machine
	err := readAll(t.Context(), s.db, func(m *Machine) error {
		all = append(all, *m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, compareMachines)
	return all
}

func digested(t *testing.T, s *Store) (parts int) {
	t.Helper()
	if err := s.db.QueryRowContext(t.Context(), "SELECT count(*) FROM digest").Scan(&parts); err != nil {
		t.Fatal(err)
	}
	return parts
}

func differs(t *testing.T, s *Store, after string) {
	t.Helper()
	want, got := merged(t, s), seen(t, s)
	if len(want) != len(got) {
		t.Fatalf("after %s: %d machines, with the digest %d", after, len(want), len(got))
	}
	for i := range want {
		if !reflect.DeepEqual(want[i], got[i]) {
			t.Fatalf("after %s:\n%+v\nwith the digest\n%+v", after, want[i], got[i])
		}
	}
}

// Whatever is done to the inventory is seen at once, with the digest of a moment before it.
func TestTheDigestFollowsEveryChange(t *testing.T) {
	for seed := range uint64(4) {
		ctx, r := t.Context(), rand.New(rand.NewPCG(seed, 7))
		s := open(t)
		muddle(t, s, r)
		differs(t, s, "the beginning")
		if digested(t, s) == 0 {
			t.Fatal("no digest is kept")
		}
		if _, err := s.db.ExecContext(ctx, "DELETE FROM machines WHERE id IN ('0BARE', 'ZBARE')"); err != nil {
			t.Fatal(err)
		}
		for range 60 {
			all := pick(t, s, "all")
			m := all[r.IntN(len(all))]
			var err error
			what := "nothing"
			switch r.IntN(8) {
			case 0:
				what, err = "a probe", s.SetProbe(ctx, m.ID, ProbeResult{At: t0.Add(time.Duration(r.IntN(1000)) * time.Minute), Open: r.IntN(2) == 0, WinRM: true})
			case 1:
				what, err = "a tag", s.Tag(ctx, []string{m.ID}, []string{"a"}, []string{"canary"})
			case 2:
				what, err = "a field", s.SetField(ctx, m.ID, "site", []string{"", "LON", "SIN"}[r.IntN(3)])
			case 3, 4:
				what = "an import"
				_, err = s.Import(ctx, "csv:1", []Record{record("csv:1", fmt.Sprint(r.IntN(45)), "name", fmt.Sprintf("WS%d", r.IntN(40)), "serial", fmt.Sprintf("S%d", r.IntN(30)), "model", "M")})
			case 5:
				what = "one that joins two"
				o := all[r.IntN(len(all))]
				_, err = s.Import(ctx, "ad:x", []Record{record("ad:x", fmt.Sprint(r.IntN(50)), "name", m.Name, "fqdn", o.FQDN, "serial", o.Serial, "model", "M")})
			case 7:
				what = "a reading that says everything again"
				_, err = s.Take(ctx, []string{"ad:x", "csv:1", "csv:2"}[r.IntN(3)], Reading{Called: 1})
			case 6:
				what = "a listing"
				_, err = s.Sync(ctx, "csv:2", []Record{record("csv:2", fmt.Sprint(r.IntN(40)), "name", fmt.Sprintf("WS%d", r.IntN(40)))})
			}
			if err != nil {
				t.Fatal(err)
			}
			differs(t, s, what)
		}
		for len(pick(t, s, "all")) > 0 && digested(t, s) > 0 { // more than a log is kept of
			if _, err := s.db.ExecContext(ctx, "UPDATE records SET gone = 1 - gone"); err != nil {
				t.Fatal(err)
			}
		}
		differs(t, s, "very many changes")
	}
}

// Every trigger that notes a change is needed: without it the digest would be believed.
func TestEveryChangeIsNoted(t *testing.T) {
	ctx := t.Context()
	changes := map[string]string{
		"digest_machine_in": "INSERT INTO machines (id) VALUES ('NEW')", "digest_machine": `UPDATE machines SET conflicts = '["x"]' WHERE id = 'A'`, "digest_machine_out": "DELETE FROM machines WHERE id = 'BARE'",
		"digest_record_in": `INSERT INTO records (source, source_key, machine_id, seen_at, fields) VALUES ('new', '1', 'A', 1, '{"site":"X"}')`,
		"digest_record":    "UPDATE records SET machine_id = 'A' WHERE machine_id = 'B'", "digest_record_out": "DELETE FROM records WHERE machine_id = 'B'",
		"digest_field_in": "INSERT INTO operator_fields VALUES ('B', 'site', 'X', 1)", "digest_field": "UPDATE operator_fields SET machine_id = 'B'", "digest_field_out": "DELETE FROM operator_fields",
		"digest_tag_in": "INSERT INTO operator_tags VALUES ('B', 'new', 1)", "digest_tag": "UPDATE operator_tags SET machine_id = 'B'", "digest_tag_out": "DELETE FROM operator_tags",
		"digest_probe_in": `INSERT INTO probes VALUES ('B', '{"open":true}')`, "digest_probe": "UPDATE probes SET machine_id = 'B'", "digest_probe_out": "DELETE FROM probes",
		"digest_confirmed": "UPDATE sources SET confirmed_at = 3",
	}
	made := func() *Store {
		s := open(t)
		for _, statement := range []string{"INSERT INTO machines (id) VALUES ('A'), ('B'), ('BARE')",
			`INSERT INTO records (source, source_key, machine_id, seen_at, fields) VALUES ('old', '1', 'A', 1, '{"name":"A","site":"OLD"}'), ('old', '2', 'B', 1, '{"name":"B"}'),
				('later', '1', 'A', 2, '{"site":"LATER"}')`, "INSERT INTO sources (source, read_at) VALUES ('old', 1)",
			"INSERT INTO operator_fields VALUES ('A', 'model', 'X', 1)", "INSERT INTO operator_tags VALUES ('A', 'old', 1)", `INSERT INTO probes VALUES ('A', '{"winrm":true}')`} {
			if _, err := s.db.ExecContext(ctx, statement); err != nil {
				t.Fatal(err)
			}
		}
		differs(t, s, "the beginning")
		return s
	}
	var triggers []string
	err := each(ctx, made().db, "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name != 'digest_log_long'", func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		triggers = append(triggers, name)
		return err
	})
	if err != nil || len(triggers) != len(changes) {
		t.Fatalf("%d triggers, %d changes, %v", len(triggers), len(changes), err)
	}
	for _, trigger := range triggers {
		s := made()
		before := seen(t, s)
		if _, err := s.db.ExecContext(ctx, changes[trigger]); err != nil {
			t.Fatalf("%s: %v", trigger, err)
		}
		differs(t, s, trigger)
		if reflect.DeepEqual(before, seen(t, s)) {
			t.Errorf("%s: %s changes nothing", trigger, changes[trigger])
		}
		s = made()
		for _, statement := range []string{"DROP TRIGGER " + trigger, changes[trigger]} {
			if _, err := s.db.ExecContext(ctx, statement); err != nil {
				t.Fatalf("%s: %v", trigger, err)
			}
		}
		if reflect.DeepEqual(merged(t, s), seen(t, s)) {
			t.Errorf("%s is not needed for %s", trigger, changes[trigger])
		}
	}
}

// What was read before a change that nobody noted, because there was no digest, is not kept.
func TestADigestThatWasOvertakenIsNotKept(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "i.db")
	s, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put(t, s, "csv:1", record("csv:1", "1", "name", "A"), record("csv:1", "2", "name", "B"))
	overtaken := false
	err = s.stream(ctx, func(m *Machine) error {
		if overtaken {
			return nil
		}
		overtaken = true
		other, err := Open(ctx, path)
		if err != nil {
			return err
		}
		defer other.Close()
		return other.SetField(context.WithoutCancel(ctx), m.ID, "site", "LON")
	})
	if err != nil || digested(t, s) != 0 {
		t.Fatalf("%d parts are kept, %v", digested(t, s), err)
	}
	differs(t, s, "the change")
	if digested(t, s) == 0 {
		t.Error("no digest is kept when nothing changes")
	}
	if _, err := s.db.ExecContext(ctx, "UPDATE digest SET maker = 'another program', packed = x'00'"); err != nil {
		t.Fatal(err)
	}
	differs(t, s, "another program")
	differs(t, s, "another program, once more")
	var own bool
	if err := s.db.QueryRowContext(ctx, "SELECT maker != 'another program' FROM digest").Scan(&own); err != nil || !own {
		t.Errorf("the digest of another program stays, %v", err)
	}
}

// Every field of a machine that a snapshot has lies in the digest: each is set to something.
func TestTheDigestHoldsAllOfAMachine(t *testing.T) {
	left := map[string]bool{"Case": true, "Provenance": true, "Records": true} // are not in a snapshot
	var m Machine
	fill(t, reflect.ValueOf(&m).Elem(), left)
	var back Machine
	if err := back.unpack(string(m.pack(nil))); err != nil || !reflect.DeepEqual(m, back) {
		t.Errorf("%v\n%+v\n%+v", err, m, back)
	}
	packed := string(m.pack(nil))
	for n := range packed {
		if err := new(Machine).unpack(packed[:n]); err == nil {
			t.Errorf("%d of %d bytes are taken for a machine", n, len(packed))
		}
	}
}

func fill(t *testing.T, v reflect.Value, left map[string]bool) {
	t.Helper()
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		switch {
		case left[name]:
		case f.Type() == reflect.TypeFor[time.Time]():
			f.Set(reflect.ValueOf(time.Date(9999, 1, 2, 3, 4, 5, 6, time.UTC)))
		case f.Kind() == reflect.Struct:
			fill(t, f, left)
		case f.Kind() == reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
			fill(t, f.Elem(), left)
		case f.Kind() == reflect.String:
			f.SetString("the " + name)
		case f.Kind() == reflect.Bool:
			f.SetBool(true)
		case f.CanInt():
			f.SetInt(int64(-1000 - i))
		case f.Kind() == reflect.Slice:
			f.Set(reflect.ValueOf([]string{"", name}))
		default:
			t.Fatalf("%s: what is a %s?", name, f.Type())
		}
	}
}
