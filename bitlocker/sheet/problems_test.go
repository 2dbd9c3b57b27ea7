package sheet_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/bitlocker/sheet"
)

func TestWhatASheetCannotPrintIsSaidOnceForAMachine(t *testing.T) {
	entries := make([]sheet.Entry, 5)
	for i := range entries {
		entries[i] = key(i)
		entries[i].LAPS, entries[i].Name = nil, "東京-PC-01"
	}
	entries[3].Name = "京-PC-02"
	problems := sheet.Problems(entries, sheet.Options{})
	if len(problems) != 2 || !strings.HasPrefix(problems[0], "東京-PC-01: ") || !strings.HasPrefix(problems[1], "京-PC-02: ") {
		t.Errorf("%q", problems)
	}
	if slices.ContainsFunc(sheet.Problems([]sheet.Entry{key(1)}, sheet.Options{}), func(s string) bool { return s != "" }) {
		t.Error("said without need")
	}
}
