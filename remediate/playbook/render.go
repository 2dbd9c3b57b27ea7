package playbook

import (
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Render writes a playbook as YAML that [Parse] reads back to the same playbook.
func Render(p Playbook) ([]byte, error) { return render(p, nil) }

// Render writes the playbook as YAML, its parameters not set. Comments are not kept.
func (s *Source) Render() ([]byte, error) { return render(s.Playbook, s.templates) }

// Explain writes the playbook as YAML with what it does, in plain words, before it.
func (s *Source) Explain(w io.Writer) error {
	for _, line := range Describe(s.Playbook) {
		if _, err := fmt.Fprintln(w, "# "+line); err != nil {
			return err
		}
	}
	text, err := s.Render()
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

func render(p Playbook, templates map[string]string) ([]byte, error) {
	r := renderer{templates: templates, escape: len(p.Params) == 0}
	text, err := yaml.Dump(r.playbook(p), yaml.WithIndent(2), yaml.WithLineWidth(-1))
	if err != nil {
		return nil, fmt.Errorf("write playbook %q as YAML: %w", p.Name, err)
	}
	return text, nil
}

type renderer struct {
	templates map[string]string
	escape    bool // there are no parameters, so ${ stands for itself
}

// object is a mapping that grows key by key and leaves out what is not set.
type object struct {
	*renderer
	path string
	node *yaml.Node
}

func (r *renderer) object(path string) object {
	return object{r, path, &yaml.Node{Kind: yaml.MappingNode}}
}

func (o object) add(key string, value *yaml.Node) {
	if t, ok := o.templates[join(o.path, key)]; ok {
		value = scalarNode(t)
	}
	if value != nil {
		o.node.Content = append(o.node.Content, scalarNode(key), value)
	}
}

func (o object) text(key, s string) {
	if s != "" {
		o.add(key, o.string(s))
	} else {
		o.add(key, nil)
	}
}

func (o object) number(key string, v int) {
	if v != 0 {
		o.add(key, numberNode(int64(v)))
	} else {
		o.add(key, nil)
	}
}

func (r *renderer) string(s string) *yaml.Node {
	if r.escape {
		s = strings.ReplaceAll(s, "${", "$${")
	}
	n := scalarNode(s)
	if strings.Contains(s, "\n") {
		n.Style = yaml.DoubleQuotedStyle // the end of a block would be trimmed
	}
	return n
}

func (r *renderer) strings(all []string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode}
	for _, s := range all {
		n.Content = append(n.Content, r.string(s))
	}
	return n
}

// scalarNode is text in the style that a person would choose: blocks for lines, single quotes for paths.
func scalarNode(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	odd := strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) })
	switch {
	case odd:
		n.Style = yaml.DoubleQuotedStyle
	case strings.Contains(s, "\n"):
		n.Style = yaml.LiteralStyle
		if strings.TrimSpace(s) == "" || strings.HasPrefix(s, " ") || strings.HasPrefix(s, "\n") || strings.Contains(s, " \n") {
			n.Style = yaml.DoubleQuotedStyle
		}
	case s == "" || strings.ContainsAny(s, `\:#{}[]*&!|>'"%@`+"`"):
		n.Style = yaml.SingleQuotedStyle
	}
	return n
}

func numberNode(v int64) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatInt(v, 10)}
}

func boolNode(v bool) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v)}
}

func timeNode(t time.Time) *yaml.Node {
	if t.IsZero() {
		return nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!timestamp", Value: t.UTC().Format(time.RFC3339Nano)}
}

func (r *renderer) playbook(p Playbook) *yaml.Node {
	o := r.object("")
	o.add("playbook", scalarNode(p.Name))
	o.text("summary", p.Summary)
	if len(p.References) > 0 {
		o.add("references", r.strings(p.References))
	}
	if p.Tool {
		o.add("tool", boolNode(true))
	}
	if len(p.Params) > 0 {
		params := r.object("params")
		for _, name := range slices.Sorted(maps.Keys(p.Params)) {
			one := r.object("params." + name)
			one.literal("summary", p.Params[name].Summary)
			one.literal("pattern", p.Params[name].Pattern)
			one.literal("default", p.Params[name].Default)
			params.add(name, one.node)
		}
		o.add("params", params.node)
	}
	o.add("detect", r.conditions("detect", p.Detect))
	fix := &yaml.Node{Kind: yaml.SequenceNode}
	for i, a := range p.Fix {
		fix.Content = append(fix.Content, r.action(fmt.Sprintf("fix[%d]", i), a))
	}
	o.add("fix", fix)
	o.add("verify", r.conditions("verify", p.Verify))
	o.text("reboot", string(p.Reboot))
	return o.node
}

// literal is text in which ${ is never a parameter.
func (o object) literal(key, s string) {
	if s != "" {
		o.add(key, scalarNode(s))
	}
}

func (r *renderer) conditions(path string, all []Condition) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode}
	for i, c := range all {
		n.Content = append(n.Content, r.condition(fmt.Sprintf("%s[%d]", path, i), c))
	}
	return n
}

func (r *renderer) condition(path string, c Condition) *yaml.Node {
	o := r.object(path)
	conditionKind(c.Kind()).render(o, c)
	return o.node
}

// comparison writes what several kinds compare with.
func (o object) comparison(c Condition) {
	o.text("start", string(c.Start))
	o.text("state", c.State)
	o.add("equals", o.data(c.Equals))
	if c.Present != nil {
		o.add("present", boolNode(*c.Present))
	}
}

func (o object) fileTest(t FileTest) {
	o.text("header", t.Header)
	o.text("sha256", t.SHA256)
	if t.Version != nil {
		v := o.object(o.path + ".version")
		v.text("min", t.Version.Min)
		v.text("max", t.Version.Max)
		v.node.Style = yaml.FlowStyle
		o.add("version", v.node)
	}
	if t.Modified != nil {
		w := o.object(o.path + ".modified")
		w.add("after", timeNode(t.Modified.After))
		w.add("before", timeNode(t.Modified.Before))
		w.node.Style = yaml.FlowStyle
		o.add("modified", w.node)
	}
}

func (r *renderer) data(v any) *yaml.Node {
	switch v := v.(type) {
	case string:
		return r.string(v)
	case []string:
		return r.strings(v)
	case []any: // out of JSON
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for _, e := range v {
			n.Content = append(n.Content, r.data(e))
		}
		return n
	case int:
		return numberNode(int64(v))
	case int64:
		return numberNode(v)
	case float64: // out of JSON
		return numberNode(int64(v))
	case nil:
		return nil
	}
	return r.string(fmt.Sprint(v))
}

func (r *renderer) action(path string, a Action) *yaml.Node {
	outer := r.object(path)
	if kind := a.Kind(); kind != "" {
		inner := r.object(path + "." + kind)
		actionKind(kind).render(inner, a)
		outer.add(kind, inner.node)
	}
	outer.flag("optional", a.Optional)
	return outer.node
}

func (o object) flag(key string, set bool) {
	if set {
		o.add(key, boolNode(true))
	} else {
		o.add(key, nil)
	}
}

// content is a file's content as text where it is text, else as hexadecimal.
func (o object) content(hexText string) {
	raw, err := hex.DecodeString(hexText)
	if err == nil && utf8.Valid(raw) && !strings.ContainsFunc(string(raw), func(r rune) bool { return r != '\n' && r != '\r' && r != '\t' && !unicode.IsPrint(r) }) {
		o.add("content", scalarNode(string(raw)))
		return
	}
	o.add("hex", scalarNode(hexText))
}

func (o object) script(s Script) {
	o.text("shell", s.Shell)
	o.literal("body", s.Body)
	if len(s.Args) > 0 {
		o.add("args", o.strings(s.Args))
	}
	o.number("timeout", s.Timeout)
	o.numbers("ok", s.OK)
	o.literal("undo", s.Undo)
}

// numbers adds a list of numbers, or of the parameters that stand in their place.
func (o object) numbers(key string, all []int) {
	if len(all) == 0 {
		return
	}
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for i, code := range all {
		one := numberNode(int64(code))
		if t, ok := o.templates[fmt.Sprintf("%s.%s[%d]", o.path, key, i)]; ok {
			one = scalarNode(t)
		}
		n.Content = append(n.Content, one)
	}
	o.add(key, n)
}
