package cli

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/inventory/csv"
)

func newInventoryImport(a *app) *cobra.Command {
	var mapping map[string]string
	var source string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Read machines from a CSV or JSON file",
		Long: `Read machines from a CSV file as Excel writes it, or from JSON; - reads stdin.

Delimiter, encoding and header names are guessed. A row that cannot be read is reported with its line, and the rest is
imported. Importing a file again changes nothing that has not changed in it.`,
		Example: "fleetmend inventory import machines.csv\nfleetmend inventory import export.csv --map \"Asset Tag\"=name --map Standort=site",
		Args:    exactly(1, "a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.importMachines(cmd, args[0], source, mapping)
		},
	}
	cmd.Flags().StringToStringVar(&mapping, "map", nil, "column=field, where the header is not understood; column=- leaves one out")
	cmd.Flags().StringVar(&source, "source", "", "name of the source (default: csv: and the file's name)")
	return cmd
}

type importSummary struct {
	Source    string   `json:"source"`
	Rows      int      `json:"rows"`
	New       int      `json:"new"`
	Updated   int      `json:"updated"`
	Unchanged int      `json:"unchanged"`
	BadRows   []string `json:"bad_rows"`
	Remarks   []string `json:"remarks"`
	Conflicts []string `json:"conflicts"`
}

func (a *app) importMachines(cmd *cobra.Command, file, source string, mapping map[string]string) error {
	data, err := readInput(a.streams.In, file)
	if err != nil {
		return err
	}
	if source == "" {
		source = "csv:" + filepath.Base(file)
	}
	records, summary, err := readMachines(file, source, data, mapping)
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
	if len(summary.BadRows) > 0 && len(records) == 0 {
		return hint.Wrap(errorf("%s: no row could be read", file), "the lines above say why")
	}
	return nil
}

func readMachines(file, source string, data []byte, mapping map[string]string) ([]inventory.Record, importSummary, error) {
	summary := importSummary{Source: source}
	read := csv.Read
	if isJSON(file, data) {
		read = csv.ReadJSON
	}
	records, report, err := read(bytes.NewReader(data), csv.Options{Source: source, Map: mapping})
	if err != nil {
		return nil, summary, fmt.Errorf("read %s: %w", file, err)
	}
	summary.Rows = report.Rows
	for _, bad := range report.BadRows {
		summary.BadRows = append(summary.BadRows, fmt.Sprintf("%s:%d: %s", file, bad.Line, bad.Reason))
	}
	summary.Remarks = report.Problems
	if len(report.Ignored) > 0 {
		summary.Remarks = append(summary.Remarks, "columns that mean nothing here: "+strings.Join(report.Ignored, ", "))
	}
	summary.Conflicts = report.Duplicates
	return records, summary, nil
}

func isJSON(file string, data []byte) bool {
	if strings.EqualFold(filepath.Ext(file), ".json") || strings.EqualFold(filepath.Ext(file), ".jsonl") {
		return true
	}
	start := strings.TrimLeft(string(data[:min(len(data), 64)]), " \t\r\n")
	return strings.HasPrefix(start, "{") || strings.HasPrefix(start, "[{")
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
	fmt.Fprintf(w, "%s: %s read, %s new, %d updated, %d unchanged\n", s.Source, counted(s.Rows, "row", "rows"), machinesText(s.New), s.Updated, s.Unchanged)
	for _, part := range []struct {
		title string
		lines []string
	}{{"left out", s.BadRows}, {"remark", s.Remarks}, {"conflict", s.Conflicts}} {
		for i, line := range part.lines {
			if i == 20 {
				fmt.Fprintf(w, "  %s: and %d more; -o json lists all\n", part.title, len(part.lines)-i)
				break
			}
			fmt.Fprintf(w, "  %s: %s\n", part.title, oneLine(line))
		}
	}
	return nil
}
