package cases

import "github.com/fleetmend/fleetmend/remediate/journal"

// The words in which a face speaks of cases. They are those of the journal, which no face knows.

type (
	// Incident is what happened to the fleet, with the question that tells who is affected.
	Incident = journal.Incident
	// Act is one act of marking: many cases, one word, one reason.
	Act = journal.Act
)
