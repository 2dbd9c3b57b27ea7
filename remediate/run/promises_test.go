package run_test

import (
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/journal"
)

// TestWaitingForATurnIsNotTheMachinesTime lets the first machine take its time, while the others wait for their turn to prove the
// credentials: they still have all of their own.
func TestWaitingForATurnIsNotTheMachinesTime(t *testing.T) {
	bubble(t, 3, func(t *testing.T, s *setup) {
		s.input.Options.Forks, s.input.Options.Timeout, s.input.Options.Retries = 3, 20*time.Second, 0
		s.input.Options.MaxFail.Set = false
		s.fleet.latency = 15 * time.Second // after the wait of 15 for the first more than the 20 of a machine
		for i := range 3 {
			s.fleet.machine(i).stays = true
		}
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunDone, journal.Fixed, 3)
	})
}
