package playbook

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

var scriptKind = stepKind{
	name: "script", keys: []string{"shell", "body", "args", "timeout", "ok", "undo"},
	permanent: func(a Action) string {
		if a.Script.Undo != "" {
			return ""
		}
		return "the script has no undo"
	},
	is:       func(a Action) bool { return a.Script != nil },
	decode:   func(f fields, a *Action) { a.Script = f.script() },
	render:   func(o object, a Action) { o.script(*a.Script) },
	describe: func(a Action) string { return runsText(*a.Script) },
}

// A script that only looks has nothing to undo.
var scriptConditionKeys = []string{"shell", "body", "args", "timeout", "ok"}

var scriptTestKind = testKind{
	name: "script", keys: []string{"script", "exit-code", "other-codes"},
	is: func(c Condition) bool { return c.Script != nil },
	decode: func(d *decoder, keys map[string]*yaml.Node, path string, c *Condition) {
		n, at := keys["script"], path+".script"
		if f := (fields{d, d.mapping(n, at, "script", scriptConditionKeys), n, at}); f.keys != nil {
			c.Script = f.script()
		}
		if v := keys["exit-code"]; v != nil {
			code := d.exitCode(v, path+".exit-code")
			c.ExitCode = &code
		}
		if v := keys["other-codes"]; v != nil {
			d.list(v, path+".other-codes", func(e *yaml.Node, at string) { c.OtherCodes = append(c.OtherCodes, d.exitCode(e, at)) })
			if want := c.code(); slices.ContainsFunc(c.OtherCodes, func(code int) bool { return int32(code) == int32(want) }) { //nolint:gosec // 32 bits of it are what Windows hands over
				d.fail(v, "%d says that the condition holds; it cannot be among other-codes", want)
			}
		}
	},
	render: func(o object, c Condition) {
		script := o.object(o.path + ".script")
		script.script(*c.Script)
		o.add("script", script.node)
		if c.ExitCode != nil {
			o.add("exit-code", numberNode(int64(*c.ExitCode)))
		}
		o.numbers("other-codes", c.OtherCodes)
	},
	describe: func(c Condition) string {
		text := fmt.Sprintf("the %s script %s ends with %d", c.Script.Shell, firstLine(c.Script.Body), c.code())
		if len(c.OtherCodes) > 0 {
			text += fmt.Sprintf(" (not so with %s; with any other code it cannot be told)", numberList(c.OtherCodes))
		}
		return text
	},
}

// code is the exit code of the script with which the condition holds.
func (c Condition) code() int {
	if c.ExitCode == nil {
		return 0
	}
	return *c.ExitCode
}

func numberList(numbers []int) string {
	all := make([]string, len(numbers))
	for i, n := range numbers {
		all[i] = strconv.Itoa(n)
	}
	return strings.Join(all, ", ")
}

func (f fields) script() *Script {
	s := &Script{}
	if v := f.need("shell"); v != nil {
		s.Shell = f.word(v, f.path+".shell", "shell", shells)
	}
	if v := f.need("body"); v != nil {
		s.Body = f.body(v, "body")
	}
	if v := f.keys["undo"]; v != nil {
		s.Undo = f.body(v, "undo")
	}
	if v := f.keys["args"]; v != nil {
		s.Args = f.texts(v, f.path+".args", argument)
	}
	if v := f.keys["timeout"]; v != nil {
		s.Timeout = f.integer(v, f.path+".timeout", 1, maxTimeout)
	}
	if v := f.keys["ok"]; v != nil {
		f.list(v, f.path+".ok", func(e *yaml.Node, at string) { s.OK = append(s.OK, f.exitCode(e, at)) })
	}
	return s
}

// body is a script's text. Parameters are not replaced in it: a value would become code.
func (f fields) body(n *yaml.Node, key string) string {
	before := len(f.errs)
	s := f.literal(n, f.path+"."+key)
	switch {
	case len(f.errs) > before:
	case strings.TrimSpace(s) == "":
		f.fail(n, "%s is empty", key)
	case len(s) > maxBody:
		f.fail(n, "%s has %d bytes; at most %d are allowed", key, len(s), maxBody)
	case strings.ContainsRune(s, 0):
		f.fail(n, "%s contains a NUL character", key)
	}
	return s
}
