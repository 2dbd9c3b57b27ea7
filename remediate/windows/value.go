package windows

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

func (r *run) needRegistry() error {
	if r.Registry == nil || r.request.Root != "" {
		return errors.New("not possible on an offline installation: registry")
	}
	return nil
}

func (r *run) needServices() error {
	if r.Services == nil || r.request.Root != "" {
		return errors.New("not possible on an offline installation: service state")
	}
	return nil
}

// value reads a registry value: nil where it is absent.
func (r *run) value(key, name string) (*data, error) {
	if err := r.needRegistry(); err != nil {
		return nil, err
	}
	v, ok, err := r.Registry.Get(key, name)
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", key, name, err)
	}
	if !ok {
		return nil, nil
	}
	return fromValue(v)
}

// setValue writes a registry value, or deletes it when d is nil.
func (r *run) setValue(key, name string, d *data) error {
	if d == nil {
		if err := r.Registry.Delete(key, name); err != nil {
			return fmt.Errorf("delete %s %s: %w", key, name, err)
		}
		return nil
	}
	v, err := d.value()
	if err != nil {
		return err
	}
	if err := r.Registry.Set(key, name, v); err != nil {
		return fmt.Errorf("set %s %s: %w", key, name, err)
	}
	return nil
}

func fromValue(v Value) (*data, error) {
	d := &data{Type: v.Type}
	read := v.Data
	if odd, ok := read.(Odd); ok {
		d.Raw, read = guard([]string{upperHex(odd.Raw)}), odd.As
	}
	switch x := read.(type) {
	case string:
		d.Data = guard([]string{x})
	case uint64:
		d.Data = guard([]string{strconv.FormatUint(x, 10)})
	case []string:
		d.Data = guard(x)
	case []byte:
		d.Data = guard([]string{upperHex(x)})
	case nil:
		if d.Raw == nil {
			return nil, fmt.Errorf("registry value of type %s holds nothing", v.Type)
		}
	default:
		return nil, fmt.Errorf("registry value of type %s holds %T", v.Type, v.Data)
	}
	return d, nil
}

func (d *data) value() (Value, error) {
	if d.Raw != nil {
		raw, err := hex.DecodeString(strings.Join(unguard(d.Raw), ""))
		kind, known := typeNumber(d.Type)
		if err != nil || !known {
			return Value{}, fmt.Errorf("record of a %s cannot be read", d.Type)
		}
		return DecodeValue(kind, raw), nil
	}
	texts := unguard(d.Data)
	if d.Type == "multi-string" {
		return Value{d.Type, texts}, nil
	}
	if len(texts) != 1 {
		return Value{}, fmt.Errorf("record of a %s has %d parts", d.Type, len(texts))
	}
	switch d.Type {
	case "string", "expand-string":
		return Value{d.Type, texts[0]}, nil
	case "dword", "qword":
		n, err := strconv.ParseUint(texts[0], 10, 64)
		if err != nil || d.Type == "dword" && n > math.MaxUint32 {
			return Value{}, fmt.Errorf("'%s' is no %s", texts[0], d.Type)
		}
		return Value{d.Type, n}, nil
	}
	if _, known := typeNumber(d.Type); !known {
		return Value{}, fmt.Errorf("unknown type '%s'", d.Type)
	}
	raw, err := hex.DecodeString(texts[0])
	if err != nil {
		return Value{}, fmt.Errorf("record of a %s: %w", d.Type, err)
	}
	return Value{d.Type, raw}, nil
}

// wanted reads a value of a playbook, which may come from YAML or from JSON: its kind (number, text, list) and texts.
func wanted(v any) (kind string, texts []string, ok bool) {
	switch x := v.(type) {
	case string:
		return "text", []string{x}, true
	case json.Number:
		return "number", []string{x.String()}, !strings.ContainsAny(x.String(), ".eE")
	case float64:
		if x != math.Trunc(x) || math.Abs(x) >= 1<<64 {
			return "", nil, false
		}
		return "number", []string{strconv.FormatFloat(x, 'f', -1, 64)}, true
	case int:
		return "number", []string{strconv.Itoa(x)}, true
	case int64:
		return "number", []string{strconv.FormatInt(x, 10)}, true
	case uint64:
		return "number", []string{strconv.FormatUint(x, 10)}, true
	case []string:
		return "list", x, true
	case []any:
		texts := make([]string, len(x))
		for i, e := range x {
			s, isText := e.(string)
			if !isText {
				return "", nil, false
			}
			texts[i] = s
		}
		return "list", texts, true
	}
	return "", nil, false
}

// newData is the value that a registry action sets. The type follows from the value where the playbook gives none.
func newData(kindGiven string, v any) (*data, error) {
	kind, texts, ok := wanted(v)
	if !ok {
		return nil, errors.New("a value must be a whole number, a text or a list of texts")
	}
	d := &data{Type: kindGiven, Data: guard(texts)}
	if d.Type == "" {
		d.Type = map[string]string{"number": "dword", "text": "string", "list": "multi-string"}[kind]
	}
	want, known := map[string]string{"dword": "number", "qword": "number", "string": "text", "expand-string": "text", "binary": "text", "multi-string": "list"}[d.Type]
	switch {
	case !known:
		return nil, fmt.Errorf("unknown type '%s'", d.Type)
	case want != kind:
		return nil, fmt.Errorf("a %s cannot be set to a %s", d.Type, kind)
	}
	_, err := d.value()
	if err != nil && d.Type == "binary" {
		err = fmt.Errorf("'%s' is no hexadecimal", texts[0])
	}
	if d.Type == "binary" {
		d.Data = guard([]string{strings.ToUpper(texts[0])})
	}
	return d, err
}
