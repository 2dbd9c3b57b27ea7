package playbook

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

var registryKind = stepKind{
	name: "registry", keys: []string{"key", "name", "type", "value", "delete"},
	permanent: func(a Action) string { return firmwareWrite(*a.Registry) },
	is:        func(a Action) bool { return a.Registry != nil },
	decode:    func(f fields, a *Action) { a.Registry = f.registry() },
	render: func(o object, a Action) {
		o.text("key", a.Registry.Key)
		o.add("name", o.string(a.Registry.Name))
		o.text("type", a.Registry.Type)
		o.add("value", o.data(a.Registry.Value))
		o.flag("delete", a.Registry.Delete)
	},
	describe: func(a Action) string {
		if a.Registry.Delete {
			return fmt.Sprintf("Deletes the registry value %s in %s.", valueName(a.Registry.Name), a.Registry.Key)
		}
		return fmt.Sprintf("Sets the registry value %s in %s to %s.", valueName(a.Registry.Name), a.Registry.Key, dataText(a.Registry.Value))
	},
}

var registryTestKind = testKind{
	name: "registry", keys: []string{"registry", "name", "equals", "present"},
	compares: `"equals" or "present: true" or "present: false"`,
	is:       func(c Condition) bool { return c.Registry != "" },
	decode: func(d *decoder, keys map[string]*yaml.Node, path string, c *Condition) {
		c.Registry = d.registryKey(keys["registry"], path+".registry")
		if v := keys["name"]; v != nil {
			c.Name = d.text(v, path+".name", nameText)
		}
	},
	render: func(o object, c Condition) {
		o.text("registry", c.Registry)
		o.text("name", c.Name)
		o.comparison(c)
	},
	describe: func(c Condition) string {
		return fmt.Sprintf("the registry value %s in %s %s", valueName(c.Name), c.Registry, comparisonText(c))
	},
}

func (f fields) registry() *RegistryChange {
	r := &RegistryChange{}
	if v := f.need("key"); v != nil {
		r.Key = f.registryKey(v, f.path+".key")
	}
	if v := f.need("name"); v != nil {
		r.Name = f.text(v, f.path+".name", nameText)
	}
	if v := f.keys["type"]; v != nil {
		r.Type = f.word(v, f.path+".type", "registry type", registryTypes)
	}
	if v := f.keys["delete"]; v != nil {
		r.Delete = f.boolean(v, f.path+".delete")
	}
	value := f.keys["value"]
	switch {
	case r.Delete && (value != nil || r.Type != ""):
		f.fail(f.node, "registry either deletes a value or sets one; remove \"delete: true\", or \"value\" and \"type\"")
	case !r.Delete && value == nil && f.templates[f.path+".delete"] == "":
		f.fail(f.node, "registry needs \"value\", or \"delete: true\"")
	case value != nil:
		before := len(f.errs)
		r.Value = f.data(value, f.path+".value")
		if len(f.errs) == before {
			r.Value = f.fit(value, r.Type, r.Value)
		}
	}
	return r
}

// bytes reads a binary value, which is written in hexadecimal and may be empty.
func (f fields) bytes(n *yaml.Node, text string) any {
	if f.isTemplate(text) {
		return text
	}
	s := strings.ToUpper(strings.Join(strings.Fields(text), ""))
	if _, err := hex.DecodeString(s); err != nil {
		f.fail(n, "a value of type binary is hexadecimal, two digits a byte, such as '00FF', not %q", clip(text))
	}
	return s
}

// fit checks that a value can have the registry type that is asked for.
func (f fields) fit(n *yaml.Node, kind string, value any) any {
	if text, ok := value.(string); ok && (kind == "dword" || kind == "qword") {
		if f.isTemplate(text) {
			return text
		}
		if v, err := strconv.ParseInt(text, 0, 64); err == nil && v >= 0 && wholeParameter.MatchString(n.Value) {
			value = v // a number that came with a parameter
		}
	}
	switch v := value.(type) {
	case int64:
		if kind == "string" || kind == "expand-string" || kind == "multi-string" || kind == "binary" {
			f.fail(n, "a value of type %s is text; put %s in quotes", kind, n.Value)
		} else if kind != "qword" && v > math.MaxUint32 {
			f.fail(n, "%s does not fit a dword (at most %d); add \"type: qword\"", n.Value, uint32(math.MaxUint32))
		}
	case string:
		switch kind {
		case "dword", "qword":
			f.fail(n, "a value of type %s is a whole number, not %q", kind, clip(v))
		case "multi-string":
			f.fail(n, "a value of type multi-string is a list; write ['%s']", clip(v))
		case "binary":
			return f.bytes(n, v)
		}
	case []string:
		if kind != "" && kind != "multi-string" {
			f.fail(n, "a list is a value of type multi-string, not %s", kind)
		}
	}
	return value
}
