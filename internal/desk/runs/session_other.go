//go:build !linux

package runs

// EndsAtLogoff says why a runner that is started here ends when its operator logs off; empty: it does not, or it is not known. Windows
// is told of in docs/runs.md: the runner itself says where it could not leave the job of its terminal.
func EndsAtLogoff() string { return "" }

// OutlivesLogoff is what to do about it.
const OutlivesLogoff = ""
