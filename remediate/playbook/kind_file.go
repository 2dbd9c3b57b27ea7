package playbook

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

var fileKeys = []string{"header", "sha256", "modified", "version"}

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

// versionRange reads the range of a file's version; a single version is a range of itself.
func (d *decoder) versionRange(n *yaml.Node, path string) *VersionRange {
	if n.Kind != yaml.MappingNode {
		v := d.version(n, path)
		return &VersionRange{v, v}
	}
	keys := d.mapping(n, path, "version", versionKeys)
	if keys == nil {
		return nil
	}
	r := &VersionRange{}
	if v := keys["min"]; v != nil {
		r.Min = d.version(v, path+".min")
	}
	if v := keys["max"]; v != nil {
		r.Max = d.version(v, path+".max")
	}
	low, high := versionNumbers(r.Min), versionNumbers(r.Max)
	if len(keys) == 0 {
		d.fail(n, "version is empty; add \"min\", \"max\" or both")
	} else if low != nil && high != nil && slices.Compare(low, high) > 0 {
		d.fail(n, "version: min %s is above max %s, so no file can match", r.Min, r.Max)
	}
	return r
}

func (d *decoder) version(n *yaml.Node, path string) string {
	before := len(d.errs)
	s := d.text(n, path, plainText)
	if len(d.errs) == before && !d.isTemplate(s) && versionNumbers(s) == nil {
		d.fail(n, "%s must be four numbers with dots, such as 10.0.26100.1, not %q", lastPart(path), clip(s))
	}
	return s
}

// versionNumbers are the four numbers of a version; nil where it is none.
func versionNumbers(s string) (all []uint64) {
	for _, part := range strings.Split(s, ".") {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return nil
		}
		all = append(all, n)
	}
	if len(all) != 4 {
		return nil
	}
	return all
}
