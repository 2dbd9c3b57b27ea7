package playbook

import (
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

// usage says what a text is for, and so which characters a parameter may bring into it.
type usage int

const (
	plainText usage = iota
	pathText        // a path of files
	keyText         // a registry key
	nameText        // a service, driver or value name
	argument        // an argument of a script
)

// meaning are the characters that would change what a text of this use points at.
func (u usage) meaning() string {
	switch u {
	case pathText:
		return `*?\/:%`
	case keyText:
		return `\`
	}
	return ""
}

var (
	parameterName  = lazyregexp.New(`^[a-z][a-z0-9_-]{0,31}$`)
	wholeParameter = lazyregexp.New(`^\$\{[a-z][a-z0-9_-]{0,31}\}$`)
)

func (d *decoder) parameters(n *yaml.Node) map[string]Param {
	entries := d.mapping(n, "params", "params", nil)
	if len(entries) > maxParams {
		d.fail(n, "there are %d params; at most %d are allowed", len(entries), maxParams)
		return nil
	}
	all := map[string]Param{}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		e := entries[name]
		path := "params." + name
		if !parameterName.MatchString(name) {
			d.fail(e, "the parameter's name %q must be small letters, digits, '-' and '_', beginning with a letter", clip(name))
			continue
		}
		all[name] = d.parameter(e, path)
	}
	return all
}

func (d *decoder) parameter(n *yaml.Node, path string) Param {
	var p Param
	keys := d.mapping(n, path, "the parameter "+lastPart(path), paramKeys)
	if keys == nil {
		return p
	}
	if c := keys["summary"]; c != nil {
		p.Summary = d.literal(c, path+".summary")
	}
	if c := keys["default"]; c != nil {
		p.Default, _ = d.scalar(c, path+".default")
	}
	c := keys["pattern"]
	if c == nil {
		d.fail(n, "the key \"pattern\" is missing: a regular expression that every value must match, such as '[A-Za-z0-9_.-]+'")
		return p
	}
	p.Pattern = d.literal(c, path+".pattern")
	if len(p.Pattern) > 500 {
		d.fail(c, "pattern has %d bytes; at most 500 are allowed", len(p.Pattern))
		return p
	}
	if p.Pattern == "" {
		d.fail(c, "pattern is empty; no value could match it")
		return p
	}
	if _, err := whole(p.Pattern); err != nil {
		d.fail(c, "pattern is no regular expression (RE2): %v", err)
	} else if err := checkValue(p, p.Default); p.Default != "" && err != nil {
		d.fail(keys["default"], "default %v", err)
	}
	return p
}

// whole compiles a pattern so that it must match all of a value.
func whole(pattern string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?:` + pattern + `)\z`)
}

func checkValue(p Param, value string) error {
	re, err := whole(p.Pattern)
	if err != nil {
		return err
	}
	switch {
	case len(value) > maxText:
		return fmt.Errorf("has %d bytes; at most %d are allowed", len(value), maxText)
	case !utf8.ValidString(value):
		return fmt.Errorf("%q is not UTF-8 text", clip(value))
	case strings.ContainsFunc(value, isControl):
		return fmt.Errorf("%q contains a control character", clip(value))
	case !re.MatchString(value):
		return fmt.Errorf("%q does not match the pattern %s", clip(value), p.Pattern)
	}
	return nil
}

// Bind sets the parameters and returns the playbook that goes to machines. Values are data: they are set after the
// YAML is read, never in the body of a script or the content of a file, and a value cannot bring wildcards, backslashes
// or variables into a path unless the parameter's pattern names these characters. A parameter cannot be used to disable
// a driver or service without which Windows does not start.
func (s *Source) Bind(params map[string]string) (Playbook, error) {
	values, err := s.values(params)
	if err != nil {
		return Playbook{}, err
	}
	if s.root == nil {
		return s.Playbook, nil
	}
	d := &decoder{file: s.File, values: values, at: map[string]Position{}, templates: map[string]string{}, loose: s.loose}
	p := d.playbook(s.root)
	if len(d.errs) > 0 {
		return Playbook{}, fmt.Errorf("set the parameters of playbook %q: %w", s.Playbook.Name, d.errs.sorted())
	}
	for i, a := range p.Fix {
		name, vital := disablesVital(a)
		if before, _ := disablesVital(s.Playbook.Fix[i]); vital && before != name {
			return Playbook{}, hint.Wrapf(fmt.Errorf("playbook %q would disable %q: Windows does not start without it", s.Playbook.Name, name),
				"check the value given with --set; where it is truly meant, write a playbook with this name in it")
		}
	}
	p.Params = nil
	return p, nil
}

func (s *Source) values(given map[string]string) (map[string]string, error) {
	declared := slices.Sorted(maps.Keys(s.Playbook.Params))
	values := map[string]string{}
	var faults Errors
	fault := func(format string, args ...any) {
		faults = append(faults, &Error{Message: fmt.Sprintf(format, args...)})
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		p, ok := s.Playbook.Params[name]
		if !ok && len(declared) == 0 {
			fault("playbook %q has no parameters, but %q is set", s.Playbook.Name, clip(name))
		} else if !ok {
			fault("%s", unknown("parameter", name, declared))
		} else if err := checkValue(p, given[name]); err != nil {
			fault("parameter %q: the value %v", name, err)
		} else {
			values[name] = given[name]
		}
	}
	for _, name := range declared {
		if _, ok := given[name]; ok {
			continue
		}
		p := s.Playbook.Params[name]
		if p.Default == "" {
			about := ""
			if p.Summary != "" {
				about = " (" + p.Summary + ")"
			}
			fault("parameter %q is missing%s: --set %s=VALUE", name, about, name)
		}
		values[name] = p.Default
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("set the parameters of playbook %q: %w", s.Playbook.Name, faults)
	}
	return values, nil
}

// isTemplate reports whether a text is nothing but a parameter that is not set yet.
func (d *decoder) isTemplate(s string) bool { return d.values == nil && wholeParameter.MatchString(s) }

// expand checks every ${name} of a text and, when the decoder has values, sets it. $${ stands for ${ itself.
func (d *decoder) expand(n *yaml.Node, s string, use usage) string {
	var out strings.Builder
	for rest := s; rest != ""; {
		at := strings.Index(rest, "${")
		if at < 0 {
			out.WriteString(rest)
			break
		}
		if at > 0 && rest[at-1] == '$' {
			out.WriteString(rest[:at-1] + "${")
			rest = rest[at+2:]
			continue
		}
		name, after, closed := strings.Cut(rest[at+2:], "}")
		if !closed {
			d.fail(n, "${ without its }; write $${ for the characters themselves")
			return s
		}
		out.WriteString(rest[:at])
		out.WriteString(d.value(n, name, use))
		rest = after
	}
	if d.values == nil && len(d.params) > 0 {
		return s // as written, for Bind
	}
	return out.String()
}

func (d *decoder) value(n *yaml.Node, name string, use usage) string {
	p, ok := d.params[name]
	if !ok {
		if len(d.params) == 0 {
			d.fail(n, "${%s} is used, but the playbook has no params; write $${ for the characters themselves", clip(name))
		} else {
			d.fail(n, "%s", unknown("parameter", name, slices.Sorted(maps.Keys(d.params))))
		}
		return ""
	}
	v := d.values[name]
	for _, r := range v {
		if strings.ContainsRune(use.meaning(), r) && !names(p.Pattern, r) {
			d.fail(n, "the value %q of parameter %q brings %q into a path; the parameter's pattern does not name this character", clip(v), name, r)
			return ""
		}
	}
	return v
}

// names reports whether a pattern mentions a character itself, not just with a dot or a wide class.
func names(pattern string, r rune) bool {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	return err == nil && mentions(tree, r)
}

func mentions(tree *syntax.Regexp, r rune) bool {
	const narrow = 40
	switch tree.Op {
	case syntax.OpLiteral:
		return slices.Contains(tree.Rune, r)
	case syntax.OpCharClass:
		for i := 0; i+1 < len(tree.Rune); i += 2 {
			if low, high := tree.Rune[i], tree.Rune[i+1]; low <= r && r <= high && high-low < narrow {
				return true
			}
		}
		return false
	}
	return slices.ContainsFunc(tree.Sub, func(sub *syntax.Regexp) bool { return mentions(sub, r) })
}
