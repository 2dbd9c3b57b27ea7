package playbook

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v4"
)

var bcdKind = stepKind{
	name: "bcd", keys: []string{"delete", "set", "value"},
	permanent: takenBack,
	is:        func(a Action) bool { return a.BCD != nil },
	decode:    func(f fields, a *Action) { a.BCD = f.bcd() },
	render: func(o object, a Action) {
		o.text("delete", a.BCD.Delete)
		o.text("set", a.BCD.Set)
		o.text("value", a.BCD.Value)
	},
	describe: func(a Action) string {
		if a.BCD.Delete != "" {
			return fmt.Sprintf("Deletes the element %s from the default boot entry, where it is set.", a.BCD.Delete)
		}
		return fmt.Sprintf("Sets the element %s of the default boot entry to %s.", a.BCD.Set, a.BCD.Value)
	},
}

var bcdTestKind = testKind{
	name: "bcd", keys: []string{"bcd", "equals", "present"},
	compares: `"equals" or "present: true" or "present: false"`,
	is:       func(c Condition) bool { return c.BCD != "" },
	decode: func(d *decoder, keys map[string]*yaml.Node, path string, c *Condition) {
		c.BCD = d.element(keys["bcd"], path+".bcd")
	},
	render: func(o object, c Condition) {
		o.text("bcd", c.BCD)
		o.comparison(c)
	},
	describe: func(c Condition) string { return "the boot element " + c.BCD + " " + comparisonText(c) },
}

var safebootModes = []string{"minimal", "network"}

func (f fields) bcd() *BCDChange {
	c := &BCDChange{}
	if v := f.keys["delete"]; v != nil {
		c.Delete = f.element(v, f.path+".delete")
	}
	if v := f.keys["set"]; v != nil {
		c.Set = f.element(v, f.path+".set")
	}
	if v := f.keys["value"]; v != nil {
		c.Value = f.text(v, f.path+".value", plainText)
	}
	deletes, sets, value := f.keys["delete"] != nil, f.keys["set"] != nil, f.keys["value"] != nil
	switch {
	case deletes == sets:
		f.fail(f.node, "bcd needs either \"delete: ELEMENT\", or \"set: ELEMENT\" with \"value\"")
	case sets && !value:
		f.fail(f.node, "bcd: set needs a \"value\"")
	case deletes && value:
		f.fail(f.keys["value"], "bcd: delete has no value; write \"set\" to change the element")
	case value && c.Value == "" && f.keys["value"].Value == "":
		f.fail(f.keys["value"], "value is empty; write \"delete\" to remove the element")
	case sets && c.Set == "safeboot" && c.Value != "" && !f.isTemplate(c.Value) && !slices.Contains(safebootModes, c.Value):
		f.fail(f.keys["value"], "%s", unknown("safeboot mode", c.Value, safebootModes))
	}
	return c
}
