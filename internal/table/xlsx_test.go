package table_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/table"
)

// workbook is a small workbook with a hidden sheet before the one that counts.
func workbook(tb testing.TB, sheet, properties string) []byte {
	tb.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, part := range [][2]string{
		{"xl/workbook.xml", `<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">` +
			properties + `<sheets><sheet name="Lists" state="hidden" r:id="rId1"/><sheet name="Müll &amp; mehr" r:id="rId2"/></sheets></workbook>`},
		{"xl/_rels/workbook.xml.rels", `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Target="worksheets/sheet1.xml"/>` +
			`<Relationship Id="rId2" Target="/xl/worksheets/sheet2.xml"/></Relationships>`},
		{"xl/sharedStrings.xml", `<sst><si><t>Name</t></si><si><r><t>MUC-</t></r><r><t>WS-1</t></r></si><si><t>Site</t></si></sst>`},
		{"xl/worksheets/sheet1.xml", `<worksheet><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>hidden</t></is></c></row></sheetData></worksheet>`},
		{"xl/worksheets/sheet2.xml", `<worksheet><sheetData>` + sheet + `</sheetData></worksheet>`},
	} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: part[0], Method: zip.Store})
		if err == nil {
			_, err = w.Write([]byte(part[1]))
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

const sheet = `<row r="1"><c r="A1" t="s"><v>0</v></c><c r="C1" t="s"><v>2</v></c></row>` +
	`<row r="3"><c r="A3" t="s"><v>1</v></c><c r="B3"><v>1.23456789012E+11</v></c><c r="C3" t="inlineStr"><is><t>München</t></is></c><c r="D3" t="b"><v>1</v></c><c r="E3" t="str"><v>=x</v></c></row>` +
	`<row><c t="e"><v>#N/A</v></c></row>`

func TestWorkbook(t *testing.T) {
	in, err := table.Open(bytes.NewReader(workbook(t, sheet, "")), table.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var rows []table.Row
	for r := range in.Rows() {
		rows = append(rows, r)
	}
	if len(rows) != 3 || rows[1].Line != 3 || rows[2].Line != 4 || !slices.Equal(rows[0].Cells, []string{"Name", "", "Site"}) ||
		!slices.Equal(rows[1].Cells, []string{"MUC-WS-1", "123456789012", "München", "TRUE", "=x"}) {
		t.Errorf("%+v", rows)
	}
	if in.ReadAs() != `Excel workbook, sheet "Müll & mehr", the first of 2` {
		t.Error(in.ReadAs())
	}
	for what, data := range map[string][]byte{
		"1904":       workbook(t, sheet, `<workbookPr date1904="1"/>`),
		"cut":        workbook(t, sheet, "")[:700],
		"nowhere":    workbook(t, `<row r="1"><c r="ZZZZZZ1"><v>1</v></c></row>`, ""),
		"no text":    workbook(t, `<row r="1"><c r="A1" t="s"><v>9</v></c></row>`, ""),
		"empty":      workbook(t, "", ""),
		"old Excel":  []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and more"),
		"an archive": archive(t, "readme.txt"),
		"OpenOffice": archive(t, "content.xml"),
	} {
		if _, err := table.Open(bytes.NewReader(data), table.Options{}); err == nil {
			t.Errorf("%s: it was read", what)
		} else if strings.Contains(what, "O") && !strings.Contains(fmt.Sprint(hint.Of(err)), "save it as") {
			t.Errorf("%s: %v, %q", what, err, hint.Of(err))
		}
	}
}

func archive(t *testing.T, name string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	if _, err := z.Create(name); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func FuzzSheet(f *testing.F) {
	f.Add(sheet)
	f.Fuzz(func(t *testing.T, sheet string) {
		defer bounded.Input(t, 64*len(sheet))()
		in, err := table.Open(bytes.NewReader(workbook(t, sheet, "")), table.Options{})
		if err != nil {
			return
		}
		for r := range in.Rows() {
			if len(r.Cells) > 16384 {
				t.Fatalf("%d cells", len(r.Cells))
			}
		}
	})
}
