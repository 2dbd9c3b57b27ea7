package playbook

import (
	"fmt"

	"go.yaml.in/yaml/v4"
)

var registryKeyKind = stepKind{
	name: "registry-key", keys: []string{"key"},
	permanent: takenBack,
	is:        func(a Action) bool { return a.RegistryKey != nil },
	decode: func(f fields, a *Action) {
		a.RegistryKey = &RegistryKey{}
		if v := f.need("key"); v != nil {
			a.RegistryKey.Key = f.registryKey(v, f.path+".key")
		}
	},
	render: func(o object, a Action) { o.text("key", a.RegistryKey.Key) },
	describe: func(a Action) string {
		return fmt.Sprintf("Makes the registry key %s, where it is not there.", a.RegistryKey.Key)
	},
}

var registryKeyTestKind = testKind{
	name: "registry-key", keys: []string{"registry-key", "present"},
	is: func(c Condition) bool { return c.RegistryKey != "" },
	decode: func(d *decoder, keys map[string]*yaml.Node, path string, c *Condition) {
		c.RegistryKey = d.registryKey(keys["registry-key"], path+".registry-key")
	},
	render: func(o object, c Condition) {
		o.text("registry-key", c.RegistryKey)
		o.comparison(c)
	},
	describe: func(c Condition) string {
		if c.Present != nil && !*c.Present {
			return "there is no registry key " + c.RegistryKey
		}
		return "there is a registry key " + c.RegistryKey
	},
}
