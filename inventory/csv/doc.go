// Package csv reads and writes inventories as the tables that administrators keep: CSV as Excel and PowerShell write
// it in any locale, and JSON.
//
// Most callers need [Read], which gives records for the inventory's store and a report of everything it could not use,
// and [Write]. Delimiter, encoding and the meaning of columns are guessed and reported; a bad row is named with its
// line and the rest is read. The package never touches the store and never writes a cell that a spreadsheet would run.
package csv
