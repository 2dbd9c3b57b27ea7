package playbook

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

var osKeys = []string{"min-build", "max-build"}

var osTestKind = testKind{
	name: "os", keys: []string{"os"},
	is: func(c Condition) bool { return c.OS != nil },
	decode: func(d *decoder, keys map[string]*yaml.Node, path string, c *Condition) {
		c.OS = d.osTest(keys["os"], path+".os")
	},
	render: func(o object, c Condition) {
		os := o.object(o.path + ".os")
		os.build("min-build", c.OS.MinBuild, c.OS.MinRevision)
		os.build("max-build", c.OS.MaxBuild, c.OS.MaxRevision)
		o.add("os", os.node)
	},
	describe: func(c Condition) string { return osText(*c.OS) },
}

func (d *decoder) osTest(n *yaml.Node, path string) *OSTest {
	keys := d.mapping(n, path, "os", osKeys)
	if keys == nil {
		return nil
	}
	var t OSTest
	if v := keys["min-build"]; v != nil {
		t.MinBuild, t.MinRevision = d.build(v, path+".min-build")
	}
	if v := keys["max-build"]; v != nil {
		t.MaxBuild, t.MaxRevision = d.build(v, path+".max-build")
	}
	if len(keys) == 0 {
		d.fail(n, "os is empty; add \"min-build\", \"max-build\" or both")
	} else if t.MinBuild > 0 && t.MaxBuild > 0 && above(t) {
		d.fail(n, "min-build %s is above max-build %s, so no machine can match", buildText(t.MinBuild, t.MinRevision), buildText(t.MaxBuild, t.MaxRevision))
	}
	return &t
}

// above: a max-build without a revision includes them all.
func above(t OSTest) bool {
	return cmp.Compare(t.MinBuild, t.MaxBuild) > 0 || t.MinBuild == t.MaxBuild && t.MaxRevision > 0 && t.MinRevision > t.MaxRevision
}

// build reads a build with or without the revision that an update gives it, as winver shows it: 26100 or 26100.7623. It is
// read as written: as a number 26100.10 would be 26100.1.
func (d *decoder) build(n *yaml.Node, path string) (build, revision int) {
	s, ok := d.typed(n, path)
	if !ok {
		return 0, 0
	}
	first, second, has := strings.Cut(s, ".")
	build, err := strconv.Atoi(first)
	if has && err == nil {
		revision, err = strconv.Atoi(second)
	}
	if err != nil || build < 1 || build > 999999 || has && (revision < 1 || revision > 999999) || strings.ContainsAny(s, "+-_") {
		d.fail(n, "%s must be a build number such as 26100, or 26100.7623 with the update's revision, not %q", lastPart(path), clip(s))
		return 0, 0
	}
	return build, revision
}

func (o object) build(key string, build, revision int) {
	var n *yaml.Node
	if build > 0 {
		n = &yaml.Node{Kind: yaml.ScalarNode, Value: buildText(build, revision)}
	}
	o.add(key, n)
}

func buildText(build, revision int) string {
	if revision == 0 {
		return strconv.Itoa(build)
	}
	return fmt.Sprintf("%d.%d", build, revision)
}

func osText(t OSTest) string {
	least, most := buildText(t.MinBuild, t.MinRevision), buildText(t.MaxBuild, t.MaxRevision)
	switch {
	case t.MinBuild > 0 && t.MaxBuild > 0 && least == most && t.MinRevision > 0:
		return "the build of Windows is " + least
	case t.MinBuild > 0 && t.MaxBuild > 0:
		return fmt.Sprintf("the build of Windows is from %s to %s", least, most)
	case t.MinBuild > 0:
		return fmt.Sprintf("the build of Windows is %s or later", least)
	}
	return fmt.Sprintf("the build of Windows is %s or earlier", most)
}
