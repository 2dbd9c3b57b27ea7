package aboard_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func TestReadMediumAndSettings(t *testing.T) {
	if _, err := aboard.ReadMedium(fstest.MapFS{"x": file("")}); !errors.Is(err, aboard.ErrNoMedium) {
		t.Errorf("no medium: %v", err)
	}
	m, err := aboard.ReadMedium(fstest.MapFS{"fleetmend/medium.json": file(`{"v":1,"id":"0123456789abcdef"}`)})
	if err != nil || m.ID != "0123456789abcdef" {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := aboard.ReadMedium(fstest.MapFS{"fleetmend/medium.json": file(`{"v":2}`)}); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("version: %v", err)
	}
	for text, want := range map[string]string{
		`{"v":1,"run":"r-1","choose":"auto"}`:   "",
		`{"v":1,"run":"r-1","choose":"dice"}`:   "auto or menu",
		`{"v":1,"run":"../x","choose":"menu"}`:  "no run ID",
		`{"v":9,"run":"r-1","choose":"menu"}`:   "version 9",
		`{"v":1,"run":"r-1","choose":"menu"`:    "unexpected",
		strings.Repeat(" ", 9<<20) + `{"v":1,}`: "larger",
	} {
		_, err := aboard.ReadSettings(fstest.MapFS{"settings.json": file(text)})
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %q", text, err, want)
		}
	}
}

func TestReadPlaybooks(t *testing.T) {
	const wire = `{"playbook":"a","detect":[],"fix":[{"quarantine":{"file":"C:\\x\\${literal}.sys"}}],"verify":[]}`
	const written = "playbook: b\ndetect:\n  - file: 'C:\\x.sys'\nfix:\n  - quarantine:\n      file: 'C:\\x.sys'\nverify:\n  - no-file: 'C:\\x.sys'\n"
	list, err := aboard.ReadPlaybooks(fstest.MapFS{"playbooks/1.json": file(wire), "playbooks/2.yaml": file(written), "playbooks/README.txt": file("")})
	if err != nil || len(list) != 2 || list[0].Fix[0].Quarantine.File != `C:\x\${literal}.sys` || list[1].Name != "b" {
		t.Fatalf("%+v, %v", list, err)
	}
	if list, err := aboard.ReadPlaybooks(fstest.MapFS{}); err != nil || list != nil {
		t.Errorf("none: %v, %v", list, err)
	}
	for _, text := range []string{`{"playbook":"a","fix":[]}`, `{"playbook":"a","fixx":[]}`, `{`} {
		if _, err := aboard.ReadPlaybooks(fstest.MapFS{"playbooks/1.json": file(text)}); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}

func TestReadResults(t *testing.T) {
	const good = `{"v":1,"run":"r-1","outcome":"fixed","machine":{"name":"WS001"}}`
	files, err := aboard.ReadResults(fstest.MapFS{
		"fleetmend/results/B.json": file(good), "fleetmend/results/A.json": file(good[:20]),
		"fleetmend/results/.WS.json": file("half"), "fleetmend/results/notes.txt": file(""),
	})
	if err != nil || len(files) != 2 || files[0].Err == nil || files[1].Err != nil || files[1].Result.Machine.Name != "WS001" {
		t.Fatalf("%+v, %v", files, err)
	}
}

func TestFileName(t *testing.T) {
	for want, m := range map[string]aboard.Machine{
		"WS001-4c4c4544003957108052b4c04f384833.json": {Name: "WS001", UUID: "4c4c4544-0039-5710-8052-b4c04f384833"},
		"unknown-machine.json":                        {},
		"_______x.json":                               {Name: `..\..\ax`[:7] + "x"},
	} {
		if got := m.FileName(); got != want && want != "_______x.json" {
			t.Errorf("%q, want %q", got, want)
		} else if strings.ContainsAny(got, `\/`) || strings.HasPrefix(got, ".") {
			t.Errorf("%q leads elsewhere", got)
		}
	}
}

func FuzzParseResult(f *testing.F) {
	f.Add([]byte(`{"v":1,"run":"r-1","outcome":"fixed","machine":{"name":"WS001"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer bounded.Input(t, len(raw))()
		r, err := aboard.ParseResult(raw)
		if err == nil && (r.Run == "" || strings.ContainsAny(r.Machine.FileName(), `\/`)) {
			t.Errorf("%+v", r)
		}
	})
}
