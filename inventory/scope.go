package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Absence is why nobody counts on a machine although the inventory keeps it; empty where it is there to be worked on.
type Absence string

// The absences.
const (
	AbsentGone     Absence = "gone"
	AbsentDisabled Absence = "disabled"
)

// Absence says whether there is anything to count on. Whoever forms a scope that nobody named one by one asks it.
func (m *Machine) Absence() Absence {
	switch {
	case m.Gone:
		return AbsentGone
	case !m.Enabled:
		return AbsentDisabled
	}
	return ""
}

// Words are the reason as it stands in a sentence.
func (a Absence) Words() string {
	switch a {
	case AbsentGone:
		return "no source lists it any more"
	case AbsentDisabled:
		return "disabled in its directory"
	}
	return ""
}

// Called is the name by which the machine is found, in lower case: its FQDN, or its short name where there is no address either. It is
// empty where only an address leads there, which many machines have had.
func (m *Machine) Called() string {
	switch {
	case m.FQDN != "":
		return strings.ToLower(m.FQDN)
	case m.Address == "":
		return strings.ToLower(m.Name)
	}
	return ""
}

// Doubles are the entries that are [Machine.Called] as another: one name leads to one machine, and who asks both asks it twice. Of
// those that are not absent the one that was seen last stands for the machine; the others are given by their IDs, each with a reason.
func Doubles(machines []Machine) map[string]string {
	byName := map[string][]*Machine{}
	for i := range machines {
		if m := &machines[i]; m.Called() != "" && m.Absence() == "" {
			byName[m.Called()] = append(byName[m.Called()], m)
		}
	}
	var out map[string]string
	for name, same := range byName {
		if len(same) < 2 {
			continue
		}
		newest := slices.MaxFunc(same, func(a, b *Machine) int {
			return cmp.Or(a.LastSeen.Compare(b.LastSeen), strings.Compare(a.ID, b.ID))
		})
		for _, m := range same {
			if m.ID != newest.ID {
				if out == nil {
					out = map[string]string{}
				}
				out[m.ID] = fmt.Sprintf("is %s a second time: entry %s of that name was seen later", name, newest.ID)
			}
		}
	}
	return out
}
