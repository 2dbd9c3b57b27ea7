// Package leaktest fails tests that leave goroutines behind. goleak by itself waits less than half a second for them to
// end, which a loaded computer does not keep; here they get a minute, and nobody waits longer than they need.
package leaktest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const patience = time.Minute

// Main runs the tests of a binary and exits; with an error when goroutines outlive tests that passed.
func Main(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := ended(); err != nil {
			fmt.Fprintln(os.Stderr, err) //nolint:forbidigo // test support: there is no command line above it
			code = 1
		}
	}
	os.Exit(code) //nolint:forbidigo,revive // as above
}

// Check fails the test when goroutines are left after it that were not there at this call.
func Check(t testing.TB) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if err := ended(before); err != nil {
			t.Error(err)
		}
	})
}

func ended(options ...goleak.Option) error {
	for deadline := time.Now().Add(patience); ; {
		if err := goleak.Find(options...); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
