package playbook

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

// decoder walks one YAML tree. Without values it reads the playbook as written and notes the ${name} that stand where
// no text can (a number, a time); with values it sets them.
type decoder struct {
	file      string
	loose     bool
	params    map[string]Param
	values    map[string]string // nil: not bound
	at        map[string]Position
	templates map[string]string // path -> ${name}, where the field is not text
	errs      Errors
}

func (d *decoder) fail(n *yaml.Node, format string, args ...any) {
	if len(d.errs) >= 100*maxErrors {
		return // a hostile file; nobody reads them all
	}
	d.errs = append(d.errs, &Error{d.file, Position{n.Line, n.Column}, fmt.Sprintf(format, args...)})
}

func (d *decoder) playbook(n *yaml.Node) Playbook {
	p := Playbook{Detect: []Condition{}, Fix: []Action{}, Verify: []Condition{}}
	top := d.mapping(n, "", "playbook", playbookKeys)
	if top == nil {
		return p
	}
	if c := top["params"]; c != nil {
		p.Params = d.parameters(c)
		d.params = p.Params
	}
	if c := top["playbook"]; c != nil {
		p.Name = d.literal(c, "playbook")
		if !playbookName.MatchString(p.Name) {
			d.fail(c, "the name %q may have small letters, digits, '-', '.' and '_' only, at most 64", clip(p.Name))
		}
	} else if !d.loose {
		d.fail(n, "the key \"playbook\" with the playbook's name is missing")
	}
	if c := top["summary"]; c != nil {
		p.Summary = d.text(c, "summary", plainText)
	}
	if c := top["references"]; c != nil {
		p.References = d.texts(c, "references", plainText)
	}
	if c := top["tool"]; c != nil {
		p.Tool = d.boolean(c, "tool")
	}
	if c := top["detect"]; c != nil {
		d.list(c, "detect", func(e *yaml.Node, path string) { p.Detect = append(p.Detect, d.condition(e, path)) })
	}
	if c := top["fix"]; c != nil {
		d.list(c, "fix", func(e *yaml.Node, path string) { p.Fix = append(p.Fix, d.action(e, path)) })
	}
	if c := top["verify"]; c != nil {
		d.list(c, "verify", func(e *yaml.Node, path string) { p.Verify = append(p.Verify, d.condition(e, path)) })
	}
	if c := top["reboot"]; c != nil {
		p.Reboot = Reboot(d.word(c, "reboot", "reboot policy", reboots))
	}
	if size := wireSize(p); len(d.errs) == 0 && size > maxWire {
		d.fail(n, "the playbook has %d bytes on the wire; at most %d are allowed", size, maxWire)
	}
	return p
}

// mapping reads the keys of a mapping; nil when it is none. Unknown and repeated keys are errors.
func (d *decoder) mapping(n *yaml.Node, path, what string, keys []string) map[string]*yaml.Node {
	if !d.plain(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		d.fail(n, "%s must be keys with values (%s), not %s", what, strings.Join(keys, ", "), kindOf(n))
		return nil
	}
	d.note(path, n)
	found := map[string]*yaml.Node{}
	first := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case !d.plain(key):
		case key.Kind != yaml.ScalarNode:
			d.fail(key, "a key must be a word, not %s. Valid here: %s", kindOf(key), strings.Join(keys, ", "))
		case key.Value == "<<":
			d.fail(key, "merge keys are not used in playbooks; write the keys out")
		case first[key.Value] != nil:
			d.fail(key, "the key %q is already set in line %d", clip(key.Value), first[key.Value].Line)
		case keys != nil && !slices.Contains(keys, key.Value):
			d.fail(key, "%s", unknown("key", key.Value, keys))
		default:
			first[key.Value], found[key.Value] = key, value
			d.note(join(path, key.Value), value)
		}
	}
	return found
}

// list calls one for each element of a sequence.
func (d *decoder) list(n *yaml.Node, path string, one func(e *yaml.Node, path string)) {
	if !d.plain(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.fail(n, "%s must be a list (lines that begin with \"- \"), not %s", lastPart(path), kindOf(n))
		return
	}
	if len(n.Content) > maxSteps {
		d.fail(n, "%s has %d entries; at most %d are allowed", lastPart(path), len(n.Content), maxSteps)
		return
	}
	for i, e := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.note(at, e)
		one(e, at)
	}
}

// plain refuses what YAML has and playbooks do not: anchors, aliases and tags.
func (d *decoder) plain(n *yaml.Node) bool {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.fail(n, "anchors and aliases (& and *) are not used in playbooks; write it out, or put text that begins so in single quotes")
	case n.Style&yaml.TaggedStyle != 0:
		d.fail(n, "tags (%s) are not used in playbooks; remove it", clip(n.Tag))
	default:
		return true
	}
	return false
}

// scalar is the text of a single value as written; ok is false when it is none.
func (d *decoder) scalar(n *yaml.Node, path string) (string, bool) {
	if !d.plain(n) {
		return "", false
	}
	if n.Kind != yaml.ScalarNode {
		d.fail(n, "%s must be a single value, not %s", lastPart(path), kindOf(n))
		return "", false
	}
	if n.ShortTag() == "!!null" {
		d.fail(n, "%s has no value", lastPart(path))
		return "", false
	}
	return n.Value, true
}

// literal is text in which parameters are not replaced.
func (d *decoder) literal(n *yaml.Node, path string) string {
	s, ok := d.scalar(n, path)
	if !ok {
		return ""
	}
	if n.ShortTag() == "!!bool" {
		d.fail(n, "%s must be text; if %s is meant as text, put it in quotes", lastPart(path), s)
		return ""
	}
	return s
}

// text is text in which parameters are replaced.
func (d *decoder) text(n *yaml.Node, path string, use usage) string {
	s := d.literal(n, path)
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		s = strings.TrimRight(s, "\n") // the end of the block, not of the text
	}
	if len(s) > maxText {
		d.fail(n, "%s has %d bytes; at most %d are allowed", lastPart(path), len(s), maxText)
		return ""
	}
	s = d.expand(n, s, use)
	if c := strings.IndexFunc(s, isControl); c >= 0 && use != argument {
		d.fail(n, "%s contains the control character %q; put Windows paths in single quotes, double quotes turn \\n and \\t into such", lastPart(path), s[c])
		return ""
	}
	return s
}

func (d *decoder) texts(n *yaml.Node, path string, use usage) []string {
	var all []string
	d.list(n, path, func(e *yaml.Node, at string) { all = append(all, d.text(e, at, use)) })
	return all
}

// word is one of a closed set.
func (d *decoder) word(n *yaml.Node, path, what string, valid []string) string {
	s := d.text(n, path, plainText)
	if slices.Contains(valid, s) || d.isTemplate(s) {
		return s
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		return "" // already said
	}
	d.fail(n, "%s", unknown(what, s, valid))
	return ""
}

// typed is the text of a value that is not text; ok is false when there is none or it is a parameter not yet set.
func (d *decoder) typed(n *yaml.Node, path string) (string, bool) {
	s, ok := d.scalar(n, path)
	if !ok {
		return "", false
	}
	s = d.expand(n, s, plainText)
	if d.isTemplate(s) {
		d.templates[path] = s
		return "", false
	}
	return s, true
}

func (d *decoder) boolean(n *yaml.Node, path string) bool {
	s, ok := d.typed(n, path)
	if !ok || s == "false" {
		return false
	}
	if s != "true" {
		d.fail(n, "%s must be true or false, not %q", lastPart(path), clip(s))
	}
	return s == "true"
}

func (d *decoder) integer(n *yaml.Node, path string, low, high int) int {
	s, ok := d.typed(n, path)
	if !ok {
		return 0
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v < int64(low) || v > int64(high) {
		d.fail(n, "%s must be a whole number from %d to %d, not %q", lastPart(path), low, high, clip(s))
		return 0
	}
	return int(v)
}

func (d *decoder) instant(n *yaml.Node, path string) time.Time {
	s, ok := d.typed(n, path)
	if !ok {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 1601 {
		d.fail(n, "%s must be a time with its zone, such as 2024-07-19T04:09:00Z (Z is UTC), not %q", lastPart(path), clip(s))
		return time.Time{}
	}
	return t.UTC()
}

func (d *decoder) note(path string, n *yaml.Node) { d.at[path] = Position{n.Line, n.Column} }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func lastPart(path string) string {
	s := path[strings.LastIndexByte(path, '.')+1:]
	if name, _, list := strings.Cut(s, "["); list {
		return "an entry of " + name
	}
	return s
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		if n.ShortTag() == "!!null" {
			return "nothing"
		}
		return fmt.Sprintf("the single value %q", clip(n.Value))
	}
	return "an alias"
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

var playbookName = lazyregexp.New(`^[a-z0-9_][a-z0-9._-]{0,63}$`)
