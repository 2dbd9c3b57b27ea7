package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

const tablePath = "test/mutants/table.tsv"

// row is a mutant with the test that notices it, or "-" and the reason why none can.
type row struct {
	mutant
	test   string
	reason string
}

// readTable reads the table: package, name, file, function, kind, what, with, test, reason, by tabs.
func readTable() (map[string]row, error) {
	rows := map[string]row{}
	file, err := os.Open(tablePath)
	if errors.Is(err, fs.ErrNotExist) {
		return rows, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		f := strings.Split(lines.Text(), "\t")
		if len(f) != 9 || f[7] == "-" && f[8] == "" {
			return nil, fmt.Errorf("%s:%d: a row has nine fields, and a reason where no test is named", tablePath, n)
		}
		m := mutant{Package: f[0], id: f[1], File: f[2], Function: f[3], Kind: f[4]}
		text, textErr := strconv.Unquote(f[5])
		with, withErr := strconv.Unquote(f[6])
		if err := errors.Join(textErr, withErr); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", tablePath, n, err)
		}
		m.Text, m.With = text, with
		rows[m.id] = row{m, f[7], f[8]}
	}
	return rows, lines.Err()
}

func writeTable(rows map[string]row) error {
	var out strings.Builder
	out.WriteString("# package\tname\tfile\tfunction\tkind\twhat\twith\ttest that notices it\treason where none can\n")
	for _, id := range sortedIDs(rows) {
		r := rows[id]
		fmt.Fprintf(&out, "%s\t%s\t%s\t%s\t%s\t%q\t%q\t%s\t%s\n", r.Package, r.id, r.File, r.Function, r.Kind, r.Text, r.With, r.test, r.reason)
	}
	return os.WriteFile(tablePath, []byte(out.String()), 0o644)
}

// addRow reads the table anew: another draw may have written to it meanwhile.
func addRow(r row) error {
	rows, err := readTable()
	if err != nil {
		return err
	}
	rows[r.id] = r
	return writeTable(rows)
}
