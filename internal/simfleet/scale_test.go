package simfleet_test

import (
	"context"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
)

// TestTenThousandMachines fixes a whole big fleet with our own route, a thousand machines at a time, both ends in this
// process. What it prints is for people; what it checks is that every answer is right and nothing stays open.
func TestTenThousandMachines(t *testing.T) {
	if os.Getenv("FLEETMEND_LONG") == "" {
		t.Skip("FLEETMEND_LONG is not set: 10,000 machines take a minute")
	}
	o := simfleet.Options{Machines: 10_000, Seed: 10, Mix: &simfleet.Mix{Affected: .6}, TimeScale: 1e6}
	begin := time.Now()
	f := start(t, o)
	t.Logf("start: %v, %s", time.Since(begin).Round(time.Millisecond), resident(t))
	user, domain, password := f.Account()
	r, err := winrm.New(winrm.Config{Credential: func(context.Context, route.Target) (winrm.Credential, error) {
		return winrm.Credential{User: user, Domain: domain, Password: password}, nil
	}, ReceiveTimeout: time.Minute, ConnectTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	source, err := playbook.Builtin(incident)
	if err != nil {
		t.Fatal(err)
	}
	bound, err := source.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	var group sync.WaitGroup
	slots := make(chan struct{}, 1000)
	for _, m := range f.Machines() {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			target := route.Target{ID: m.Name, Name: m.Name, Address: m.Address}
			got, err := r.Do(t.Context(), target, agent.Request{Run: "big", Nonce: agent.Nonce(), Mode: agent.Fix, Playbook: bound})
			if err != nil || got.Outcome != m.Expected {
				t.Errorf("%s: %+v, %v; want %s", m.Name, got, err, m.Expected)
			}
		})
	}
	group.Wait()
	took := time.Since(begin)
	until(t, "every connection is closed", func() bool { return f.Stats().Connections == 0 })
	s := f.Stats()
	t.Logf("10,000 machines in %v, %.2f requests per machine, %s", took.Round(time.Millisecond), float64(s.Requests)/10_000, resident(t))
	// Seven requests look at a machine, and one proves that it took the account.
	const left = 10 // a shell is closed within a few seconds or left to the machine, which a busy computer makes of some
	if s.Changes != 6000 || s.Answers != 10_000 || s.FailedLogons != 0 || s.Shells > left || s.Requests > 80_100 {
		t.Errorf("%+v", s)
	}
}

// resident says how much memory this process holds, as far as the system tells.
func resident(t *testing.T) string {
	runtime.GC()
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "memory unknown"
	}
	var out []string
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "VmHWM") {
			out = append(out, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(out, ", ")
}
