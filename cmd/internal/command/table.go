package command

import (
	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/internal/table"
)

// TableFlags say how a table is to be read, where it is not to be found out.
type TableFlags struct {
	Map                  map[string]string
	Encoding             string
	delimiter, dateOrder string
}

// Add adds them to cmd.
func (f *TableFlags) Add(cmd *cobra.Command, mapHelp string) {
	cmd.Flags().StringToStringVar(&f.Map, "map", nil, mapHelp)
	cmd.Flags().StringVar(&f.Encoding, "encoding", "", "encoding of the file: utf-8, utf-16 or a code page of Windows such as 1252, 850, 932 (default: found out and said)")
	cmd.Flags().StringVar(&f.delimiter, "delimiter", "", "what parts the cells: comma, semicolon, tab, bar or a character (default: found out and said)")
	cmd.Flags().StringVar(&f.dateOrder, "date-order", "", "how to read 3/4/2026: dmy (3 April) or mdy (4 March); without it such a date is left out")
	Complete(cmd, "encoding", table.Encodings()...)
	Complete(cmd, "date-order", string(table.DayFirst), string(table.MonthFirst))
}

// Parse gives delimiter and order of dates. A mistake is one of use.
func (f *TableFlags) Parse() (delimiter rune, order table.Order, err error) {
	if err = table.CheckEncoding(f.Encoding); err != nil {
		return 0, "", Coded(ExitUsage, err)
	}
	if f.delimiter != "" {
		if delimiter, err = table.ParseDelimiter(f.delimiter); err != nil {
			return 0, "", Coded(ExitUsage, err)
		}
	}
	if order, err = table.ParseOrder(f.dateOrder); err != nil {
		return 0, "", Coded(ExitUsage, err)
	}
	return delimiter, order, nil
}
