package report

import (
	"cmp"

	"github.com/fleetmend/fleetmend/remediate/journal"
)

// face is how a status looks: everywhere a word and a mark, the colour only on top of them.
type face struct {
	order int
	class string // of the style sheet and of the hatching in charts
	mark  string // in HTML
	word  string // in sentences: "3 machines ..."
	title string // on tiles and in legends
	ansi  string // SGR parameters
}

var faces = map[Status]face{
	Status(journal.Fixed):       {1, "fixed", "✔", "fixed", "Fixed", "32"},
	Status(journal.Undone):      {2, "undone", "↶", "undone", "Undone", "32"},
	Status(journal.Clean):       {3, "clean", "○", "not affected", "Not affected", "36"},
	Status(journal.Affected):    {4, "affected", "!", "affected", "Affected", "33"},
	Status(journal.Failed):      {5, "failed", "✖", "failed", "Failed", "31"},
	Status(journal.Unknown):     {6, "unknown", "?", "in doubt", "In doubt", "35"},
	Status(journal.Unreachable): {7, "unreachable", "⊘", "not reached", "Not reached", "33"},
	Status(journal.Held):        {8, "held", "‖", "held back", "Held back", "34"},
	Running:                     {9, "running", "▸", "in progress", "In progress", "34"},
	Waiting:                     {10, "waiting", "…", "waiting", "Waiting", "2"},
	Status(journal.Skipped):     {11, "skipped", "–", "skipped", "Skipped", "2"},
}

// faceOf never fails: an outcome of a newer journal gets a plain face.
func faceOf(status Status) face {
	if f, ok := faces[status]; ok {
		return f
	}
	word := cmp.Or(string(status), "unknown")
	return face{12, "skipped", "·", word, word, "2"}
}

// needsAttention tells the statuses that ask for something to be done.
func needsAttention(status Status) bool {
	switch status {
	case Status(journal.Fixed), Status(journal.Undone), Status(journal.Clean):
		return false
	}
	return true
}
