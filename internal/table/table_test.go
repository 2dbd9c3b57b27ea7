package table_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/table"
)

func known(h string) bool { return h == "Name" || h == "Site" }

func open(t *testing.T, text string, o table.Options) (table.Table, [][]string) {
	t.Helper()
	o.Known = known
	in, err := table.Open(strings.NewReader(text), o)
	if err != nil {
		t.Fatalf("open %q: %v", text, err)
	}
	var rows [][]string
	for r := range in.Rows() {
		rows = append(rows, r.Cells)
	}
	return in, rows
}

// Case 07: a code page is either told, or guessed aloud, or refused with what it might be.
func TestCodePages(t *testing.T) {
	oem, err := charmap.CodePage850.NewEncoder().String("Name,Site\nMUC-WS-1,München\nMUC-WS-2,Gießen\n")
	if err != nil {
		t.Fatal(err)
	}
	_, err = table.Open(strings.NewReader(oem), table.Options{})
	if err == nil || !strings.Contains(err.Error(), "neither UTF-8 nor UTF-16 nor Windows-1252") || !strings.Contains(fmt.Sprint(hint.Of(err)), `850 (OEM, Western European) would give "München"`) {
		t.Errorf("OEM text: %v, %q", err, hint.Of(err))
	}
	for _, name := range []string{"850", "cp850", "IBM-850"} {
		if in, rows := open(t, oem, table.Options{Encoding: name}); rows[1][1] != "München" || in.Encoding != "code page 850" || in.Guess != "" {
			t.Errorf("%s: %+v, %q", name, in, rows)
		}
	}
	tokyo, err := japanese.ShiftJIS.NewEncoder().String("Name,Site\nTYO-WS-1,東京\n")
	if err != nil {
		t.Fatal(err)
	}
	in, rows := open(t, tokyo, table.Options{})
	if in.Encoding != "Windows-1252" || !strings.Contains(in.ReadAs(), "a guess") || !strings.Contains(in.ReadAs(), rows[1][1]) || !strings.Contains(in.ReadAs(), "line 2") {
		t.Errorf("a guess in silence: %s", in.ReadAs())
	}
	if _, rows := open(t, tokyo, table.Options{Encoding: "shift_jis"}); rows[1][1] != "東京" {
		t.Errorf("%q", rows)
	}
	if _, err := table.Open(strings.NewReader(tokyo), table.Options{Encoding: "utf-8"}); err == nil {
		t.Error("Shift JIS was taken for UTF-8")
	}
	if err := table.CheckEncoding("cp4711"); err == nil || !strings.Contains(fmt.Sprint(hint.Of(err)), "932") {
		t.Errorf("%v", err)
	}
	for _, name := range table.Encodings() {
		if err := table.CheckEncoding(name); err != nil {
			t.Error(err)
		}
	}
}

// What begins with the mark of UTF-8 is UTF-8: one letter of a code page in it does not make another text of all others.
func TestAMarkIsNoGuess(t *testing.T) {
	if _, err := table.Open(strings.NewReader("\ufeffName,Owner\nWS1,Müller\nWS2,M\xfcller\n"), table.Options{}); err == nil || !strings.Contains(err.Error(), "no text in UTF-8") {
		t.Error(err)
	}
}

func TestDelimiterIsSaidOrTold(t *testing.T) {
	in, rows := open(t, "Name;Site\nA,1;B\n", table.Options{})
	if in.Delimiter != ';' || !strings.Contains(in.ReadAs(), "semicolons") || rows[1][0] != "A,1" {
		t.Errorf("%s, %q", in.ReadAs(), rows)
	}
	if _, rows := open(t, "Name;Site\nA,1;B\n", table.Options{Delimiter: ','}); rows[1][0] != "A" {
		t.Errorf("%q", rows)
	}
	for text, want := range map[string]rune{"tab": '\t', `\t`: '\t', "Semicolons": ';', ",": ',', "bar": '|', "^": '^'} {
		if got, err := table.ParseDelimiter(text); err != nil || got != want {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "ab", "\"", "\n"} {
		if _, err := table.ParseDelimiter(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestValue(t *testing.T) {
	for cell, want := range map[string]struct{ value, damage string }{
		" x ":           {"x", ""},
		`="00012346"`:   {"00012346", ""},
		`="a""b"`:       {`a"b`, ""},
		`'="00012346"`:  {`="00012346"`, ""},
		"System.Byte[]": {"", "type"},
		"Microsoft.ActiveDirectory.Management.ADPropertyValueCollection": {"", "type"},
		"System.Collections.Generic.List`1[System.String]":               {"", "type"},
		"Selected.System.Object":                                         {"", "type"},
		"@{Name=WS1; Id=2}":                                              {"", "object"},
		"########":                                                       {"", "###"},
		"#N/A":                                                           {"", "error"},
		"#¿NOMBRE?":                                                      {"", "error"},
		"#VALEUR!":                                                       {"", "error"},
		"#ARG!":                                                          {"", "error"},
		"#N/D":                                                           {"", "error"},
		"#12":                                                            {"#12", ""},
		"#BEZUG!":                                                        {"", "error"},
		"system.corp.example":                                            {"system.corp.example", ""},
		"Microsoft":                                                      {"Microsoft", ""},
		"Microsoft Corporation":                                          {"Microsoft Corporation", ""},
		"#1":                                                             {"#1", ""},
	} {
		value, damage := table.Value(cell)
		if value != want.value || (damage == "") != (want.damage == "") || !strings.Contains(string(damage), want.damage) {
			t.Errorf("%q: %q, %q", cell, value, damage)
		}
	}
	for value, rounded := range map[string]bool{"1.23457E+11": true, "1,23457E+11": true, "1E+05": true, "12E5": false, "1E5": true, "ABC": false, "1.5": false, "5CG1234E5": false} {
		if got := table.Rounded(value); (got != "") != rounded {
			t.Errorf("%q: %q", value, got)
		}
	}
}

func TestDates(t *testing.T) {
	at := func(y, m, d, h, min, s int) time.Time { return time.Date(y, time.Month(m), d, h, min, s, 0, time.UTC) }
	for text, want := range map[string]time.Time{
		"2024-07-19T04:09:00Z":               at(2024, 7, 19, 4, 9, 0),
		"2024-07-19T06:09:00.0000000+02:00":  at(2024, 7, 19, 4, 9, 0),
		"2024-07-19 04:09:00.0000000 +00:00": at(2024, 7, 19, 4, 9, 0),
		"2024-07-19":                         at(2024, 7, 19, 0, 0, 0),
		"19.07.2024 04:09:00":                at(2024, 7, 19, 4, 9, 0),
		"9.7.24 4:09":                        at(2024, 7, 9, 4, 9, 0),
		"7/19/2024 4:09:00 AM":               at(2024, 7, 19, 4, 9, 0),
		"7/19/2024 4:09:00\u202fPM":          at(2024, 7, 19, 16, 9, 0),
		"19/07/2024 04:09":                   at(2024, 7, 19, 4, 9, 0),
		"19-07-2024 04:09:00":                at(2024, 7, 19, 4, 9, 0),
		"5/5/2024":                           at(2024, 5, 5, 0, 0, 0),
		"12/13/24 12:00 AM":                  at(2024, 12, 13, 0, 0, 0),
		"/Date(1721361600000)/":              at(2024, 7, 19, 4, 0, 0),
		`\/Date(1721361600000+0200)\/`:       at(2024, 7, 19, 4, 0, 0),
		"133658141400000000":                 at(2024, 7, 18, 22, 9, 0),
		"20240719040900.0Z":                  at(2024, 7, 19, 4, 9, 0),
		"20240719040900.000000+120":          at(2024, 7, 19, 2, 9, 0),
		"45383.5":                            at(2024, 4, 1, 12, 0, 0),
		"Friday, July 19, 2024 4:09:00 AM":   at(2024, 7, 19, 4, 9, 0),
		"19-Jul-24":                          at(2024, 7, 19, 0, 0, 0),
		"\u200e19/\u200e07/\u200e2024 04:09": at(2024, 7, 19, 4, 9, 0),
		"never":                              {},
		"0":                                  {},
		"1/1/1601 12:00:00 AM":               {},
		"0001-01-01T00:00:00":                {},
		"9999-12-31T23:59:59Z":               {},
		"12/31/9999 11:59:59 PM":             {},
	} {
		if got, err := new(table.Dates).Parse(text); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"3/4/2026", "3/4/2026 15:04", "3/4/2026 3:04:05 PM", "03-04-2026"} {
		d := table.Dates{}
		if _, err := d.Parse(text); !errors.Is(err, table.ErrBothOrders) || !strings.Contains(d.Said(), "1 left out") {
			t.Errorf("%q: %v, %q", text, err, d.Said())
		}
		d = table.Dates{Order: table.DayFirst}
		if got, err := d.Parse(text); err != nil || got.Month() != time.April || got.Day() != 3 {
			t.Errorf("%q day first: %v, %v", text, got, err)
		}
		d = table.Dates{Order: table.MonthFirst}
		if got, err := d.Parse(text); err != nil || got.Month() != time.March || got.Day() != 4 {
			t.Errorf("%q month first: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"19/07/2567", "2567-07-19"} {
		if got, err := new(table.Dates).Parse(text); err == nil || !strings.Contains(err.Error(), "another calendar") {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	d := table.Dates{Order: table.MonthFirst}
	for _, text := range []string{"19/07/2024", "30/30/2024", "2/30/2024", "soon", "19/07/2567", "7/19/2024 13:00 PM", "25:00"} {
		if got, err := d.Parse(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

// What Escape did Unescape takes back, and no cell begins to calculate, whichever character parts the cells.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "=1+1", "'=x", "''", "-5", "+49 89", "a;=cmd|' /C calc'!A0", "x\n@y", "＝1", "\"'=\"", ";'=", "a,\"'-b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := table.Escape(s)
		if back := table.Unescape(e); back != s {
			t.Fatalf("%q became %q and then %q", s, e, back)
		}
		for _, delimiter := range []string{";", ",", "\t", "|", "\n", "\r"} {
			for i, part := range strings.Split(e, delimiter) {
				if i > 0 { // within a cell, and so perhaps within quotation marks
					part = strings.Trim(part, "\" ")
				}
				if part != "" && strings.ContainsAny(part[:1], "=@") {
					t.Fatalf("%q was written as %q, of which %q runs", s, e, part)
				}
			}
		}
	})
}

func TestWriter(t *testing.T) {
	var out bytes.Buffer
	err := table.Marked(func(to io.Writer) error {
		w := table.NewWriter(to)
		w.Write("name", "site")
		w.Write("WS1", "=München")
		return w.Flush()
	})(&out)
	if err != nil {
		t.Fatal(err)
	}
	if want := "\ufeffname,site\nWS1,'=München\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestJSONAsTable(t *testing.T) {
	for name, text := range map[string]string{
		"list":     `[{"Name":"WS1","Site":"LON"},{"Name":"WS2","Enabled":true,"Site":null}]`,
		"lines":    "{\"Name\":\"WS1\",\"Site\":\"LON\"}\n{\"Name\":\"WS2\",\"Enabled\":true}\n",
		"graph":    `{"@odata.context":"x","value":[{"Name":"WS1","Site":"LON"},{"Name":"WS2","Enabled":true}]}`,
		"fleet":    `{"hosts":[{"Name":"WS1","Site":"LON"},{"Name":"WS2","Enabled":true}]}`,
		"fleetctl": "{\"kind\":\"host\",\"spec\":{\"Name\":\"WS1\",\"Site\":\"LON\"}}\n{\"kind\":\"host\",\"spec\":{\"Name\":\"WS2\",\"Enabled\":true}}",
	} {
		in, rows := open(t, text, table.Options{})
		if !strings.HasPrefix(in.ReadAs(), "JSON in") || len(rows) != 3 || !slices.Equal(rows[1][:2], []string{"WS1", "LON"}) || !slices.Contains(rows[2], "WS2") || !slices.Contains(rows[2], "true") {
			t.Errorf("%s: %s, %q", name, in.ReadAs(), rows)
		}
	}
	_, rows := open(t, `[{"a":[138,109,75,76,30,15,44,77,155,58,17,34,51,68,85,102],"b":["x","y"],"c":{"value":"\/Date(1)\/","DateTime":"z"},"d":["CN=A,DC=x"],"e":{"q":1}}]`, table.Options{})
	if want := []string{"4C4B6D8A-0F1E-4D2C-9B3A-112233445566", "x,y", "/Date(1)/", "CN=A,DC=x;", ""}; !slices.Equal(rows[1], want) {
		t.Errorf("%q, want %q", rows[1], want)
	}
	for text, want := range map[string]string{"[{\"a\":1},\n{\"a\":}]": "line 2, column 6", "[]": "empty", "[{}]": "empty"} {
		if _, err := table.Open(strings.NewReader(text), table.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte("sep=;\nName;\"a\nb\"\n\"WS1;x\n"), "", byte(0))
	f.Add([]byte("[{\"Name\":\"x\",\"b\":[1,2]}]"), "utf-8", byte(0))
	f.Add([]byte("Gie\xe1en;M\x81nchen\n"), "850", byte(';'))
	f.Fuzz(func(t *testing.T, data []byte, encoding string, delimiter byte) {
		defer bounded.Input(t, len(data))()
		if delimiter >= 0x80 || delimiter == '"' || delimiter == '\n' || delimiter == '\r' {
			return
		}
		in, err := table.Open(bytes.NewReader(data), table.Options{Encoding: encoding, Delimiter: rune(delimiter), Known: known})
		if err != nil {
			return
		}
		var d table.Dates
		for r := range in.Rows() {
			for _, c := range r.Cells {
				value, _ := table.Value(c)
				if at, err := d.Read(value); err == nil && !at.IsZero() && (at.Year() < 1601 || at.Year() > 2201) {
					t.Fatalf("%q is in %d", value, at.Year())
				}
			}
		}
		_ = in.ReadAs() + d.Said()
	})
}
