package cli

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/inventory/csv"
)

func newInventoryImport(a *app) *cobra.Command {
	var f command.TableFlags
	var source string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Read machines from a CSV or JSON file",
		Long: `Read machines from a table, as Excel, PowerShell and consoles write it, or from JSON; - reads stdin. docs/tables.md lists
the exports that are known.

Encoding, delimiter and header names are found out and said; flags set them. A row that cannot be read is reported with
its line, and the rest is imported: the exit code is then 3. Machines that run no Windows are counted and left out.
Importing a file again changes nothing that has not changed in it.`,
		Example: "fleetmend inventory import machines.csv\nfleetmend inventory import export.csv --map \"Asset Tag\"=name --map Standort=site\nfleetmend inventory import hosts.csv --encoding 850 --date-order dmy",
		Args:    exactly(1, "a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.importMachines(cmd, args[0], source, f)
		},
	}
	f.Add(cmd, "column=field, where the header is not understood; column=- leaves one out")
	cmd.Flags().StringVar(&source, "source", "", "name of the source (default: csv: and the file's name)")
	exits(cmd, exitSomeFailed)
	return cmd
}

type importSummary struct {
	Source    string         `json:"source"`
	ReadAs    string         `json:"read_as"`
	Rows      int            `json:"rows"`
	New       int            `json:"new"`
	Updated   int            `json:"updated"`
	Unchanged int            `json:"unchanged"`
	BadRows   []string       `json:"bad_rows"`
	Other     []string       `json:"other"`
	Systems   map[string]int `json:"systems,omitempty"`
	Remarks   []string       `json:"remarks"`
	Conflicts []string       `json:"conflicts"`
}

func (a *app) importMachines(cmd *cobra.Command, file, source string, f command.TableFlags) error {
	delimiter, order, err := f.Parse()
	if err != nil {
		return err
	}
	data, err := readInput(a.streams.In, file)
	if err != nil {
		return err
	}
	if source == "" {
		source = "csv:" + filepath.Base(file)
	}
	records, summary, err := readMachines(file, data, csv.Options{Source: source, Map: f.Map, Encoding: f.Encoding, Delimiter: delimiter, DateOrder: order})
	if err != nil {
		return err
	}
	store, err := a.openStore(cmd.Context())
	if err != nil {
		return err
	}
	report, err := store.Import(cmd.Context(), source, records)
	if err != nil {
		return err
	}
	summary.New, summary.Updated, summary.Unchanged = report.NewMachines, report.UpdatedMachines(), report.Unchanged
	summary.Conflicts = append(summary.Conflicts, report.Conflicts...)
	summary.Remarks = append(summary.Remarks, report.Problems...)
	if err := one(a.out, a.streams.Out, summary, summary.write); err != nil {
		return err
	}
	switch {
	case len(summary.BadRows) > 0 && len(records) == 0:
		return hint.Wrap(errorf("%s: no row could be read", file), "the lines above say why")
	case len(summary.BadRows) > 0:
		return silently(exitSomeFailed)
	}
	return nil
}

func readMachines(file string, data []byte, o csv.Options) ([]inventory.Record, importSummary, error) {
	summary := importSummary{Source: o.Source}
	records, report, err := csv.Read(bytes.NewReader(data), o)
	if err != nil {
		return nil, summary, fmt.Errorf("read %s: %w", file, err)
	}
	summary.ReadAs, summary.Rows, summary.Remarks, summary.Systems = report.ReadAs, report.Rows, report.Problems, report.Systems
	for _, bad := range report.BadRows {
		summary.BadRows = append(summary.BadRows, fmt.Sprintf("%s:%d: %s", file, bad.Line, bad.Reason))
	}
	for _, other := range report.Other {
		summary.Other = append(summary.Other, file+": "+other)
	}
	if len(report.Ignored) > 0 {
		summary.Remarks = append(summary.Remarks, "columns that mean nothing here: "+strings.Join(report.Ignored, ", "))
	}
	summary.Conflicts = report.Duplicates
	return records, summary, nil
}

// maxImport bounds what is read into memory; a machine takes some 300 bytes, so this is about a million of them.
const maxImport = 512 << 20

func readInput(stdin io.Reader, file string) ([]byte, error) {
	if file != "-" {
		return textfile.Bytes(file, maxImport)
	}
	data, err := textfile.ReadAll(stdin, maxImport)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return data, nil
}

func (s importSummary) write(w io.Writer) error {
	fmt.Fprintf(w, "%s: %s read, %s new, %d updated, %d unchanged\n", oneLine(s.Source), counted(s.Rows, "row", "rows"), machinesText(s.New), s.Updated, s.Unchanged)
	fmt.Fprintf(w, "  read as %s\n", oneLine(s.ReadAs))
	if n := len(s.BadRows); n > 0 {
		fmt.Fprintf(w, "  %s left out\n", counted(n, "row was", "rows were"))
	}
	writeLines(w, "left out", s.BadRows)
	if len(s.Other) > 0 {
		var systems []string
		for _, name := range slices.Sorted(maps.Keys(s.Systems)) {
			systems = append(systems, fmt.Sprintf("%d with %s", s.Systems[name], name))
		}
		fmt.Fprintf(w, "  %s left out, for they run no Windows: %s\n", counted(len(s.Other), "machine was", "machines were"), strings.Join(systems, ", "))
	}
	writeLines(w, "no Windows", s.Other)
	writeLines(w, "remark", s.Remarks)
	writeLines(w, "conflict", s.Conflicts)
	return nil
}
