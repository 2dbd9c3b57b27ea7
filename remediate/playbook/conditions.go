package playbook

import (
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// one finds which of the kinds an entry is and reads its keys; "" when it is none or several.
func (d *decoder) one(n *yaml.Node, path, what string, kinds []string, keysOf func(kind string) []string) (string, map[string]*yaml.Node) {
	if n.Kind != yaml.MappingNode {
		if d.plain(n) {
			d.fail(n, "%s must begin with its kind (%s), such as \"%s: ...\", not %s", what, strings.Join(kinds, ", "), kinds[0], kindOf(n))
		}
		return "", nil
	}
	kind := ""
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		for _, k := range kinds {
			if k != key || n.Content[i].Kind != yaml.ScalarNode {
				continue
			}
			if kind != "" && kind != k {
				d.fail(n.Content[i], "%s is either %q or %q; begin a new entry with \"- %s:\"", what, kind, k, k)
				return "", nil
			}
			kind = k
		}
	}
	if kind == "" {
		if len(n.Content) == 0 {
			d.fail(n, "%s is empty. Valid here: %s", what, strings.Join(kinds, ", "))
			return "", nil
		}
		if d.plain(n.Content[0]) {
			d.fail(n.Content[0], "%s", unknown(what, n.Content[0].Value, kinds))
		}
		return "", nil
	}
	return kind, d.mapping(n, path, what+" "+kind, keysOf(kind))
}

// condition reads one condition by the row of its kind.
func (d *decoder) condition(n *yaml.Node, path string) (c Condition) {
	kind, keys := d.one(n, path, "condition", ConditionKinds(), func(kind string) []string { return conditionKind(kind).keys })
	if keys == nil || keys[kind] == nil {
		return c
	}
	conditionKind(kind).decode(d, keys, path, &c)
	d.comparison(n, keys, path, conditionKind(kind), &c)
	return c
}

// comparison reads what several kinds compare with: start, equals and present.
func (d *decoder) comparison(n *yaml.Node, keys map[string]*yaml.Node, path string, kind testKind, c *Condition) {
	if v := keys["start"]; v != nil {
		c.Start = StartType(d.word(v, path+".start", "start type", serviceStarts))
	}
	if v := keys["equals"]; v != nil {
		c.Equals = d.data(v, path+".equals")
	}
	if v := keys["present"]; v != nil {
		present := d.boolean(v, path+".present")
		c.Present = &present
	}
	absent := c.Present != nil && !*c.Present && d.templates[path+".present"] == ""
	compares := keys["equals"] != nil || keys["start"] != nil || keys["state"] != nil
	if kind.compares != "" && !compares && c.Present == nil {
		d.fail(n, "the condition %s compares nothing; add %s", kind.name, kind.compares)
	}
	if absent && compares {
		d.fail(keys["present"], "what is not present has no value to compare; remove \"present: false\" or the comparison")
	}
	if _, list := c.Equals.([]string); list && kind.name == "bcd" {
		d.fail(keys["equals"], "equals must be a single value for bcd, not a list")
	}
}

func (d *decoder) fileTest(keys map[string]*yaml.Node, path string) (t FileTest) {
	if v := keys["header"]; v != nil {
		t.Header = d.hex(v, path+".header", maxHeader)
	}
	if v := keys["sha256"]; v != nil {
		t.SHA256 = d.hash(v, path+".sha256")
	}
	if v := keys["version"]; v != nil {
		t.Version = d.versionRange(v, path+".version")
	}
	if v := keys["modified"]; v != nil {
		at := path + ".modified"
		w := d.mapping(v, at, "modified", windowKeys)
		if w == nil {
			return t
		}
		t.Modified = &Window{}
		if a := w["after"]; a != nil {
			t.Modified.After = d.instant(a, at+".after")
		}
		if b := w["before"]; b != nil {
			t.Modified.Before = d.instant(b, at+".before")
		}
		after, before := t.Modified.After, t.Modified.Before
		if len(w) == 0 {
			d.fail(v, "modified is empty; add \"after\", \"before\" or both")
		} else if !after.IsZero() && !before.IsZero() && !after.Before(before) {
			d.fail(v, "modified: \"after\" (%s) is not before \"before\" (%s), so no file can match", w["after"].Value, w["before"].Value)
		}
	}
	return t
}

// hex reads bytes in hexadecimal and gives them in upper case.
func (d *decoder) hex(n *yaml.Node, path string, most int) string {
	before := len(d.errs)
	s := d.text(n, path, plainText)
	if len(d.errs) > before || d.isTemplate(s) {
		return s
	}
	s = strings.ToUpper(strings.ReplaceAll(s, " ", ""))
	switch {
	case s == "" || strings.Trim(s, "0123456789ABCDEF") != "":
		d.fail(n, "%s must be hexadecimal digits such as AAAAAAAA01002301, not %q", lastPart(path), clip(n.Value))
	case len(s)%2 != 0:
		d.fail(n, "%s has %d hexadecimal digits; two make a byte, so it must be an even number", lastPart(path), len(s))
	case len(s)/2 > most:
		d.fail(n, "%s has %d bytes; at most %d are allowed", lastPart(path), len(s)/2, most)
	}
	return s
}

func (d *decoder) hash(n *yaml.Node, path string) string {
	before := len(d.errs)
	s := d.hex(n, path, maxHeader)
	if len(d.errs) == before && !d.isTemplate(s) && len(s) != 64 {
		d.fail(n, "sha256 must have 64 hexadecimal digits, not %d", len(s))
	}
	return s
}

// data reads a value to compare with or to write: text, a whole number, or a list of texts.
func (d *decoder) data(n *yaml.Node, path string) any {
	if n.Kind == yaml.SequenceNode {
		all := d.texts(n, path, plainText)
		if all == nil {
			all = []string{}
		}
		return all
	}
	s, ok := d.scalar(n, path)
	if !ok {
		return nil
	}
	switch n.ShortTag() {
	case "!!int":
		v, err := strconv.ParseInt(s, 0, 64)
		if err != nil || v < 0 {
			d.fail(n, "%s must be a whole number from 0 to %d (0x... for hexadecimal), or text in quotes, not %s", lastPart(path), math.MaxInt64, clip(s))
			return nil
		}
		if len(s) > 1 && s[0] == '0' && s[1] >= '0' && s[1] <= '9' {
			d.fail(n, "%s begins with a zero; write the number without it, or in quotes if it is text", lastPart(path))
			return nil
		}
		return v
	case "!!float":
		d.fail(n, "%s must be a whole number or text; if %s is text, put it in quotes", lastPart(path), clip(s))
		return nil
	case "!!bool":
		d.fail(n, "%s must be a number or text; write 1 or 0, or put %s in quotes", lastPart(path), s)
		return nil
	}
	return d.text(n, path, plainText)
}

func (d *decoder) exitCode(n *yaml.Node, path string) int {
	return d.integer(n, path, math.MinInt32, math.MaxUint32)
}
