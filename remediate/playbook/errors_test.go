package playbook

import (
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
)

func TestBadPlaybooksSayWhereAndWhy(t *testing.T) {
	head := "playbook: x\n"
	for _, c := range []struct{ text, want string }{
		{"playbok: x\n", `p.yaml:1:1: unknown key "playbok"; did you mean "playbook"? Valid here: playbook, summary,`},
		{head + "detect:\n  - file: 'C:\\a'\n    headr: AA\n", `p.yaml:4:5: unknown key "headr"; did you mean "header"? Valid here: file, header, sha256, modified`},
		{head + "fix:\n  - quarantene: {file: 'C:\\a'}\n", `p.yaml:3:5: unknown action "quarantene"; did you mean "quarantine"?`},
		{head + "detect:\n  - fil: x\n", `p.yaml:3:5: unknown condition "fil"; did you mean "file"?`},
		{head + "fix:\n  - service: {name: a, start: disable}\n", `p.yaml:3:31: unknown start type "disable"; did you mean "disabled"?`},
		{head + "reboot: if-fix\n", `p.yaml:2:9: unknown reboot policy "if-fix"`},
		{head + "playbook: y\n", `p.yaml:2:1: the key "playbook" is already set in line 1`},
		{head + "detect:\n\t- file: x\n", `the line is indented with a tab`},
		{head + "detect:\n  - file: \"C:\\Windows\"\n", `single quotes`},
		{head + "detect:\n  - file: \"C:\\new\"\n", `control character`},
		{head + "detect: &a []\nfix: *a\n", `p.yaml:2:9: anchors and aliases`},
		{head + "summary: !!binary x\n", `p.yaml:2:10: tags`},
		{head + "detect:\n  - file: C:/Windows/a\n", `write 'C:\Windows\a'`},
		{head + "detect:\n  - file: 'C:\\Windows\\..\\a'\n", `climbs with ".."`},
		{head + "detect:\n  - file: 'C:\\W*\\a'\n", `wildcard in a folder`},
		{head + "detect:\n  - file: '\\\\server\\share\\a'\n", `network or device path`},
		{head + "detect:\n  - file: 'a.sys'\n", `not a full path`},
		{head + "detect:\n  - file: 'C:\\a\\'\n", `ends with a backslash`},
		{head + "fix:\n  - put: {file: 'C:\\a*', content: x}\n", `name the one file`},
		{head + "detect:\n  - {file: 'C:\\a', header: AAA}\n", `even number`},
		{head + "detect:\n  - {file: 'C:\\a', header: xyz}\n", `hexadecimal`},
		{head + "detect:\n  - {file: 'C:\\a', modified: {after: 2024-07-19}}\n", `a time with its zone`},
		{head + "detect:\n  - {file: 'C:\\a', modified: {after: 2024-07-19T05:00:00Z, before: 2024-07-19T04:00:00Z}}\n", `no file can match`},
		{head + "detect:\n  - {registry: 'HKCU\\a', present: true}\n", `HKEY_CURRENT_USER`},
		{head + "detect:\n  - {registry: 'HKLM\\a'}\n", `compares nothing`},
		{head + "detect:\n  - {registry: 'HKLM\\a', equals: true}\n", `write 1 or 0`},
		{head + "detect:\n  - {file: 'C:\\a', service: b}\n", `either "file" or "service"`},
		{head + "detect:\n  - os: {min-build: x}\n", `a build number such as 26100, or 26100.7623`},
		{head + "detect:\n  - file: 'C:\\a'\n    version: 1.2.3\n", `four numbers with dots, such as 10.0.26100.1, not "1.2.3"`},
		{head + "detect:\n  - file: 'C:\\a'\n    version: {min: 1.0.3.1, max: 1.0.2.65535}\n", `min 1.0.3.1 is above max 1.0.2.65535`},
		{head + "detect:\n  - os: {min-build: 26100.0}\n", `not "26100.0"`},
		{head + "detect:\n  - os: {min-build: 26100.7, max-build: 26100.6}\n", `26100.7 is above max-build 26100.6`},
		{head + "fix:\n  - registry: {key: 'HKLM\\SOFTWARE\\A', name: x, type: binary, value: '00F'}\n", `is hexadecimal, two digits a byte`},
		{head + "fix:\n  - script: {shell: bash, body: x}\n", `unknown shell "bash"`},
		{head + "fix:\n  - script: {shell: cmd, body: x, timeout: 0}\n", `from 1 to`},
		{head + "fix:\n  - put: {file: 'C:\\a', base64: '%%'}\n", `base64 is broken`},
		{head + "fix:\n  - put: {file: 'C:\\a', content: x, sha256: " + strings.Repeat("00", 32) + "}\n", `not that of the content`},
		{head + "fix:\n  - bcd: {set: safeboot, value: netwrk}\n", `did you mean "network"`},
		{head + "fix:\n  - quarantine: 'C:\\a'\n", `must be keys with values`},
		{head + "fix: {}\n", `must be a list`},
		{head + "summary:\n", `summary has no value`},
		{head + "summary: ${x}\n", `the playbook has no params`},
		{head + "params: {service: {pattern: a}}\nsummary: ${servce}\n", `unknown parameter "servce"; did you mean "service"?`},
		{head + "params: {a: {pattern: '('}}\n", `no regular expression`},
		{head + "params: {a: {pattern: b, default: c}}\n", `does not match the pattern`},
		{head + "---\nplaybook: y\n", `p.yaml:2:1: a second document`},
		{"", `the file is empty`},
		{"# only a comment\n", `the file is empty`},
		{"\xff\xfep\x00", `UTF-16`},
		{"playbook: \xfc\n", `p.yaml:1:11: the file is not UTF-8`},
		{"just text", `must be keys with values`},
		{strings.Repeat("[", 100), `p.yaml:`},
		{strings.Repeat("a", maxFile+1), `at most`},
		{head + "detect: [" + strings.Repeat("{bcd: a, present: true},", 65) + "]\n", `65 entries`},
	} {
		_, err := Parse("p.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.120q\n got  %v\n want %s", c.text, err, c.want)
			continue
		}
		for _, e := range asErrors(t, err) {
			if !strings.HasPrefix(e.Error(), "p.yaml:") {
				t.Errorf("%q: error without the file: %v", c.text, e)
			}
		}
	}
}

func TestAllErrorsAreShownInOrder(t *testing.T) {
	_, err := Parse("p.yaml", []byte("verfy: []\nplaybook: X\nfix:\n  - bcd: {}\n  - put: {}\n"))
	all := asErrors(t, err)
	var lines []int
	for _, e := range all {
		lines = append(lines, e.Line)
	}
	if len(all) < 5 || lines[0] != 1 || lines[1] != 2 || lines[2] != 4 || lines[3] != 5 {
		t.Errorf("got %v\n%v", lines, err)
	}
	_, err = Parse("p.yaml", []byte(strings.Repeat("x: 1\ny: 2\n", 500)))
	if all := asErrors(t, err); len(all) != maxErrors+1 || !strings.Contains(all[maxErrors].Message, "errors besides") {
		t.Errorf("errors are not bounded: %d", len(all))
	}
}

func TestNormalForm(t *testing.T) {
	s, err := Parse("p.yaml", []byte(`playbook: x
detect:
  - registry: HKLM\SOFTWARE\A
    equals: 0x10
  - {file: 'C:\a', header: aa bb, sha256: `+strings.Repeat("ab", 32)+`}
fix:
  - put: {file: 'C:\b', base64: aGk=}
`))
	if err != nil {
		t.Fatal(err)
	}
	d, p := s.Playbook.Detect, s.Playbook.Fix[0].Put
	if d[0].Registry != `HKEY_LOCAL_MACHINE\SOFTWARE\A` || d[0].Equals != int64(16) || d[1].Header != "AABB" || d[1].SHA256 != strings.Repeat("AB", 32) {
		t.Errorf("%+v", d)
	}
	if p.Hex != "6869" || p.SHA256 != "8F434346648F6B96DF89DDA901C5176B10A6D83961DD3C1AC88B59B2DC327AA4" {
		t.Errorf("%+v", p)
	}
}

func TestDigestIsOfTheMeaning(t *testing.T) {
	a, _ := Parse("a", []byte("playbook: x\nsummary: hi\ndetect: [{bcd: safeboot, present: true}]\n"))
	b, _ := Parse("b", []byte("# c\n{detect: [ {present: true,   bcd: 'safeboot'} ], \"summary\": hi, playbook: x}\n"))
	c, _ := Parse("c", []byte("playbook: x\nsummary: hi\ndetect: [{bcd: safeboot, present: false}]\n"))
	if a.Digest != b.Digest || a.Digest == c.Digest || len(a.Digest) != 64 {
		t.Errorf("%s\n%s\n%s", a.Digest, b.Digest, c.Digest)
	}
	if p, _ := a.Bind(nil); Digest(p) != a.Digest {
		t.Error("the digest of a bound playbook without parameters differs")
	}
	x := "playbook: x\nparams: {s: {pattern: 'true|false', default: 'true'}, r: {pattern: 'true|false', default: 'true'}}\nfix: [{service: {name: a, start: auto, stop: '${%}'}}]\n"
	d, _ := Parse("d", []byte(strings.Replace(x, "%", "s", 1)))
	e, _ := Parse("e", []byte(strings.Replace(x, "%", "r", 1)))
	if d.Digest == e.Digest {
		t.Error("another parameter in a place that is not text does not change the digest")
	}
}

func TestBind(t *testing.T) {
	s, err := Parse("p.yaml", []byte(`playbook: x
params:
  name: {pattern: '[A-Za-z0-9._*\\-]+', summary: the file's name}
  dot: {pattern: '.*', default: d}
  count: {pattern: '[0-9]+', default: '5'}
fix:
  - quarantine: {file: 'C:\x\${name}'}
  - put: {file: 'C:\x\${dot}', content: '${dot}'}
  - registry: {key: 'HKLM\SOFTWARE\${dot}', name: a, type: dword, value: '${count}'}
  - script: {shell: powershell, body: '${dot}', args: ['${dot}', '$${dot}'], timeout: '${count}'}
`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Bind(map[string]string{"name": "a*.sys"})
	if err != nil {
		t.Fatal(err)
	}
	f := p.Fix
	if f[0].Quarantine.File != `C:\x\a*.sys` || f[1].Put.Hex != "247B646F747D" || f[1].Put.File != `C:\x\d` || f[2].Registry.Value != int64(5) ||
		f[3].Script.Body != "${dot}" || f[3].Script.Args[0] != "d" || f[3].Script.Args[1] != "${dot}" || f[3].Script.Timeout != 5 || p.Params != nil {
		t.Errorf("%+v %+v %+v %+v", f[0].Quarantine, f[1].Put, f[2].Registry, f[3].Script)
	}
	for _, c := range []struct {
		set  map[string]string
		want string
	}{
		{nil, `parameter "name" is missing (the file's name): --set name=VALUE`},
		{map[string]string{"nam": "x", "name": "y"}, `unknown parameter "nam"; did you mean "name"?`},
		{map[string]string{"name": "a/b"}, `does not match the pattern`},
		{map[string]string{"name": `..\..\b`}, `climbs`},
		{map[string]string{"name": "a", "dot": "*"}, `does not name this character`},
		{map[string]string{"name": "a", "dot": `b\c`}, `does not name this character`},
		{map[string]string{"name": "a", "dot": "b\nc"}, `does not match the pattern`},
		{map[string]string{"name": "a", "dot": "b\tc"}, `control character`},
		{map[string]string{"name": "a", "count": "99999999999"}, `dword`},
	} {
		if _, err := s.Bind(c.set); err == nil || !strings.Contains(err.Error(), c.want) {
			if c.want == "does not match the pattern" && err != nil && strings.Contains(err.Error(), "control character") {
				continue
			}
			t.Errorf("%v: got %v, want %s", c.set, err, c.want)
		}
	}
	value, err := s.Bind(map[string]string{"name": "a", "dot": "x', detect, [], y, '"})
	if err != nil || len(value.Fix) != 4 || value.Fix[3].Script.Args[0] != "x', detect, [], y, '" {
		t.Errorf("a value is not mere data: %+v %v", value, err)
	}
	if _, err := mustBuiltin(t, "safeboot-off").Bind(map[string]string{"a": "b"}); err == nil || !strings.Contains(err.Error(), "has no parameters") {
		t.Errorf("got %v", err)
	}
}

func TestVitalDriverCannotComeByParameter(t *testing.T) {
	for _, name := range []string{"disk", "StorNVMe", "NTFS", "fvevol"} {
		_, err := mustBuiltin(t, "disable-driver").Bind(map[string]string{"driver": name})
		if err == nil || !strings.Contains(err.Error(), "Windows does not start without it") || len(hint.Of(err)) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := mustBuiltin(t, "disable-service").Bind(map[string]string{"service": "RpcSs"}); err == nil {
		t.Error("RpcSs can be disabled by parameter")
	}
	if _, err := mustBuiltin(t, "disable-service").Bind(map[string]string{"service": "x", "stop": "yes"}); err == nil {
		t.Error("stop=yes is accepted")
	}
}

// Hostile files of the largest size end in an error; what they cost is bounded by the size of the file.
func TestHostileFilesAreRefused(t *testing.T) {
	fill := func(part string) string { return strings.Repeat(part, (maxFile-64)/len(part)) }
	for name, text := range map[string]string{
		"deep flow":    fill("["),
		"deep mapping": fill("{a: "),
		"deep block":   fill("- "),
		"wide list":    "playbook: x\ndetect:\n" + fill("- a\n"),
		"wide keys":    fill("a: b\n"),
		"alias bomb":   "a: &a [x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n" + fill("d: [*c,*c,*c]\n"),
		"documents":    fill("---\n"),
		"long scalar":  "playbook: x\nsummary: " + fill("a"),
		"long key":     fill("a") + ": x",
		"templates":    "playbook: x\nparams: {a: {pattern: x}}\nsummary: '" + fill("${b}") + "'",
	} {
		_, err := Parse("p.yaml", []byte(text))
		if err == nil {
			t.Errorf("%s is accepted", name)
		} else if len(err.Error()) > 20_000 {
			t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
		}
	}
}
