package machines

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/table"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/inventory/csv"
)

// Imported is what a table gave.
type Imported struct {
	Source    string         `json:"source"`
	ReadAs    string         `json:"read_as"`
	Rows      int            `json:"rows"`
	New       int            `json:"new"`
	Updated   int            `json:"updated"`
	Unchanged int            `json:"unchanged"`
	BadRows   []string       `json:"bad_rows"` // left out, with line and reason
	Other     []string       `json:"other"`    // left out, for they run no Windows
	Systems   map[string]int `json:"systems,omitempty"`
	Remarks   []string       `json:"remarks"`
	Conflicts []string       `json:"conflicts"`

	Records int `json:"-"` // read
}

// maxImport bounds what is read into memory; a machine takes some 300 bytes, so this is about a million of them.
const maxImport = 512 << 20

// Import reads a table of machines into the inventory; "-" is stdin. Rows that cannot be read are in the result, and the others are
// imported.
func Import(ctx context.Context, d *desk.Desk, file string, stdin io.Reader, o csv.Options) (Imported, error) {
	if o.Source == "" {
		o.Source = "csv:" + filepath.Base(file)
	}
	data, err := input(stdin, file)
	if err != nil {
		return Imported{}, err
	}
	records, out, err := read(file, data, o)
	if err != nil {
		return out, err
	}
	store, err := d.Inventory(ctx)
	if err != nil {
		return out, err
	}
	report, err := store.Import(ctx, o.Source, records)
	if err != nil {
		return out, err
	}
	out.Records, out.New, out.Updated, out.Unchanged = len(records), report.NewMachines, report.UpdatedMachines(), report.Unchanged
	out.Conflicts = append(out.Conflicts, report.Conflicts...)
	out.Remarks = append(out.Remarks, report.Problems...)
	return out, nil
}

func read(file string, data []byte, o csv.Options) ([]inventory.Record, Imported, error) {
	out := Imported{Source: o.Source}
	records, report, err := csv.Read(bytes.NewReader(data), o)
	if err != nil {
		return nil, out, fmt.Errorf("read %s: %w", file, err)
	}
	out.ReadAs, out.Rows, out.Remarks, out.Systems = report.ReadAs, report.Rows, report.Problems, report.Systems
	for _, bad := range report.BadRows {
		out.BadRows = append(out.BadRows, fmt.Sprintf("%s:%d: %s", file, bad.Line, bad.Reason))
	}
	for _, other := range report.Other {
		out.Other = append(out.Other, file+": "+other)
	}
	if len(report.Ignored) > 0 {
		out.Remarks = append(out.Remarks, "columns that mean nothing here: "+table.Headers(report.Ignored))
	}
	out.Conflicts = report.Duplicates
	return records, out, nil
}

func input(stdin io.Reader, file string) ([]byte, error) {
	if file != "-" {
		return textfile.Bytes(file, maxImport)
	}
	data, err := textfile.ReadAll(stdin, maxImport)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return data, nil
}
