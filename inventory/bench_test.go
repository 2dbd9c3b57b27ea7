package inventory

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
)

// fleet makes records of n machines as a directory and, where both is set, as an agent's console lists them.
func fleet(source string, n int, both bool) []Record {
	sites := []string{"LON", "PAR", "BER", "NYC", "SIN"}
	out := make([]Record, n)
	for i := range out {
		name := fmt.Sprintf("WS%06d", i)
		out[i] = record(source, name, "name", name, "fqdn", name+".fleet.test", "site", sites[i%5], "os.name", "Windows 11 Enterprise",
			"os.version", fmt.Sprintf("10.0 (%d)", 19045+(i%4)*1200), "address", fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255),
			"ou", "OU=Tills,OU=Computers,DC=fleet,DC=test", "last_seen", "2024-07-19T04:00:00Z", "serial", fmt.Sprintf("5CG%07d", i), "model", "Latitude 5520")
		if both {
			out[i].Fields["claims.falcon_aid"] = fmt.Sprintf("%032x", i)
		} else {
			out[i].Fields["claims.sid"] = fmt.Sprintf("S-1-5-21-1-2-3-%d", i)
			out[i].Fields["claims.object_guid"] = fmt.Sprintf("2a6b1f0c-52e7-4b8d-9b7e-%012x", i)
		}
		if i%7 == 0 {
			out[i].Fields["health"] = "affected"
		}
	}
	return out
}

const benchMachines = 50_000

func benchStore(b *testing.B) *Store {
	s := open(b)
	put(b, s, "ad:fleet.test", fleet("ad:fleet.test", benchMachines, false)...)
	put(b, s, "falcon", fleet("falcon", benchMachines, true)...)
	return s
}

func BenchmarkImport50000(b *testing.B) {
	ad, falcon := fleet("ad:fleet.test", benchMachines, false), fleet("falcon", benchMachines, true)
	for _, step := range []string{"first", "again", "second-source"} {
		b.Run(step, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				s, err := Open(b.Context(), filepath.Join(b.TempDir(), fmt.Sprint(i)))
				if err != nil {
					b.Fatal(err)
				}
				records, source := ad, "ad:fleet.test"
				if step != "first" {
					put(b, s, source, records...)
				}
				if step == "second-source" {
					records, source = falcon, "falcon"
				}
				b.StartTimer()
				put(b, s, source, records...)
				b.StopTimer()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

func BenchmarkLoad50000(b *testing.B) {
	s := benchStore(b)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		s.snap = nil
		if _, err := s.snapshot(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB-held")
}

func BenchmarkSelect50000(b *testing.B) {
	s := benchStore(b)
	for _, text := range []string{"all", `os.build < 22631 && site == "LON" && health == "affected"`, `last_seen < ago("30d") && !("canary" in tags)`,
		"WS0001*", "WS000001,WS049999", `name matches "^WS0.*7$"`, `glob(name, "ws*7")`} {
		b.Run(text, func(b *testing.B) {
			sel, err := ParseSelector(text, nil)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := s.Select(context.Background(), sel); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := s.Select(context.Background(), sel); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/0.020, "ratio-of-20-ms")
		})
	}
}

// BenchmarkLookup50000 finds one machine as a new process does: nothing of the inventory is in memory.
func BenchmarkLookup50000(b *testing.B) {
	s := benchStore(b)
	for _, word := range []string{"WS012345", "ws012345.fleet.test", "5cg0012345", "nobody"} {
		b.Run(word, func(b *testing.B) {
			for b.Loop() {
				if m, err := s.Lookup(context.Background(), word); err != nil || (len(m) == 1) != (word != "nobody") {
					b.Fatal(m, err)
				}
			}
		})
	}
}
