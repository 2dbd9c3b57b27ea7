package desk

import "runtime/debug"

// Spare lets the collector of garbage come half as often, as long as the process has less than so many bytes: for what is over soon and
// keeps nearly all it makes, or nearly nothing. It is for the whole process, and what it returns takes it back.
func Spare(bytes int64) func() {
	bound := debug.SetMemoryLimit(-1)
	percent, limit := debug.SetGCPercent(200), debug.SetMemoryLimit(min(bound, bytes))
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}
