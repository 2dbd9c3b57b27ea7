package pxe

import (
	"fmt"
	"time"

	"github.com/fleetmend/fleetmend/internal/prose"
)

// Text is the event in a line: when, which service, who, what.
func (e Event) Text() string {
	who := e.Client.MAC
	if who == "" && e.Client.Address.IsValid() {
		who = e.Client.Address.String()
	}
	kind := ""
	if e.Client.Known {
		kind = " " + e.Client.Arch.String()
	}
	return fmt.Sprintf("%s  %-4s  %s%s  %s  %s", e.Time.Format(time.TimeOnly), e.Service, who, kind, prose.OneLine(e.What), prose.OneLine(e.File))
}

// Text says what is in the bundle, and what to look at.
func (b Bundled) Text() string {
	text := fmt.Sprintf("%s: %s, %d MB\n", b.Dir, prose.Counted(len(b.Files), "file", "files"), b.Bytes>>20)
	for _, t := range b.Warnings {
		text += "WARNING: " + t + "\n"
	}
	return text
}
