package windows

import (
	"fmt"
	"slices"
	"strings"
)

// SetBCD sets an element of the boot entry {default} on this machine: the outside world at work, not a repair. An empty
// value removes it.
func (m *Memory) SetBCD(name, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setBCD(name, value)
}

func (m *Memory) setBCD(name, value string) {
	m.over.bcd = changedElements(m.elements(), name, value)
}

func changedElements(elements []bcdElement, name, value string) []bcdElement {
	elements = slices.Clone(elements)
	at := slices.IndexFunc(elements, func(e bcdElement) bool { return strings.EqualFold(e.name, name) })
	switch {
	case value == "" && at >= 0:
		elements = slices.Delete(elements, at, at+1)
	case value == "":
	case at >= 0:
		elements[at].value = value
	default:
		elements = append(elements, bcdElement{name, value})
	}
	return elements
}

// SetOtherBCD sets an element of another Windows' entry, which from then on is the boot menu's {default}; this Windows is
// {current} alone.
func (m *Memory) SetOtherBCD(name, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over.otherBCD == nil {
		m.over.otherBCD = []bcdElement{}
	}
	m.over.otherBCD = changedElements(m.over.otherBCD, name, value)
}

// OtherBCD returns the elements of that entry by bcdedit's names.
func (m *Memory) OtherBCD() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return elementMap(m.over.otherBCD)
}

func elementMap(elements []bcdElement) map[string]string {
	all := map[string]string{}
	for _, e := range elements {
		all[e.name] = e.value
	}
	return all
}

func (m *Memory) elements() []bcdElement {
	if m.over.bcd != nil {
		return m.over.bcd
	}
	return m.base.bcd
}

// BCD returns the elements of the boot entry of this Windows by bcdedit's names.
func (m *Memory) BCD() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return elementMap(m.elements())
}

// bcdFlags are elements that are yes or no: bcdedit takes on, off and the like, and shows Yes and No.
var bcdFlags = strings.Fields(`testsigning nointegritychecks recoveryenabled debug ems bootlog bootdebug safebootalternateshell quietboot sos
	advancedoptions optionsedit disabledynamictick`)

// bcdedit answers what the agent asks bcdedit.exe, in its words. The entries are {current} and {default}.
func (m *Memory) bcdedit(args []string) (output []string, exit int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(args) < 3 {
		return []string{"The parameter is incorrect."}, 1
	}
	elements, store := m.elements(), &m.over.bcd
	switch args[1] {
	case "{current}":
	case "{default}":
		if m.over.otherBCD != nil {
			elements, store = m.over.otherBCD, &m.over.otherBCD
		}
	default:
		return []string{"The boot configuration data store could not be opened."}, 1
	}
	done := []string{"The operation completed successfully."}
	switch {
	case len(args) == 3 && args[0] == "/enum" && args[2] == "/v":
		output = []string{"", "Windows Boot Loader", "-------------------", "identifier              {11111111-2222-3333-4444-555555555555}"}
		for _, e := range elements {
			output = append(output, fmt.Sprintf("%-23s %s", e.name, e.value))
		}
		return output, 0
	case len(args) == 4 && args[0] == "/set":
		value := args[3]
		if slices.Contains(bcdFlags, strings.ToLower(args[2])) {
			switch strings.ToLower(value) {
			case "on", "yes", "true", "1":
				value = "Yes"
			case "off", "no", "false", "0":
				value = "No"
			default:
				return []string{"The integer data is not valid as specified."}, 1
			}
		}
		*store = changedElements(elements, args[2], value)
		return done, 0
	case len(args) == 3 && args[0] == "/deletevalue":
		if !slices.ContainsFunc(elements, func(e bcdElement) bool { return strings.EqualFold(e.name, args[2]) }) {
			return []string{"An error occurred while attempting to delete the specified data element.", "Element not found."}, 1
		}
		*store = changedElements(elements, args[2], "")
		return done, 0
	}
	return []string{"The parameter is incorrect."}, 1
}

// shutdown schedules a restart: once, then shutdown.exe says 1190.
func (m *Memory) shutdown(args []string) (output []string, exit int) {
	if !slices.Contains(args, "/r") {
		return []string{"The parameter is incorrect.(87)"}, 87
	}
	m.mu.Lock()
	due := m.due
	m.due = true
	m.mu.Unlock()
	if due {
		return []string{"A system shutdown has already been scheduled.(1190)"}, 1190
	}
	if m.OnRestart != nil {
		m.OnRestart()
	}
	return nil, 0
}
