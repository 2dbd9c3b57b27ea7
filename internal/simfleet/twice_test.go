package simfleet_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// leave begins a request and goes away: nobody receives what its shell says, and the shell works on.
func (c *client) leave(run string, mode agent.Mode, bound playbook.Playbook) error {
	stdin, err := agent.Encode(agent.Request{Run: run, Nonce: agent.Nonce(), Mode: mode, Playbook: bound})
	if err != nil {
		return err
	}
	shell := c.create()
	c.input(shell, c.command(shell, agent.CommandLine(), false), stdin, true)
	c.http.CloseIdleConnections()
	return nil
}

// askUntil asks again while another request is at work.
func (c *client) askUntil(run string, mode agent.Mode, bound playbook.Playbook) (agent.Result, error) {
	for {
		result, err := c.askOf(run, mode, bound)
		if !errors.Is(err, agent.ErrBusy) {
			return result, err
		}
	}
}

// TestTwoRequestsAtOnceOverWinRM sends two requests of one run to every machine of a fleet at once, over WinRM; one of them loses its
// connection while its shell goes on. Each machine acts once, in whatever order they come. FLEETMEND_SEEDS (1) is how many fleets.
func TestTwoRequestsAtOnceOverWinRM(t *testing.T) {
	seeds, machines := 1, 100
	if n, err := strconv.Atoi(os.Getenv("FLEETMEND_SEEDS")); err == nil {
		seeds = n
	}
	bound := cure(t)
	bound.Reboot = "never" // a restart would end the shells
	for seed := range seeds {
		o := open(machines, simfleet.Mix{Affected: 1})
		o.Seed = uint64(seed + 1)
		f := start(t, o)
		random := rand.New(rand.NewPCG(uint64(seed), 1)) //nolint:gosec // a test's
		var all sync.WaitGroup
		for _, m := range f.Machines() {
			gone, stays := basic(t, f, m.Name, "http"), basic(t, f, m.Name, "http")
			first := random.IntN(2) == 0
			begun := make(chan struct{})
			all.Go(func() {
				defer close(begun)
				if err := gone.leave("r-1", agent.Fix, bound); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() {
				if first {
					<-begun // its input is there, and perhaps its work
				}
				r, err := stays.askUntil("r-1", agent.Fix, bound)
				if err != nil || r.Outcome != agent.Fixed || r.Changed != 1 {
					t.Errorf("seed %d, %s: %+v, %v", seed, m.Name, r, err)
				}
			})
		}
		all.Wait()
		for _, m := range f.Machines() {
			// The one that went away may come last, and then acts no more.
			r, err := basic(t, f, m.Name, "http").askUntil("r-1", agent.Fix, bound)
			if s := look(t, f, m.Name); err != nil || !r.Repeated || s.Changes != 1 || s.Crashes {
				t.Errorf("seed %d, %s: %d acts, crashes %v, asked again: %+v, %v", seed, m.Name, s.Changes, s.Crashes, r, err)
			}
		}
		if t.Failed() {
			return
		}
		f.Close()
	}
}
