package bounded_test

import (
	"testing"

	"github.com/fleetmend/fleetmend/internal/bounded"
)

// recorder is a test whose failure is looked at instead of reported.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }

var keep []byte

func TestInputSeesWhatWasAllocated(t *testing.T) {
	for _, c := range []struct {
		size  int
		alloc uint64
		bad   bool
	}{{10, 1 << 20, false}, {10, bounded.Limit(10) + 1<<20, true}, {1 << 20, bounded.Limit(10) + 1<<20, false}} {
		r := &recorder{TB: t}
		done := bounded.Input(r, c.size)
		keep = make([]byte, c.alloc)
		keep = nil // freed memory counts too
		if done(); r.failed != c.bad {
			t.Errorf("%d bytes of input, %d allocated: failed %v", c.size, c.alloc, r.failed)
		}
	}
}
