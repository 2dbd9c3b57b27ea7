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

// Bounds of a workbook: what Excel itself allows, and no more than a table of text may have. A small archive can hold parts
// of any size.
const (
	maxColumns = 16_384
	maxText    = 1 << 20 // bytes of a text in pieces; Excel has 32,767 characters in a cell, others more
	maxPart    = maxSize
	maxIndex   = 16 << 20 // the part that lists the sheets
)

// workbook reads the first sheet of an Excel workbook (ECMA-376, Office Open XML, part 1 section 18). Values are taken as
// they are stored, so that a number has all its digits whatever the sheet shows; dates are stored as numbers of days.
func (t *Table) workbook(data []byte, room room) error {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return fmt.Errorf("it begins like an Excel workbook, but is damaged: %w", err)
	}
	book := &book{files: map[string]*zip.File{}, room: room}
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
	room   room
}

// part decodes a small part of the workbook; one that is missing is left as it is.
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
	return xml.NewDecoder(io.LimitReader(r, maxIndex)).Decode(into)
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
			ID    string `xml:"id,attr"` // of one namespace, or in the strict form of another
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
type rich string

// UnmarshalXML puts the pieces together as they come. How a word is spoken (rPh) is left out.
func (r *rich) UnmarshalXML(dec *xml.Decoder, start xml.StartElement) error {
	var text strings.Builder
	for {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		switch t := token.(type) {
		case xml.StartElement:
			switch t.Name.Local {
			case "t":
				var piece string
				if err := dec.DecodeElement(&piece, &t); err != nil {
					return err
				}
				text.WriteString(piece)
			case "r":
			default:
				if err := dec.Skip(); err != nil {
					return err
				}
			}
		case xml.EndElement:
			if t.Name == start.Name {
				*r = rich(text.String())
				return nil
			}
		}
		if text.Len() > maxText {
			return fmt.Errorf("a cell has more than %d MB of text", maxText>>20)
		}
	}
}

// each calls do for the start and end of every element of a part, one after the other.
func (b *book) each(file string, do func(*xml.Decoder, xml.Token) error) error {
	r, err := b.files[file].Open()
	if err != nil {
		return err
	}
	defer r.Close()
	dec := xml.NewDecoder(io.LimitReader(r, maxPart))
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = do(dec, token)
		}
		if err != nil {
			return err
		}
	}
}

// strings reads the texts that cells share.
func (b *book) strings() error {
	const file = "xl/sharedStrings.xml"
	if b.files[file] == nil {
		return nil
	}
	return b.each(file, func(dec *xml.Decoder, token xml.Token) error {
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != "si" {
			return nil
		}
		var text rich
		if err := dec.DecodeElement(&text, &start); err != nil {
			return err
		}
		b.shared = append(b.shared, string(text))
		return b.room.holds(len(b.shared))
	})
}

type xmlCell struct {
	Place  string `xml:"r,attr"`
	Type   string `xml:"t,attr"`
	Value  string `xml:"v"`
	Inline rich   `xml:"is"`
}

func (b *book) rows(file string) ([]Row, error) {
	var out []Row
	var cells []string
	number, next, held := 0, 0, 0
	err := b.each(file, func(dec *xml.Decoder, token xml.Token) error {
		if end, ok := token.(xml.EndElement); ok && end.Name.Local == "row" && !Blank(cells) {
			out = append(out, Row{Line: number, Cells: cells})
			held, cells = held+1+len(cells), nil
			return b.room.holds(held)
		}
		start, ok := token.(xml.StartElement)
		switch {
		case ok && start.Name.Local == "row":
			number, next, cells = rowNumber(start, number+1), 0, nil
		case ok && start.Name.Local == "c":
			var c xmlCell
			err := dec.DecodeElement(&c, &start)
			if err == nil {
				cells, next, err = b.put(cells, c, next)
			}
			if err != nil {
				return fmt.Errorf("row %d: %w", number, err)
			}
		}
		return nil
	})
	return out, err
}

func rowNumber(row xml.StartElement, next int) int {
	for _, a := range row.Attr {
		if n, err := strconv.Atoi(a.Value); a.Name.Local == "r" && err == nil && n > 0 {
			return n
		}
	}
	return next
}

// put adds a cell to its row and says which column comes next. One that holds nothing, such as the last of a row that was
// coloured, takes no room.
func (b *book) put(cells []string, c xmlCell, at int) (row []string, next int, err error) {
	if c.Place != "" {
		at = 0
		for _, r := range strings.ToUpper(strings.TrimRight(c.Place, "0123456789")) {
			if r < 'A' || r > 'Z' || at > maxColumns {
				return nil, 0, fmt.Errorf("cell %q is nowhere", clip(c.Place))
			}
			at = at*26 + int(r-'A') + 1
		}
		at--
	}
	if at < 0 || at >= maxColumns {
		return nil, 0, fmt.Errorf("cell %q is nowhere", clip(c.Place))
	}
	value := c.Value
	switch c.Type {
	case "s":
		i, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil || i < 0 || i >= len(b.shared) {
			return nil, 0, fmt.Errorf("cell %q has a text that is not there", clip(c.Place))
		}
		value = b.shared[i]
	case "inlineStr":
		value = string(c.Inline)
	case "b":
		value = map[string]string{"1": "TRUE", "0": "FALSE"}[value]
	case "", "n":
		value = wholeNumber(value)
	}
	if value == "" && at >= len(cells) {
		return cells, at + 1, nil
	}
	for len(cells) <= at {
		cells = append(cells, "")
	}
	cells[at] = value
	return cells, at + 1, nil
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
