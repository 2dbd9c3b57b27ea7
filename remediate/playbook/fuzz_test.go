package playbook

import (
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/bounded"
)

// FuzzParse holds the parser to: no panic, every error with the file's name, and what parses is rendered to text that
// means the same.
func FuzzParse(f *testing.F) {
	for _, s := range Builtins() {
		f.Add(mustRead(strings.Replace(s.File, "builtin:", "builtin/", 1)))
	}
	f.Add(Template("x"))
	f.Add([]byte(`{"playbook":"j","detect":[{"registry":"HKLM\\SOFTWARE\\X","equals":["a"]}],"fix":[{"put":{"file":"C:\\a","hex":"00FF"}}]}`))
	f.Add([]byte("playbook: a\nfix:\n  - script: {shell: cmd, body: \"a\\r\\n\", ok: [0, 3010], undo: ' x'}\n"))
	f.Add([]byte("playbook: a\nparams: {s: {pattern: '.', default: x}}\ndetect: [{bcd: a, present: '${s}'}]\nfix: [{script: {shell: cmd, body: x, ok: ['${s}'], timeout: '${s}'}}]\n"))
	f.Add([]byte("a: &a [*a, *a]\n"))
	f.Add([]byte("{{{{[[[[\t"))
	f.Fuzz(func(t *testing.T, data []byte) {
		defer bounded.Input(t, len(data))()
		s, err := Parse("f.yaml", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f.yaml:") || len(err.Error()) > 100_000 {
				t.Fatalf("error without its place, or too long: %.300s", err)
			}
			return
		}
		Lint(s)
		Describe(s.Playbook)
		if len(s.Playbook.Params) == 0 {
			if _, err := s.Bind(nil); err != nil {
				t.Fatalf("parses but does not bind: %v", err)
			}
		}
		sameAfterRender(t, s)
	})
}

// FuzzBind holds binding to: whatever the value, the playbook keeps its shape and the value arrives as it is.
func FuzzBind(f *testing.F) {
	s, err := Parse("b.yaml", []byte(`playbook: b
params: {v: {pattern: '(?s).*'}}
detect: [{registry: 'HKLM\SOFTWARE\A', name: '${v}', equals: 'x${v}y'}]
fix:
  - quarantine: {file: 'C:\x\a${v}b'}
  - script: {shell: cmd, body: '${v}', args: ['${v}', '<${v}>']}
`))
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range []string{"a", "'", "*", `\..\`, "${v}", "$${v}", "a: b\n- c", "\u2028", "/", "..", "\x00", "%windir%"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		defer bounded.Input(t, len(v))()
		p, err := s.Bind(map[string]string{"v": v})
		if err != nil {
			return
		}
		if len(p.Detect) != 1 || len(p.Fix) != 2 || len(p.Verify) != 0 || p.Params != nil {
			t.Fatalf("%q changed the shape: %+v", v, p)
		}
		if d := p.Detect[0]; d.Name != v || d.Equals != "x"+v+"y" {
			t.Fatalf("%q did not arrive in the condition: %+v", v, d)
		}
		file, script := p.Fix[0].Quarantine.File, p.Fix[1].Script
		if file != `C:\x\a`+v+"b" || strings.ContainsAny(v, `*?\/:%`) {
			t.Fatalf("%q made the path %q", v, file)
		}
		if script.Body != "${v}" || script.Args[0] != v || script.Args[1] != "<"+v+">" {
			t.Fatalf("%q: %+v", v, script)
		}
	})
}
