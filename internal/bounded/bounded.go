// Package bounded holds what a fuzz target does with one input to a bound of memory, so that an input which makes a
// parser allocate without end is found as well as one that makes it panic. (Go itself ends a fuzz target that takes
// longer than ten seconds for one input, and records that input as a crash.) Only tests import it.
package bounded

import (
	"runtime/metrics"
	"testing"
)

const (
	base    = 64 << 20 // bytes an input of any size may cost
	perByte = 256      // bytes that each byte of the input may cost on top
)

// Input is for the first line of a fuzz target: defer bounded.Input(t, len(data))(). The function it returns fails the
// test if more was allocated meanwhile, freed or not, than an input of this size may cost.
func Input(t testing.TB, size int) func() {
	t.Helper()
	before := allocated()
	return func() {
		t.Helper()
		if n := allocated() - before; n > Limit(size) {
			t.Errorf("%d bytes of input made it allocate %d", size, n)
		}
	}
}

// Limit is how many bytes an input of this size may make a parser allocate.
func Limit(size int) uint64 { return base + perByte*uint64(max(size, 0)) } //nolint:gosec // not negative

func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
