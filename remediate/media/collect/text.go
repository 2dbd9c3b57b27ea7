package collect

import "github.com/fleetmend/fleetmend/remediate/agent"

// Recorded says in words whether the line is in the journal now.
func (l Line) Recorded() string {
	switch {
	case l.Problem != "":
		return "no: " + l.Problem
	case !l.New:
		return "known before"
	case !l.Counted:
		return "yes, the outcome stays as it was"
	}
	return "yes"
}

// Counts says how many lines there are of what. Failed ones are among the others too.
type Counts struct{ Recorded, Again, Bad, Failed int }

// Count counts lines.
func Count(all []Line) (n Counts) {
	for _, l := range all {
		switch {
		case l.Problem != "":
			n.Bad++
		case l.New:
			n.Recorded++
		default:
			n.Again++
		}
		if l.Outcome == agent.Failed {
			n.Failed++
		}
	}
	return n
}
