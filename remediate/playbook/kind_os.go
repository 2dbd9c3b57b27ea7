package playbook

import "go.yaml.in/yaml/v4"

var osTestKind = testKind{
	name: "os", keys: []string{"os"},
	is: func(c Condition) bool { return c.OS != nil },
	decode: func(d *decoder, keys map[string]*yaml.Node, path string, c *Condition) {
		c.OS = d.osTest(keys["os"], path+".os")
	},
	describe: func(c Condition) string { return osText(*c.OS) },
}
