package csv

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/table"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/inventory"
)

// JSONError is a place in a JSON text that cannot be read.
type JSONError = table.JSONError

// isOwn reports whether a JSON text is in the form that [ReadJSON] reads: its first object has a name of ours as key.
func isOwn(text string) bool {
	if !table.IsJSON(text) {
		return false
	}
	own := false
	done := errors.New("the first decides")
	err := table.Elements(text, func(_ int, raw json.RawMessage) error {
		var keys map[string]json.RawMessage
		if json.Unmarshal(raw, &keys) == nil {
			own = keys["name"] != nil || keys["fqdn"] != nil || keys["fields"] != nil
		}
		return done
	})
	return own || err != nil && !errors.Is(err, done) // what is broken gets its place
}

// ReadJSON reads machines, as [WriteJSON] writes them, or records: one JSON array, or one object after the other as in
// JSON lines. It is strict: an unknown key or a wrong type is a [*JSONError], and nothing is read. A machine becomes
// one record of the options' source with the machine's present values; the source of records is set likewise.
func ReadJSON(r io.Reader, o Options) ([]inventory.Record, Report, error) {
	text, err := textfile.ReadFrom(r, maxTable)
	if err != nil {
		return nil, Report{}, fmt.Errorf("read JSON: %w", err)
	}
	return readOwn(text, o)
}

func readOwn(file textfile.Text, o Options) ([]inventory.Record, Report, error) {
	text := file.Content
	report := Report{Encoding: file.Encoding, ReadAs: "fleetmend's own JSON in " + file.Encoding}
	var out []inventory.Record
	keys := map[string]int{}
	line, counted := 1, 0
	err := table.Elements(text, func(at int, raw json.RawMessage) error {
		line, counted = line+strings.Count(text[counted:at], "\n"), at // not from the beginning again for each
		report.Rows++
		record, err := element(raw, o)
		if err != nil {
			return place(text, at, err)
		}
		if first, again := keys[record.SourceKey]; again {
			report.Duplicates = append(report.Duplicates, fmt.Sprintf("%s stands in lines %d and %d; line %d was taken", record.SourceKey, first, line, first))
			return nil
		}
		keys[record.SourceKey] = line
		out = append(out, record)
		return nil
	})
	if err != nil {
		return nil, report, fmt.Errorf("read JSON: %w", err)
	}
	if len(out) == 0 {
		return nil, report, errors.New("read JSON: it holds no machine")
	}
	return out, report, nil
}

// place says where in the text an error is; errors of an element know how far into it.
func place(text string, at int, err error) error {
	var inside *inElement
	if errors.As(err, &inside) {
		at, err = at+inside.offset, inside.err
	}
	return table.Place(text, at, err)
}

type inElement struct {
	offset int
	err    error
}

func (e *inElement) Error() string { return e.err.Error() }

func element(raw json.RawMessage, o Options) (inventory.Record, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(raw, &keys); err != nil {
		return inventory.Record{}, errors.New("expected an object with a machine or a record")
	}
	if _, ok := keys["fields"]; ok {
		var r inventory.Record
		if err := strict(raw, &r); err != nil {
			return r, err
		}
		if r.SourceKey == "" {
			return r, errors.New("the record has no source_key")
		}
		for name, value := range r.Fields {
			if err := inventory.CheckField(name, value); value != "" && err != nil {
				return r, &inElement{max(0, bytes.Index(raw, fmt.Appendf(nil, "%q", name))), err}
			}
		}
		if r.Source = o.Source; r.SeenAt.IsZero() {
			r.SeenAt = o.SeenAt
		}
		return r, nil
	}
	m := inventory.Machine{Enabled: true, Priority: inventory.DefaultPriority}
	if err := strict(raw, &m); err != nil {
		return inventory.Record{}, err
	}
	if m.Name == "" && m.FQDN == "" {
		return inventory.Record{}, errors.New("the machine has no name")
	}
	r := inventory.Record{Source: o.Source, SourceKey: m.ID, SeenAt: o.SeenAt, Gone: m.Gone, Fields: map[string]string{}}
	if r.SourceKey == "" {
		r.SourceKey = strings.ToLower(m.FQDN)
	}
	if r.SourceKey == "" {
		r.SourceKey = strings.ToLower(m.Name)
	}
	for _, name := range inventory.RecordFields() {
		value, _ := m.Field(name)
		if value == "" || name == "priority" && keys["priority"] == nil || name == "enabled" && keys["enabled"] == nil {
			continue
		}
		if err := inventory.CheckField(name, value); err != nil {
			return r, err
		}
		r.Fields[name] = value
	}
	return r, nil
}

// strict decodes without tolerance for unknown keys.
func strict(raw json.RawMessage, into any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kind):
		return &inElement{max(0, int(kind.Offset)-1), fmt.Errorf("%s cannot be a %s", kind.Field, kind.Value)}
	}
	if _, name, ok := strings.Cut(err.Error(), "unknown field "); ok {
		key := strings.Trim(name, `"`)
		err := fmt.Errorf("unknown key %q", key)
		if near := hint.Nearest(key, inventory.RecordFields()); near != "" {
			err = fmt.Errorf("unknown key %q, did you mean %q?", key, near)
		}
		return &inElement{max(0, bytes.Index(raw, []byte(name))), err}
	}
	return err
}

// WriteJSON writes machines as one JSON array, a machine in each line, in the form that [ReadJSON] reads.
func WriteJSON(w io.Writer, machines []inventory.Machine) error {
	sep := "[\n"
	for i := range machines {
		text, err := json.Marshal(&machines[i])
		if err != nil {
			return fmt.Errorf("write JSON: %s: %w", machines[i].Name, err)
		}
		if _, err := fmt.Fprintf(w, "%s%s", sep, text); err != nil {
			return fmt.Errorf("write JSON: %w", err)
		}
		sep = ",\n"
	}
	if len(machines) == 0 {
		sep = "["
	} else {
		sep = "\n"
	}
	if _, err := io.WriteString(w, sep+"]\n"); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}
