package csv

import (
	"fmt"
	"io"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/table"
	"github.com/fleetmend/fleetmend/inventory"
)

// DefaultColumns are the fields [Write] writes when none are named: all that [Read] takes back.
func DefaultColumns() []string { return inventory.RecordFields() }

// Write writes machines as CSV with commas, in UTF-8, with a header of field names. Cells that a spreadsheet would take
// for a formula get an apostrophe in front, which [Read] takes off again. Files begin with [table.Mark], for Excel.
func Write(w io.Writer, machines []inventory.Machine, columns []string) error {
	if len(columns) == 0 {
		columns = DefaultColumns()
	}
	for _, c := range columns {
		if _, ok := (&inventory.Machine{}).Field(c); !ok {
			err := fmt.Errorf("write table: unknown column %q", c)
			if near := hint.Nearest(c, inventory.RecordFields()); near != "" {
				err = fmt.Errorf("write table: unknown column %q, did you mean %q?", c, near)
			}
			return hint.Wrapf(err, "columns: %s", strings.Join(inventory.RecordFields(), ", "))
		}
	}
	out := table.NewWriter(w)
	out.Write(columns...)
	cells := make([]string, len(columns))
	for i := range machines {
		for j, c := range columns {
			cells[j], _ = machines[i].Field(c)
		}
		out.Write(cells...)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}
