package leaktest_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/leaktest"
)

// A goroutine that takes longer than goleak's own patience is waited for.
func TestCheckWaits(t *testing.T) {
	var over atomic.Bool
	t.Run("slow", func(t *testing.T) {
		leaktest.Check(t)
		go func() {
			<-time.After(time.Second)
			over.Store(true)
		}()
	})
	if !over.Load() {
		t.Error("the test ended before its goroutine did")
	}
}
