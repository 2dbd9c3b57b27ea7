package csv_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/inventory/csv"
)

var seen = time.Date(2024, 7, 19, 6, 0, 0, 0, time.UTC)

func read(t *testing.T, text string, mapping map[string]string) ([]inventory.Record, csv.Report) {
	t.Helper()
	records, report, err := csv.Read(strings.NewReader(text), csv.Options{Source: "csv:t", SeenAt: seen, Map: mapping})
	if err != nil {
		t.Fatalf("read %q: %v", text, err)
	}
	return records, report
}

func encoded(t *testing.T, text, how string) string {
	t.Helper()
	var out string
	var err error
	switch how {
	case "UTF-8 BOM":
		return "\ufeff" + text
	case "UTF-16 LE":
		out, err = unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(text)
	case "UTF-16 BE":
		out, err = unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewEncoder().String(text)
	case "UTF-16 LE bare":
		out, err = unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewEncoder().String(text)
	case "UTF-16 BE bare":
		out, err = unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM).NewEncoder().String(text)
	case "Windows-1252":
		out, err = charmap.Windows1252.NewEncoder().String(text)
	default:
		return text
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The same table in every form that Excel, PowerShell and people write it.
func TestForms(t *testing.T) {
	for _, how := range []string{"UTF-8", "UTF-8 BOM", "UTF-16 LE", "UTF-16 BE", "UTF-16 LE bare", "UTF-16 BE bare", "Windows-1252"} {
		for _, delimiter := range []string{",", ";", "\t", "|"} {
			for _, eol := range []string{"\n", "\r\n", "\r"} {
				for _, first := range []string{"", "sep=" + delimiter + eol, "#TYPE Selected.Microsoft.ActiveDirectory" + eol, eol} {
					rows := [][]string{{"Rechnername", "Standort", "Seriennummer", "Unbekanntes"}, {"ws1.fleet.test", "München", "5CG1234", "x"}, {"WS2", "\"Köln \"\"Süd\"\"" + eol + "Halle" + delimiter + " 2\"", "", ""}}
					text := first
					for _, r := range rows {
						text += strings.Join(r, delimiter) + eol
					}
					records, report := read(t, encoded(t, text, how), nil)
					if len(records) != 2 || report.Delimiter != delimiter || !strings.HasPrefix(how, report.Encoding) && report.Encoding != "UTF-8" {
						t.Fatalf("%s %q %q: %d records, report %+v", how, delimiter, first, len(records), report)
					}
					if records[0].Fields["site"] != "München" || records[0].SourceKey != "ws1.fleet.test" || records[0].Fields["serial"] != "5CG1234" {
						t.Fatalf("%s %q: %+v", how, delimiter, records[0])
					}
					if want := "Köln \"Süd\"" + eol + "Halle" + delimiter + " 2"; records[1].Fields["site"] != want {
						t.Fatalf("%s %q: site %q, want %q", how, delimiter, records[1].Fields["site"], want)
					}
					if !slices.Equal(report.Ignored, []string{"Unbekanntes"}) {
						t.Fatalf("ignored %q", report.Ignored)
					}
				}
			}
		}
	}
}

func TestBadRows(t *testing.T) {
	records, report := read(t, "Name,OS Build,Site\nWS1,22631,LON\n\"WS2,1,LON\nWS3,1,2,3,4\nbad name!,1,\nWS/5,,x\n,19045,PAR\n\n,,\nWS4,abc,\"PAR\"x\nWS6,abc,PAR\nWS7\n", nil)
	var names []string
	for _, r := range records {
		names = append(names, r.Fields["name"])
	}
	if !slices.Equal(names, []string{"WS1", "WS6", "WS7"}) {
		t.Errorf("names %q", names)
	}
	var lines []int
	for _, b := range report.BadRows {
		lines = append(lines, b.Line)
		if b.Reason == "" {
			t.Errorf("%v has no reason", b)
		}
	}
	if !slices.Equal(lines, []int{3, 4, 5, 6, 7, 10}) || report.Rows != 9 {
		t.Errorf("bad %v, rows %d", report.BadRows, report.Rows)
	}
	if len(report.Problems) != 1 || !strings.HasPrefix(report.Problems[0], "line 11: column \"OS Build\" os.build \"abc\"") {
		t.Errorf("problems %q", report.Problems)
	}
}

func TestColumns(t *testing.T) {
	_, _, err := csv.Read(strings.NewReader("Foo;Site\nWS1;LON\n"), csv.Options{})
	var wrong *csv.WrongColumnsError
	if !errors.As(err, &wrong) || !slices.Equal(wrong.Found, []string{"Foo", "Site"}) || len(hint.Of(err)) != 1 || !strings.Contains(hint.Of(err)[0], "Rechnername") {
		t.Errorf("%v, hints %q", err, hint.Of(err))
	}
	records, _ := read(t, "Foo;Site\nWS1;LON\n", map[string]string{"foo": "name", "Site": "-"})
	if len(records) != 1 || records[0].Fields["name"] != "WS1" || records[0].Fields["site"] != "" {
		t.Errorf("%+v", records)
	}
	for mapping, want := range map[string]string{"Foo=nam": `did you mean "name"`, "Bar=name": `no column "Bar"`} {
		from, to, _ := strings.Cut(mapping, "=")
		if _, _, err := csv.Read(strings.NewReader("Foo\nWS1\n"), csv.Options{Map: map[string]string{from: to}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", mapping, err)
		}
	}
	// as Get-ADComputer | Export-Csv writes it
	records, _ = read(t, `"DistinguishedName","DNSHostName","Enabled","Name","ObjectGUID","SID"
"CN=WS1\, old,OU=Tills,DC=fleet,DC=test","WS1.fleet.test","True","WS1","2A6B1F0C-52E7-4B8D-9B7E-6F1B2C3D4E5F","S-1-5-21-1-2-3-1104"
`, nil)
	f := records[0].Fields
	if f["ou"] != "OU=Tills,DC=fleet,DC=test" || f["fqdn"] != "ws1.fleet.test" || f["claims.sid"] != "S-1-5-21-1-2-3-1104" {
		t.Errorf("%+v", f)
	}
	for _, text := range []string{"", "\n\n", "sep=;\n"} {
		if _, _, err := csv.Read(strings.NewReader(text), csv.Options{}); err == nil {
			t.Errorf("%q was read", text)
		}
	}
	if _, _, err := csv.Read(strings.NewReader("Name\x00\x01,b\nx"), csv.Options{}); err == nil {
		t.Error("binary data was read")
	}
}

func TestDuplicates(t *testing.T) {
	records, report := read(t, "name,site,serial\nWS1,LON,\nws1,PAR,\nWS1,LON,\nWS2,LON,AAAA1\nWS2,LON,BBBB2\n", nil)
	if len(records) != 3 || len(report.Duplicates) != 3 {
		t.Fatalf("%+v\n%q", records, report.Duplicates)
	}
	if !strings.Contains(report.Duplicates[0], "lines 2 and 3, which differ in site; line 2 was taken") || !strings.Contains(report.Duplicates[1], "say the same") ||
		!strings.Contains(report.Duplicates[2], "two machines") {
		t.Errorf("%q", report.Duplicates)
	}
	if records[1].SourceKey != "ws2|serial=aaaa1" || records[2].SourceKey != "ws2|serial=bbbb2" {
		t.Errorf("%+v", records)
	}
}

func TestWriteReadsBack(t *testing.T) {
	in := []inventory.Machine{{Name: "WS1", FQDN: "ws1.fleet.test", Site: "=cmd|' /C calc'!A0", Owner: "@eve", Model: "+1", Serial: "-5\"x", Manufacturer: "'=quoted",
		OS: inventory.OS{Name: "Windows 11, \"Pro\"", Build: 22631}, Tags: []string{"a", "b"}, Groups: []string{"CN=A,DC=x", "CN=B,DC=x"}, Enabled: true, Priority: -5, LastSeen: seen}}
	var out bytes.Buffer
	if err := csv.Write(&out, in, nil); err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(out.String(), "\n") {
		for cell := range strings.SplitSeq(line, ",") {
			if cell = strings.TrimPrefix(cell, "\""); cell != "" && cell != "-5" && strings.ContainsRune("=+-@", rune(cell[0])) {
				t.Errorf("cell %q begins like a formula", cell)
			}
		}
	}
	records, report := read(t, out.String(), nil)
	if len(records) != 1 || len(report.BadRows)+len(report.Problems)+len(report.Ignored) > 0 {
		t.Fatalf("%+v %+v", records, report)
	}
	for _, f := range csv.DefaultColumns() {
		if want, _ := in[0].Field(f); records[0].Fields[f] != want {
			t.Errorf("%s: %q, want %q", f, records[0].Fields[f], want)
		}
	}
	if err := csv.Write(&out, in, []string{"nmme"}); err == nil || !strings.Contains(err.Error(), `did you mean "name"`) {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("Name;Site\r\nWS1;LON\r\n"))
	f.Add([]byte("sep=;\nName;\"a\nb\"\n\"WS1;x\nWS2;\"y\"\n"))
	f.Add([]byte("\xff\xfeN\x00a\x00m\x00e\x00\n\x00W\x001\x00"))
	f.Add([]byte("Ger\xe4tename\nWS1\n"))
	f.Add([]byte("#TYPE x\nName\n'=WS1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		defer bounded.Input(t, len(data))()
		records, report, err := csv.Read(bytes.NewReader(data), csv.Options{Source: "csv:f", SeenAt: seen})
		if err != nil {
			return
		}
		if len(records)+len(report.BadRows)+len(report.Duplicates)+len(report.Other) < report.Rows {
			t.Fatalf("%d rows, but %d records, %d bad, %d duplicates, %d of other systems", report.Rows, len(records), len(report.BadRows), len(report.Duplicates), len(report.Other))
		}
		keys := map[string]bool{}
		for _, r := range records {
			if r.SourceKey == "" || keys[r.SourceKey] {
				t.Fatalf("key %q is empty or not unique", r.SourceKey)
			}
			keys[r.SourceKey] = true
		}
	})
}
