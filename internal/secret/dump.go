package secret

// NoDumps asks the operating system to write no image of this process's memory when it crashes. What the process prints
// of itself then, stack traces, holds addresses of texts and not the texts.
func NoDumps() error { return noDumps() }
