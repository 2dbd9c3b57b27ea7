package run_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/run"
)

// BenchmarkEngine10000 is engine and journal alone, a thousand machines in flight, each answering after 50 ms. It
// reports the CPU time of this process per machine, the fake fleet included, and the heap at its fullest.
func BenchmarkEngine10000(b *testing.B) {
	const machines = 10_000
	for b.Loop() {
		b.StopTimer()
		fleet := newFleet(machines)
		fleet.latency = 50 * time.Millisecond
		in := plan.Input{Now: time.Now(), Options: plan.DefaultOptions()}
		in.Options.Forks = 1000
		in.Waves, _ = plan.ParseWaves("1,100,100%") //nolint:errcheck // tested elsewhere
		for i := range machines {
			in.Entries = append(in.Entries, plan.Entry{Target: route.Target{ID: fmt.Sprint("id", i), Name: name(i)}, Route: "fake"})
		}
		p, err := plan.New(in)
		if err != nil {
			b.Fatal(err)
		}
		j, err := journal.Open(b.Context(), filepath.Join(b.TempDir(), "journal.db"))
		if err != nil {
			b.Fatal(err)
		}
		var heap uint64
		events := 0
		e, err := run.New(run.Options{Journal: j, Routes: map[string]route.Route{"fake": fleet}, Observer: observer(func(journal.Event) {
			if events++; events%10_000 == 0 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				heap = max(heap, m.HeapInuse)
			}
		})})
		if err != nil {
			b.Fatal(err)
		}
		before, known := cpuTime()
		b.StartTimer()
		r, err := e.Start(b.Context(), p)
		b.StopTimer()
		after, _ := cpuTime()
		if err != nil || r.Counts[journal.Fixed] != machines {
			b.Fatalf("%+v %v", r, err)
		}
		if known {
			b.ReportMetric(float64((after-before).Microseconds())/machines, "cpu-µs/machine")
		}
		b.ReportMetric(float64(heap)/(1<<20), "heap-MB")
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkSnapshot50000 is what a screen asks for ten times a second: the numbers of a run of 50,000 machines.
func BenchmarkSnapshot50000(b *testing.B) {
	const machines = 50_000
	p := &plan.Plan{Waves: []plan.Wave{{Name: "100%", Entries: make([]plan.Entry, machines)}}}
	g := run.NewProgress(p)
	began := time.Now()
	g.Observe(journal.Event{Seq: 1, Kind: journal.RunStarted, Time: began})
	for i := range machines {
		g.Observe(journal.Event{Seq: int64(i + 2), Kind: journal.MachineMove, Wave: 1, MachineID: name(i), State: journal.Done, Outcome: journal.Fixed, Time: began})
	}
	b.ReportAllocs()
	for b.Loop() {
		if s := g.Snapshot(began.Add(time.Second)); s.Done != machines {
			b.Fatal(s.Done)
		}
	}
}
