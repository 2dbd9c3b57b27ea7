package csv_test

import (
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory/csv"
)

// Tables that were put together with copy a.csv+b.csv have the header, and the mark, once more, and end in Ctrl-Z.
func TestTheHeaderAgain(t *testing.T) {
	records, report := read(t, "\ufeff\ufeffName,Serial\r\nWS1,S1\r\n\ufeffName, Serial\r\nWS2,S2\r\nname,SERIAL\r\n\x1a", nil)
	got := byName(records)
	if len(records) != 3 || got["WS1"]["serial"] != "S1" || got["WS2"]["serial"] != "S2" || got["NAME"]["serial"] != "SERIAL" {
		t.Errorf("%v", got)
	}
	if len(report.BadRows) != 1 || report.BadRows[0].Line != 3 || !strings.Contains(report.BadRows[0].Reason, "the header stands here again") {
		t.Errorf("%v", report.BadRows)
	}
}

func TestAHeaderElsewhereIsPointedAt(t *testing.T) {
	for text, want := range map[string]string{
		"Report of all devices;;\n;;\nName;Serial;OS\nWS1;S1;Windows 11\n": "line 3 looks like the header",
		"\xc8\xec\xff;SN\nWS1;S1\n":                                        "--encoding",
	} {
		_, _, err := csv.Read(strings.NewReader(text), csv.Options{Source: "csv:t", SeenAt: seen})
		if hints := strings.Join(hint.Of(err), "\n"); err == nil || !strings.Contains(hints, want) {
			t.Errorf("%q: %v, %q", text, err, hints)
		}
	}
	_, _, err := csv.Read(strings.NewReader("Place\nServer\n"), csv.Options{Source: "csv:t", SeenAt: seen})
	if hints := strings.Join(hint.Of(err), "\n"); err == nil || strings.Contains(hints, "looks like") || strings.Contains(hints, "guess") {
		t.Errorf("%v, %q", err, hints)
	}
}

func TestTheFirstOfTwoNamesIsTaken(t *testing.T) {
	for text, want := range map[string]string{
		"Name,Hostname\nWS1,WS9\nWS2,ws2$\n":                      "WS1",
		"SamAccountName,CN\nLONGCOMPUTERNAM$,LongComputerName1\n": "LONGCOMPUTERNAME1",
		"CN,SamAccountName\nLongComputerName1,LONGCOMPUTERNAM$\n": "LONGCOMPUTERNAME1",
		"FQDN,Name\nws1.corp.example,WS1\n":                       "WS1",
	} {
		records, report := read(t, text, nil)
		if byName(records)[want] == nil {
			t.Errorf("%q: %v", text, records)
		}
		if said := strings.Join(report.Problems, "\n"); strings.Contains(text, "WS9") != strings.Contains(said, `line 2: column "Hostname" names another machine than a column before it`) {
			t.Errorf("%q: %q", text, said)
		}
	}
}

func TestWhatHasNoLetterIsNoHostName(t *testing.T) {
	for _, name := range []string{"---", "-", "_", "'", "#"} {
		if records, report := read(t, "Name|Serial\n"+name+"|S\nWS1|S1\n", nil); len(records) != 1 || len(report.BadRows) != 1 {
			t.Errorf("%q: %v, %v", name, records, report.BadRows)
		}
	}
}
