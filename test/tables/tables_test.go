package tables

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	keycsv "github.com/fleetmend/fleetmend/bitlocker/csv"
	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/inventory/csv"
)

// corpus are all files of a kind that can be had here. LibreOffice takes seconds for each and is left to the long tests.
func (k kind) corpus(tb testing.TB) []sample {
	tb.Helper()
	rows, err := json.Marshal(k.rows)
	if err != nil {
		tb.Fatal(err)
	}
	out := k.own(tb)
	out = append(out, k.iconv(tb)...)
	dir := tb.TempDir()
	out = append(out, run(tb, "Python", dir, "python *", rows, "python3", "-c", pythonWriter)...)
	if os.Getenv("FLEETMEND_LONG") != "" {
		out = append(out, run(tb, "PowerShell", dir, "pwsh *", rows, "pwsh", "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", powershellWriter)...)
		out = append(out, k.office(tb)...)
	}
	return out
}

// told counts the files of each program. Where all programs are here, the files are twenty at least, and half of them by others
// than this one.
func told(t *testing.T, samples []sample, programs ...string) {
	t.Helper()
	n := map[string]int{}
	for _, s := range samples {
		n[s.by]++
	}
	t.Log("files by program:", n)
	for _, p := range programs {
		if n[p] == 0 {
			return // the skip was said
		}
	}
	if len(samples) < 20 || 2*n[own] > len(samples) {
		t.Errorf("%d files, %d of them written here: 20 are wanted, and at most half of them written here", len(samples), n[own])
	}
}

// others are the programs that write tables beside this one.
var others = []string{"iconv", "Python", "PowerShell", "LibreOffice"}

// worker reports whether this is a process in which the fuzzer tries inputs: it is sent them.
func worker() bool {
	f := flag.Lookup("test.fuzzworker")
	return f != nil && f.Value.String() == "true"
}

// seed gives the fuzzer all files of a kind.
func (k kind) seed(f *testing.F) {
	if worker() {
		return
	}
	for _, s := range k.corpus(f) {
		f.Add(s.data, s.encoding)
	}
}

func TestMachines(t *testing.T) {
	samples := machines.corpus(t)
	told(t, samples, others...)
	for _, s := range samples {
		records, report, err := csv.Read(bytes.NewReader(s.data), csv.Options{Source: "csv:x", SeenAt: time.Unix(1, 0), Encoding: s.encoding})
		if err != nil || len(records) != 3 || len(report.BadRows)+len(report.Problems)+len(report.Other)+len(report.Duplicates) > 0 {
			t.Errorf("%s, %s: %d machines, %+v, %v", s.by, s.name, len(records), report, err)
			continue
		}
		for i, r := range records {
			want := machines.rows[i+1]
			got := []string{r.Fields["name"], r.Fields["fqdn"], r.Fields["site"], r.Fields["serial"], r.Fields["os.name"], strings.NewReplacer("T", " ", "Z", "").Replace(r.Fields["last_seen"])}
			for j := range want {
				if got[j] != want[j] {
					t.Errorf("%s, %s (%s): %q, want %q", s.by, s.name, report.ReadAs, got[j], want[j])
				}
			}
		}
	}
}

func TestKeys(t *testing.T) {
	samples := keys.corpus(t)
	told(t, samples, others...)
	for _, s := range samples {
		source, report, err := keycsv.Read(bytes.NewReader(s.data), keycsv.Options{Source: "csv:x", Encoding: s.encoding})
		if err != nil || report.Keys != 3 || len(report.BadRows)+len(report.Problems)+len(report.Remarks) > 0 {
			t.Errorf("%s, %s: %+v, %v", s.by, s.name, report, err)
			continue
		}
		for i, ref := range source.Refs() {
			want := keys.rows[i+1]
			p, err := source.Password(t.Context(), ref)
			if err != nil || ref.Machine.Name != want[0] || string(ref.ID) != want[1] || p.Reveal() != want[2] || ref.Created.Format(time.DateTime) != want[3] {
				t.Errorf("%s, %s (%s): %+v, %v; want %s", s.by, s.name, report.ReadAs, ref, err, want[1])
			}
		}
	}
}

func FuzzMachines(f *testing.F) {
	machines.seed(f)
	f.Fuzz(func(t *testing.T, data []byte, encoding string) {
		defer bounded.Input(t, len(data))()
		records, report, err := csv.Read(bytes.NewReader(data), csv.Options{Source: "csv:x", SeenAt: time.Unix(1, 0), Encoding: encoding})
		if err != nil {
			return
		}
		if report.ReadAs == "" {
			t.Fatal("how it was read is not said")
		}
		if n := len(records) + len(report.BadRows) + len(report.Duplicates) + len(report.Other); n < report.Rows {
			t.Fatalf("%d of %d rows are spoken of", n, report.Rows)
		}
	})
}

func FuzzKeys(f *testing.F) {
	keys.seed(f)
	f.Fuzz(func(t *testing.T, data []byte, encoding string) {
		defer bounded.Input(t, len(data))()
		source, report, err := keycsv.Read(bytes.NewReader(data), keycsv.Options{Source: "csv:x", Encoding: encoding})
		if err != nil {
			return
		}
		n := 0
		for _, ref := range source.Refs() {
			if ref.ID == "" || ref.SourceKey == "" {
				t.Fatalf("%+v", ref)
			}
			if _, err := source.Password(t.Context(), ref); err == nil {
				n++
			}
		}
		if n != report.Keys {
			t.Fatalf("%d keys, reported %d", n, report.Keys)
		}
	})
}
