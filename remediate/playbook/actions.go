package playbook

import (
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v4"
)

// action reads one step of the fix by the row of its kind.
func (d *decoder) action(n *yaml.Node, path string) (a Action) {
	kind, keys := d.one(n, path, "action", ActionKinds(), func(kind string) []string { return []string{kind, "optional"} })
	if keys == nil || keys[kind] == nil {
		return a
	}
	row, what := actionKind(kind), "action "+kind
	if kind == "script" {
		what = "script"
	}
	f := fields{d, d.mapping(keys[kind], path+"."+kind, what, row.keys), keys[kind], path + "." + kind}
	if f.keys != nil {
		row.decode(f, &a)
	}
	if v := keys["optional"]; v != nil {
		a.Optional = d.boolean(v, path+".optional")
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

func wireSize(p Playbook) int {
	wire, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("playbook without JSON form: %v", err)) // every field is text, number or time
	}
	return len(wire)
}
