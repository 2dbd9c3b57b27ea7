package table

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"
)

func book1(t *testing.T, shared, sheet string) []byte {
	t.Helper()
	return bookIn(t, "http://schemas.openxmlformats.org/officeDocument/2006/relationships", shared, sheet)
}

func bookIn(t *testing.T, namespace, shared, sheet string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for name, text := range map[string]string{
		"xl/workbook.xml":            `<workbook xmlns:r="` + namespace + `"><sheets><sheet name="S" sheetId="7" r:id="rId1"/></sheets></workbook>`,
		"xl/_rels/workbook.xml.rels": `<Relationships><Relationship Id="rId1" Target="s.xml"/></Relationships>`,
		"xl/sharedStrings.xml":       "<sst>" + shared + "</sst>",
		"xl/s.xml":                   "<worksheet><sheetData>" + sheet + "</sheetData></worksheet>",
	} {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestRoom refuses what takes few bytes in a file and many in memory.
func TestRoom(t *testing.T) {
	for what, data := range map[string][]byte{
		"cells far to the right":   book1(t, "", strings.Repeat(`<row><c r="BZ1"><v>1</v></c></row>`, 20)),
		"texts that nobody shows":  book1(t, strings.Repeat("<si/>", 1100), `<row><c><v>1</v></c></row>`),
		"keys that come only once": []byte("[" + strings.Repeat(`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1},`, 1) + strings.Repeat(`{"h":1},`, 120) + `{"h":1}]`),
		"elements without a cell":  []byte("[{}" + strings.Repeat(",{}", 1100) + "]"),
	} {
		if _, err := Open(bytes.NewReader(data), Options{room: 1000}); err == nil || !strings.Contains(err.Error(), "more than 1000 cells") {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := Open(bytes.NewReader(data), Options{}); err != nil && what != "elements without a cell" {
			t.Errorf("%s, in a table of usual size: %v", what, err)
		}
	}
	long := book1(t, "<si>"+strings.Repeat("<r><t>0123456789</t></r>", maxText/10+1)+"</si>", `<row><c t="s"><v>0</v></c></row>`)
	if _, err := Open(bytes.NewReader(long), Options{}); err == nil || !strings.Contains(err.Error(), "1 MB of text") {
		t.Errorf("a text of very many pieces: %v", err)
	}
}

// TestColouredRow takes no room for cells that have a look and no value, up to the last column, and leaves out how a word is spoken.
func TestColouredRow(t *testing.T) {
	in, err := Open(bytes.NewReader(book1(t, `<si><t>東京</t><rPh sb="0" eb="2"><t>トウキョウ</t></rPh></si>`,
		`<row><c t="s"><v>0</v></c><c r="C1"/><c><v>2</v></c><c r="XFD1" s="3"/></row>`)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for r := range in.Rows() {
		if strings.Join(r.Cells, "|") != "東京|||2" {
			t.Errorf("%q", r.Cells)
		}
	}
}

// TestGuessHasNoPassword judges an encoding by letters: dashes of a code page part the groups of recovery passwords too.
func TestGuessHasNoPassword(t *testing.T) {
	const head = "Computer,KeyID,RecoveryKey\nWS13,4C4B6D8A-1F2E-4D3C-9B8A-0123456789AB,"
	in, err := Open(strings.NewReader(head+"312422\x96129910\x96556809\n"), Options{})
	if err != nil || in.Guess != `"******–******–******" in line 2` {
		t.Errorf("%q, %v", in.Guess, err)
	}
	if in, err = Open(strings.NewReader("Name\nM\xdcNCHEN-01234\n"), Options{}); err != nil || in.Guess != `"MÜNCHEN-01234" in line 2` {
		t.Errorf("%q, %v", in.Guess, err)
	}
	if text := suggestions([]byte("312422\x81129910"), nil); text == "" || strings.Contains(text, "312422") || strings.Contains(text, "129910") {
		t.Error(text)
	}
}

// TestHeaders names columns, and neither a file without line ends nor the password of a row that stands for a header.
func TestHeaders(t *testing.T) {
	if got := Headers([]string{"Name", "4C4B6D8A-1F2E-4D3C-9B8A-0123456789AB", "111111-222222-333333-444444-555555-666666-000000-720885", "Asset 2024070123456789"}); got !=
		"Name, 4C4B6D8A-1F2E-4D3C-9B8A-0123456789AB, ******-******-******-******-******-******-******-******, Asset 2024070123456789" {
		t.Error(got)
	}
	if got := Headers(append(strings.Split(strings.Repeat("c,", 99), ","), "d")); len(got) > 100 || !strings.HasSuffix(got, "c, and 81 more") {
		t.Error(got)
	}
	if got := Headers([]string{strings.Repeat("[", 1<<20)}); len(got) > 100 {
		t.Errorf("%d bytes", len(got))
	}
}

// TestLargeCell leaves out a row with a cell of any size, with quotation marks or without.
func TestLargeCell(t *testing.T) {
	for _, cell := range []string{strings.Repeat("x", maxField+1), `"` + strings.Repeat("x", maxField+1) + `"`, `"` + strings.Repeat(`""`, maxField) + `"`} {
		in, err := Open(strings.NewReader("Name,Site\nWS1,"+cell+"\nWS2,"+strings.Repeat("y", maxField)+"\nWS3,\""+strings.Repeat("z", maxField)+"\"\n"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		var bad, good int
		for r := range in.Rows() {
			if r.Err != nil {
				bad++
			} else {
				good++
			}
		}
		if bad != 1 || good != 3 {
			t.Errorf("%.20s: %d rows were left out, %d taken", cell, bad, good)
		}
	}
}

// TestStrict reads what Excel calls a Strict Open XML Spreadsheet, whose namespaces are others.
func TestStrict(t *testing.T) {
	in, err := Open(bytes.NewReader(bookIn(t, "http://purl.oclc.org/ooxml/officeDocument/relationships", "", `<row><c t="str"><v>WS1</v></c></row>`)), Options{})
	if err != nil || len(in.rows) != 1 || in.rows[0].Cells[0] != "WS1" {
		t.Errorf("%+v, %v", in.rows, err)
	}
}
