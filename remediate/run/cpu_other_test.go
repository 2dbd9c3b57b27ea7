//go:build !unix

package run_test

import "time"

func cpuTime() (time.Duration, bool) { return 0, false }
