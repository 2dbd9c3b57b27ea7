package cli

import (
	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/internal/table"
)

// tableFlags say how a table is to be read, where it is not to be found out.
type tableFlags struct {
	mapping                        map[string]string
	encoding, delimiter, dateOrder string
}

func (f *tableFlags) flags(cmd *cobra.Command, mapHelp string) {
	cmd.Flags().StringToStringVar(&f.mapping, "map", nil, mapHelp)
	cmd.Flags().StringVar(&f.encoding, "encoding", "", "encoding of the file: utf-8, utf-16 or a code page of Windows such as 1252, 850, 932 (default: found out and said)")
	cmd.Flags().StringVar(&f.delimiter, "delimiter", "", "what parts the cells: comma, semicolon, tab, bar or a character (default: found out and said)")
	cmd.Flags().StringVar(&f.dateOrder, "date-order", "", "how to read 3/4/2026: dmy (3 April) or mdy (4 March); without it such a date is left out")
	complete(cmd, "encoding", table.Encodings()...)
	complete(cmd, "date-order", string(table.DayFirst), string(table.MonthFirst))
}

// parse gives delimiter and order of dates. A mistake is one of use.
func (f *tableFlags) parse() (delimiter rune, order table.Order, err error) {
	if err = table.CheckEncoding(f.encoding); err != nil {
		return 0, "", coded(exitUsage, err)
	}
	if f.delimiter != "" {
		if delimiter, err = table.ParseDelimiter(f.delimiter); err != nil {
			return 0, "", coded(exitUsage, err)
		}
	}
	if order, err = table.ParseOrder(f.dateOrder); err != nil {
		return 0, "", coded(exitUsage, err)
	}
	return delimiter, order, nil
}
