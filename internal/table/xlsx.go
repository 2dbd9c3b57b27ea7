package table

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Bounds of a workbook: what Excel itself allows, and no more than a table of text may have.
const (
	maxColumns = 16_384
	maxPart    = maxSize
)

// workbook reads the first sheet of an Excel workbook (ECMA-376, Office Open XML, part 1 section 18). Values are taken as
// they are stored, so that a number has all its digits whatever the sheet shows; dates are stored as numbers of days.
func (t *Table) workbook(data []byte) error {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return fmt.Errorf("it begins like an Excel workbook, but is damaged: %w", err)
	}
	book := &book{files: map[string]*zip.File{}}
	for _, f := range z.File {
		book.files[f.Name] = f
	}
	if book.files["xl/workbook.xml"] == nil {
		if book.files["content.xml"] != nil {
			return hint.Wrap(errors.New("it is an OpenDocument sheet"), "save it as CSV in UTF-8, or as an Excel workbook (.xlsx)")
		}
		return hint.Wrap(errors.New("it is an archive, not a table"), "unpack it, and import what is in it")
	}
	sheet, name, of, err := book.first()
	if err != nil {
		return fmt.Errorf("read the Excel workbook: %w", err)
	}
	if err := book.strings(); err != nil {
		return fmt.Errorf("read the Excel workbook: %w", err)
	}
	t.form, t.Encoding = fmt.Sprintf("Excel workbook, sheet %q", clip(name)), "UTF-8"
	if of > 1 {
		t.form += fmt.Sprintf(", the first of %d", of)
	}
	if t.rows, err = book.rows(sheet); err != nil {
		return fmt.Errorf("read sheet %q of the Excel workbook: %w", clip(name), err)
	}
	if len(t.rows) == 0 {
		return ErrEmpty
	}
	return nil
}

type book struct {
	files  map[string]*zip.File
	shared []string
}

// part decodes a part of the workbook; one that is missing is left as it is.
func (b *book) part(name string, into any) error {
	f := b.files[name]
	if f == nil {
		return nil
	}
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	return xml.NewDecoder(io.LimitReader(r, maxPart)).Decode(into)
}

// first finds the first sheet that is not hidden.
func (b *book) first() (file, name string, of int, err error) {
	var w struct {
		Properties struct {
			Since1904 string `xml:"date1904,attr"`
		} `xml:"workbookPr"`
		Sheets []struct {
			Name  string `xml:"name,attr"`
			State string `xml:"state,attr"`
			ID    string `xml:"http://schemas.openxmlformats.org/officeDocument/2006/relationships id,attr"`
		} `xml:"sheets>sheet"`
	}
	var links struct {
		To []struct {
			ID     string `xml:"Id,attr"`
			Target string `xml:"Target,attr"`
		} `xml:"Relationship"`
	}
	if err := errors.Join(b.part("xl/workbook.xml", &w), b.part("xl/_rels/workbook.xml.rels", &links)); err != nil {
		return "", "", 0, err
	}
	if s := w.Properties.Since1904; s == "1" || s == "true" {
		return "", "", 0, hint.Wrap(errors.New("its days are counted from 1904"), "save it as CSV in UTF-8")
	}
	for _, s := range w.Sheets {
		if s.State != "" && s.State != "visible" {
			continue
		}
		for _, l := range links.To {
			if l.ID == s.ID {
				file = strings.TrimPrefix(l.Target, "/")
				if !strings.HasPrefix(l.Target, "/") {
					file = path.Join("xl", l.Target)
				}
				if b.files[file] != nil {
					return file, s.Name, len(w.Sheets), nil
				}
			}
		}
	}
	return "", "", 0, errors.New("it has no sheet")
}

// rich is a text, whole or in pieces of different looks.
type rich struct {
	Text string `xml:"t"`
	Runs []struct {
		Text string `xml:"t"`
	} `xml:"r"`
}

func (r rich) String() string {
	text := r.Text
	for _, run := range r.Runs {
		text += run.Text
	}
	return text
}

// strings reads the texts that cells share.
func (b *book) strings() error {
	var s struct {
		Items []rich `xml:"si"`
	}
	if err := b.part("xl/sharedStrings.xml", &s); err != nil {
		return err
	}
	for _, item := range s.Items {
		b.shared = append(b.shared, item.String())
	}
	return nil
}

type xmlRow struct {
	Number int `xml:"r,attr"`
	Cells  []struct {
		Place  string `xml:"r,attr"`
		Type   string `xml:"t,attr"`
		Value  string `xml:"v"`
		Inline rich   `xml:"is"`
	} `xml:"c"`
}

func (b *book) rows(file string) ([]Row, error) {
	r, err := b.files[file].Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	dec := xml.NewDecoder(io.LimitReader(r, maxPart))
	var out []Row
	for number := 1; ; number++ {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != "row" {
			number--
			continue
		}
		var row xmlRow
		if err := dec.DecodeElement(&row, &start); err != nil {
			return nil, err
		}
		if row.Number > 0 {
			number = row.Number
		}
		cells, err := b.cells(row)
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", number, err)
		}
		if !Blank(cells) {
			out = append(out, Row{Line: number, Cells: cells})
		}
	}
}

func (b *book) cells(row xmlRow) ([]string, error) {
	var cells []string
	for _, c := range row.Cells {
		at := len(cells)
		if c.Place != "" {
			at = 0
			for _, r := range strings.ToUpper(strings.TrimRight(c.Place, "0123456789")) {
				if r < 'A' || r > 'Z' || at > maxColumns {
					return nil, fmt.Errorf("cell %q is nowhere", clip(c.Place))
				}
				at = at*26 + int(r-'A') + 1
			}
			at--
		}
		if at < 0 || at >= maxColumns {
			return nil, fmt.Errorf("cell %q is nowhere", clip(c.Place))
		}
		for len(cells) <= at {
			cells = append(cells, "")
		}
		value := c.Value
		switch c.Type {
		case "s":
			i, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil || i < 0 || i >= len(b.shared) {
				return nil, fmt.Errorf("cell %q has a text that is not there", clip(c.Place))
			}
			value = b.shared[i]
		case "inlineStr":
			value = c.Inline.String()
		case "b":
			value = map[string]string{"1": "TRUE", "0": "FALSE"}[value]
		case "", "n":
			value = wholeNumber(value)
		}
		cells[at] = value
	}
	return cells, nil
}

// wholeNumber writes a number with all its digits, as far as Excel keeps them.
func wholeNumber(value string) string {
	if !strings.ContainsAny(value, "eE") {
		return value
	}
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || n != float64(int64(n)) || n >= 1e15 || n <= -1e15 {
		return value
	}
	return strconv.FormatInt(int64(n), 10)
}
