package playbook

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

func (d *decoder) action(n *yaml.Node, path string) (a Action) {
	kind, keys := d.one(n, path, "action", actionKinds, func(kind string) []string { return []string{kind} })
	if keys == nil || keys[kind] == nil {
		return a
	}
	at := path + "." + kind
	if kind == "script" {
		a.Script = d.script(keys[kind], at, actionKeys[kind])
		return a
	}
	f := fields{d, d.mapping(keys[kind], at, "action "+kind, actionKeys[kind]), keys[kind], at}
	if f.keys == nil {
		return a
	}
	switch kind {
	case "quarantine":
		a.Quarantine = &Quarantine{FileTest: d.fileTest(f.keys, at)}
		if v := f.need("file"); v != nil {
			a.Quarantine.File = d.filePath(v, at+".file", true)
		}
	case "put":
		a.Put = f.put()
	case "registry":
		a.Registry = f.registry()
	case "service":
		a.Service = f.start(kind, serviceStarts)
		if v := f.keys["stop"]; v != nil {
			a.Service.Stop = d.boolean(v, at+".stop")
		}
	case "driver":
		a.Driver = f.start(kind, serviceStarts)
	case "bcd":
		a.BCD = f.bcd()
	}
	return a
}

// fields are the keys of one action.
type fields struct {
	*decoder
	keys map[string]*yaml.Node
	node *yaml.Node
	path string
}

// need is the value of a key that must be there.
func (f fields) need(key string) *yaml.Node {
	v := f.keys[key]
	if v == nil {
		f.fail(f.node, "%s needs the key %q", lastPart(f.path), key)
	}
	return v
}

func (f fields) put() *Put {
	p := &Put{}
	if v := f.need("file"); v != nil {
		p.File = f.filePath(v, f.path+".file", false)
	}
	form := ""
	for _, key := range []string{"content", "base64", "hex"} {
		if f.keys[key] != nil && form != "" {
			f.fail(f.keys[key], "put has both %q and %q; give the content once", form, key)
			return p
		}
		if f.keys[key] != nil {
			form = key
		}
	}
	if form == "" {
		f.fail(f.node, "put needs what to write: \"content\" (text), \"base64\" or \"hex\"")
		return p
	}
	before := len(f.errs)
	n := f.keys[form]
	text := f.literal(n, f.path+"."+form)
	content, err := []byte(text), error(nil)
	switch form {
	case "base64":
		content, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	case "hex":
		content, err = hex.DecodeString(strings.Join(strings.Fields(text), ""))
	}
	if err != nil {
		f.fail(n, "%s is broken: %v", form, err)
	}
	if len(content) > maxPut {
		f.fail(n, "the file to put has %d bytes; at most %d are allowed", len(content), maxPut)
	}
	if len(f.errs) > before {
		return p
	}
	sum := sha256.Sum256(content)
	p.Hex, p.SHA256 = strings.ToUpper(hex.EncodeToString(content)), strings.ToUpper(hex.EncodeToString(sum[:]))
	if v := f.keys["sha256"]; v != nil {
		if want := f.hash(v, f.path+".sha256"); want != "" && want != p.SHA256 {
			f.fail(v, "sha256 is not that of the content, which has %s", p.SHA256)
		}
	}
	return p
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
		if kind == "string" || kind == "expand-string" || kind == "multi-string" {
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
		}
	case []string:
		if kind != "" && kind != "multi-string" {
			f.fail(n, "a list is a value of type multi-string, not %s", kind)
		} else if slices.Contains(v, "") {
			f.fail(n, "a multi-string cannot hold an empty text: it would end there")
		}
	}
	return value
}

func (f fields) start(what string, valid []string) *StartChange {
	c := &StartChange{}
	if v := f.need("name"); v != nil {
		c.Name = f.service(v, f.path+".name", what)
	}
	if v := f.need("start"); v != nil {
		c.Start = StartType(f.word(v, f.path+".start", "start type", valid))
	}
	return c
}

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

var safebootModes = []string{"minimal", "network"}

func (d *decoder) script(n *yaml.Node, path string, valid []string) *Script {
	keys := d.mapping(n, path, "script", valid)
	if keys == nil {
		return nil
	}
	f, s := fields{d, keys, n, path}, &Script{}
	if v := f.need("shell"); v != nil {
		s.Shell = d.word(v, path+".shell", "shell", shells)
	}
	if v := f.need("body"); v != nil {
		s.Body = f.body(v, "body")
	}
	if v := keys["undo"]; v != nil {
		s.Undo = f.body(v, "undo")
	}
	if v := keys["args"]; v != nil {
		s.Args = d.texts(v, path+".args", argument)
	}
	if v := keys["timeout"]; v != nil {
		s.Timeout = d.integer(v, path+".timeout", 1, maxTimeout)
	}
	if v := keys["ok"]; v != nil {
		d.list(v, path+".ok", func(e *yaml.Node, at string) { s.OK = append(s.OK, d.exitCode(e, at)) })
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

func wireSize(p Playbook) int {
	wire, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("playbook without JSON form: %v", err)) // every field is text, number or time
	}
	return len(wire)
}
