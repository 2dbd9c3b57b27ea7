package playbook

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

var putKind = stepKind{
	name: "put", keys: []string{"file", "content", "base64", "hex", "sha256"},
	permanent: takenBack,
	is:        func(a Action) bool { return a.Put != nil },
	decode:    func(f fields, a *Action) { a.Put = f.put() },
	render: func(o object, a Action) {
		o.text("file", a.Put.File)
		o.content(a.Put.Hex)
	},
	describe: func(a Action) string {
		return fmt.Sprintf("Writes the file %s (%d bytes, SHA-256 %s); what was there before is kept.", a.Put.File, len(a.Put.Hex)/2, a.Put.SHA256)
	},
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
