package playbook

import "go.yaml.in/yaml/v4"

// stepKind is one row of the table of actions: everything the language knows of one kind of step. A new kind is a file
// kind_NAME.go with its row here, one in remediate/windows and one in agent.ps1; a test holds the three tables together.
type stepKind struct {
	name     string
	keys     []string // of its YAML form, in the order in which they are shown
	is       func(a Action) bool
	decode   func(f fields, a *Action)
	render   func(o object, a Action)
	describe func(a Action) string
	// permanent says why nothing takes the action back, in words that go on after "cannot be undone:"; "" where undo does.
	permanent func(a Action) string
}

// takenBack are the kinds whose every action undo takes back.
func takenBack(Action) string { return "" }

var stepKinds = []stepKind{quarantineKind, putKind, registryKind, registryKeyKind, serviceKind, driverKind, bcdKind, scriptKind}

// testKind is one row of the table of conditions.
type testKind struct {
	name     string
	keys     []string
	compares string // what it must be compared by; "" where it says enough by itself
	is       func(c Condition) bool
	decode   func(d *decoder, keys map[string]*yaml.Node, path string, c *Condition)
	render   func(o object, c Condition) // its keys, in their order
	describe func(c Condition) string
}

var testKinds = []testKind{fileTestKind, noFileTestKind, registryTestKind, registryKeyTestKind, serviceTestKind, driverTestKind, bcdTestKind, osTestKind, scriptTestKind}

// ActionKinds returns the names of all kinds of actions, as they stand in YAML and on the wire.
func ActionKinds() []string {
	names := make([]string, len(stepKinds))
	for i, k := range stepKinds {
		names[i] = k.name
	}
	return names
}

// ConditionKinds returns the names of all kinds of conditions.
func ConditionKinds() []string {
	names := make([]string, len(testKinds))
	for i, k := range testKinds {
		names[i] = k.name
	}
	return names
}

// Kind returns the name of the action's kind, "" for none.
func (a Action) Kind() string {
	for _, k := range stepKinds {
		if k.is(a) {
			return k.name
		}
	}
	return ""
}

// Kind returns the name of the condition's kind, "" for none.
func (c Condition) Kind() string {
	for _, k := range testKinds {
		if k.is(c) {
			return k.name
		}
	}
	return ""
}

func actionKind(name string) stepKind {
	for _, k := range stepKinds {
		if k.name == name {
			return k
		}
	}
	return stepKind{describe: func(Action) string { return "Does nothing." }, permanent: takenBack}
}

func conditionKind(name string) testKind {
	for _, k := range testKinds {
		if k.name == name {
			return k
		}
	}
	return testKind{render: func(object, Condition) {}, describe: func(Condition) string { return "nothing is asked" }}
}
