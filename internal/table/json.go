package table

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// JSONError is a place in a JSON text that cannot be read.
type JSONError struct {
	Line, Column int // from 1
	Err          error
}

func (e *JSONError) Error() string {
	return fmt.Sprintf("line %d, column %d: %v", e.Line, e.Column, e.Err)
}

func (e *JSONError) Unwrap() error { return e.Err }

// IsJSON reports whether a text is JSON with objects rather than a table with a header.
func IsJSON(text string) bool {
	start := strings.TrimLeft(text, " \t\r\n")
	if strings.HasPrefix(start, "[") {
		start = strings.TrimLeft(start[1:], " \t\r\n")
		return strings.HasPrefix(start, "{") || strings.HasPrefix(start, "]")
	}
	if !strings.HasPrefix(start, "{") {
		return false
	}
	start = strings.TrimLeft(start[1:], " \t\r\n")
	return strings.HasPrefix(start, `"`) || strings.HasPrefix(start, "}")
}

// Elements calls do for each object of a JSON text with its place: one list, or one object after the other as in JSON
// lines. An error is a [*JSONError].
func Elements(text string, do func(at int, raw json.RawMessage) error) error {
	dec := json.NewDecoder(strings.NewReader(text))
	array := strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "[")
	if array {
		if _, err := dec.Token(); err != nil {
			return Place(text, 0, err)
		}
	}
	for {
		if array && !dec.More() {
			if _, err := dec.Token(); err != nil {
				return Place(text, int(dec.InputOffset()), err)
			}
			if rest := strings.TrimSpace(text[dec.InputOffset():]); rest != "" {
				return Place(text, int(dec.InputOffset()), errors.New("text after the end of the list"))
			}
			return nil
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); errors.Is(err, io.EOF) && !array {
			return nil
		} else if err != nil {
			return Place(text, faultAfter(text, int(dec.InputOffset())), err)
		}
		if err := do(int(dec.InputOffset())-len(raw), raw); err != nil {
			return err
		}
	}
}

// faultAfter finds the fault in the element that begins at or after the place; the decoder does not count what lies
// between elements.
func faultAfter(text string, at int) int {
	at += len(text[at:]) - len(strings.TrimLeft(text[at:], ", \t\r\n"))
	var raw json.RawMessage
	var syntax *json.SyntaxError
	if errors.As(json.Unmarshal([]byte(text[at:]), &raw), &syntax) {
		at += max(0, int(syntax.Offset)-1)
	}
	return at
}

// Place says where in a JSON text an error is.
func Place(text string, at int, err error) error {
	at = max(0, min(at, len(text)))
	line := strings.Count(text[:at], "\n") + 1
	return &JSONError{Line: line, Column: at - strings.LastIndexByte(text[:at], '\n'), Err: err}
}

// maxHeaders bounds the different keys of a JSON text that is read as a table.
const maxHeaders = 2000

// flatten makes a table of JSON: the keys are the headers, in the order of their first appearance. It looks through the
// envelopes of Graph ({"value": [...]}), Fleet ({"hosts": [...]}, {"spec": {...}}) and PowerShell.
func flatten(text string, room room) ([]Row, error) {
	f := flat{at: map[string]int{}}
	line, counted, held := 1, 0, 0
	err := Elements(text, func(at int, raw json.RawMessage) error {
		line, counted = line+strings.Count(text[counted:at], "\n"), at
		inner, list := unwrap(raw)
		if list == nil {
			list = []json.RawMessage{inner}
		}
		for _, one := range list {
			cells, err := f.cells(one)
			if err != nil && !errors.Is(err, errNoObject) {
				return Place(text, at, err)
			}
			f.rows = append(f.rows, Row{Line: line, Cells: cells, Err: err})
			held += 1 + len(cells)
		}
		if err := room.holds(held); err != nil {
			return Place(text, at, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(f.rows) == 0 || len(f.headers) == 0 {
		return nil, ErrEmpty
	}
	return append([]Row{{Line: 1, Cells: f.headers}}, f.rows...), nil
}

// unwrap takes off what stands around a list of objects or one object.
func unwrap(raw json.RawMessage) (one json.RawMessage, list []json.RawMessage) {
	var envelope map[string]json.RawMessage
	if json.Unmarshal(raw, &envelope) != nil {
		return raw, nil
	}
	for _, key := range []string{"value", "hosts", "Value"} {
		if inner, ok := envelope[key]; ok && json.Unmarshal(inner, &list) == nil && list != nil {
			return raw, list
		}
	}
	if spec, ok := envelope["spec"]; ok && strings.HasPrefix(string(spec), "{") {
		return spec, nil
	}
	return raw, nil
}

type flat struct {
	headers []string
	at      map[string]int
	rows    []Row
}

var errNoObject = errors.New("it is no object with keys and values")

func (f *flat) cells(raw json.RawMessage) ([]string, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil || object == nil {
		return nil, errNoObject
	}
	keys := make([]string, 0, len(object))
	for key := range object {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	cells := make([]string, len(f.headers))
	for _, key := range keys {
		i, known := f.at[key]
		if !known {
			if len(f.headers) == maxHeaders {
				return nil, fmt.Errorf("more than %d different keys", maxHeaders)
			}
			i = len(f.headers)
			f.at[key], f.headers = i, append(f.headers, key)
		}
		for len(cells) <= i {
			cells = append(cells, "")
		}
		cells[i] = jsonCell(object[key])
	}
	return cells, nil
}

// jsonCell gives a value as a cell would hold it.
func jsonCell(raw json.RawMessage) string {
	var value any
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	if dec.Decode(&value) != nil {
		return ""
	}
	return valueCell(value, 0)
}

func valueCell(value any, depth int) string {
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return fmt.Sprint(v)
	case []any:
		if guid := guidOfBytes(v); guid != "" {
			return guid
		}
		var parts []string
		for _, e := range v {
			if p := valueCell(e, depth+1); p != "" {
				parts = append(parts, p)
			}
		}
		sep := ","
		if slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(p, ",") }) {
			sep = ";"
			if len(parts) == 1 {
				return parts[0] + sep
			}
		}
		return strings.Join(parts, sep)
	case map[string]any: // what ConvertTo-Json makes of dates, SIDs, lists of attributes
		for _, key := range []string{"value", "Value", "DateTime"} {
			if inner, ok := v[key]; ok && depth < 3 {
				return valueCell(inner, depth+1)
			}
		}
	}
	return ""
}

// guidOfBytes reads the sixteen numbers that ConvertTo-Json makes of a byte array, as a GUID in the byte order of Windows
// (MS-DTYP 2.3.4.2).
func guidOfBytes(v []any) string {
	if len(v) != 16 {
		return ""
	}
	var b [16]byte
	for i, e := range v {
		n, ok := e.(json.Number)
		if !ok {
			return ""
		}
		whole, err := n.Int64()
		if err != nil || whole < 0 || whole > 255 {
			return ""
		}
		b[i] = byte(whole)
	}
	return fmt.Sprintf("%02X%02X%02X%02X-%02X%02X-%02X%02X-%02X%02X-%X", b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10:])
}
