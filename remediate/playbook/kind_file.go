package playbook

import (
	"strings"

	"go.yaml.in/yaml/v4"
)

var fileKeys = []string{"header", "sha256", "modified"}

var quarantineKind = stepKind{
	name: "quarantine", keys: append([]string{"file"}, fileKeys...),
	permanent: takenBack,
	is:        func(a Action) bool { return a.Quarantine != nil },
	decode: func(f fields, a *Action) {
		a.Quarantine = &Quarantine{FileTest: f.fileTest(f.keys, f.path)}
		if v := f.need("file"); v != nil {
			a.Quarantine.File = f.filePath(v, f.path+".file", true)
		}
	},
	render: func(o object, a Action) {
		o.text("file", a.Quarantine.File)
		o.fileTest(a.Quarantine.FileTest)
	},
	describe: func(a Action) string {
		what := "Moves the file "
		if strings.ContainsAny(a.Quarantine.File, "*?") {
			what = "Moves every file "
		}
		return what + a.Quarantine.File + fileTestText(a.Quarantine.FileTest) + " into quarantine on the machine."
	},
}

var fileTestKind = testKind{
	name: "file", keys: append([]string{"file"}, fileKeys...),
	is: func(c Condition) bool { return c.File != "" },
	decode: func(d *decoder, keys map[string]*yaml.Node, path string, c *Condition) {
		c.File, c.FileTest = d.filePath(keys["file"], path+".file", true), d.fileTest(keys, path)
	},
	render: func(o object, c Condition) {
		o.text("file", c.File)
		o.fileTest(c.FileTest)
	},
	describe: func(c Condition) string { return "there is a file " + c.File + fileTestText(c.FileTest) },
}

var noFileTestKind = testKind{
	name: "no-file", keys: append([]string{"no-file"}, fileKeys...),
	is: func(c Condition) bool { return c.NoFile != "" },
	decode: func(d *decoder, keys map[string]*yaml.Node, path string, c *Condition) {
		c.NoFile, c.FileTest = d.filePath(keys["no-file"], path+".no-file", true), d.fileTest(keys, path)
	},
	render: func(o object, c Condition) {
		o.text("no-file", c.NoFile)
		o.fileTest(c.FileTest)
	},
	describe: func(c Condition) string { return "there is no file " + c.NoFile + fileTestText(c.FileTest) },
}
