package machines

import (
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/inventory/csv"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// The words in which a face speaks of machines. They are those of the stores, which no face knows.

type (
	// Machine is a machine of the inventory.
	Machine = inventory.Machine
	// ProbeResult is what a machine answered, or why it did not.
	ProbeResult = inventory.ProbeResult
	// UnknownError names machines that the inventory does not have.
	UnknownError = inventory.UnknownMachinesError
	// TableOptions say how a table of machines is read.
	TableOptions = csv.Options
	// Visit is what one run made of a machine.
	Visit = journal.Visit
)

// Fields are what selectors and columns can name; Write and WriteJSON write machines as files that an import reads back.
var (
	Fields    = inventory.Fields
	Write     = csv.Write
	WriteJSON = csv.WriteJSON
)
