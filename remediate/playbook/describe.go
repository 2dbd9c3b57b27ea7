package playbook

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Describe says in plain sentences what a playbook does, for the person who is asked to confirm it. It says everything
// that would be changed; a long script is shown by its first line.
func Describe(p Playbook) []string {
	var lines []string
	if len(p.Detect) == 0 {
		lines = append(lines, "Takes every machine as affected: it looks for nothing first.")
	} else {
		lines = append(lines, "A machine is affected if "+allOf(p.Detect)+".")
	}
	for _, a := range p.Fix {
		lines = append(lines, describeAction(a))
	}
	if len(p.Fix) == 0 {
		lines = append(lines, "Changes nothing.")
	}
	switch {
	case len(p.Fix) == 0:
	case len(p.Verify) == 0:
		lines = append(lines, "Does not check the cure afterwards.")
	default:
		lines = append(lines, "It is cured if afterwards "+allOf(p.Verify)+".")
	}
	switch p.Reboot {
	case RebootIfFixed:
		lines = append(lines, "Restarts the machine if something was changed.")
	case RebootAlways:
		lines = append(lines, "Restarts every affected machine, also when nothing was changed.")
	default:
		lines = append(lines, "Does not restart the machine.")
	}
	return lines
}

func allOf(conditions []Condition) string {
	parts := make([]string, len(conditions))
	for i, c := range conditions {
		parts[i] = describeCondition(c)
	}
	return strings.Join(parts, ", and ")
}

func describeCondition(c Condition) string {
	switch {
	case c.File != "":
		return "there is a file " + c.File + fileTestText(c.FileTest)
	case c.NoFile != "":
		return "there is no file " + c.NoFile + fileTestText(c.FileTest)
	case c.Registry != "":
		return fmt.Sprintf("the registry value %s in %s %s", valueName(c.Name), c.Registry, comparisonText(c))
	case c.Service != "":
		return "the service " + c.Service + " " + comparisonText(c)
	case c.Driver != "":
		return "the driver " + c.Driver + " " + comparisonText(c)
	case c.BCD != "":
		return "the boot element " + c.BCD + " " + comparisonText(c)
	case c.OS != nil:
		return osText(*c.OS)
	case c.Script != nil:
		code := 0
		if c.ExitCode != nil {
			code = *c.ExitCode
		}
		return fmt.Sprintf("the %s script %s ends with %d", c.Script.Shell, firstLine(c.Script.Body), code)
	}
	return "nothing is asked"
}

func comparisonText(c Condition) string {
	var parts []string
	if c.Present != nil {
		parts = append(parts, map[bool]string{true: "is there", false: "is not there"}[*c.Present])
	}
	if c.Equals != nil {
		parts = append(parts, "is "+dataText(c.Equals))
	}
	if c.Start != "" {
		parts = append(parts, "has the start type "+string(c.Start))
	}
	if c.State != "" {
		parts = append(parts, "is "+c.State)
	}
	return strings.Join(parts, " and ")
}

func osText(t OSTest) string {
	switch {
	case t.MinBuild > 0 && t.MaxBuild > 0:
		return fmt.Sprintf("the build of Windows is from %d to %d", t.MinBuild, t.MaxBuild)
	case t.MinBuild > 0:
		return fmt.Sprintf("the build of Windows is %d or later", t.MinBuild)
	}
	return fmt.Sprintf("the build of Windows is %d or earlier", t.MaxBuild)
}

func fileTestText(t FileTest) string {
	var parts []string
	if t.Header != "" {
		parts = append(parts, "that begins with the bytes "+clip(t.Header))
	}
	if t.SHA256 != "" {
		parts = append(parts, "with the SHA-256 "+t.SHA256)
	}
	if w := t.Modified; w != nil {
		text := "last written"
		if !w.After.IsZero() {
			text += " at or after " + w.After.UTC().Format(time.RFC3339)
		}
		if !w.After.IsZero() && !w.Before.IsZero() {
			text += " and"
		}
		if !w.Before.IsZero() {
			text += " before " + w.Before.UTC().Format(time.RFC3339)
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return ""
	}
	return " " + strings.Join(parts, " and ")
}

func describeAction(a Action) string {
	switch {
	case a.Quarantine != nil:
		what := "Moves the file "
		if strings.ContainsAny(a.Quarantine.File, "*?") {
			what = "Moves every file "
		}
		return what + a.Quarantine.File + fileTestText(a.Quarantine.FileTest) + " into quarantine on the machine."
	case a.Put != nil:
		return fmt.Sprintf("Writes the file %s (%d bytes, SHA-256 %s); what was there before is kept.", a.Put.File, len(a.Put.Hex)/2, a.Put.SHA256)
	case a.Registry != nil:
		if a.Registry.Delete {
			return fmt.Sprintf("Deletes the registry value %s in %s.", valueName(a.Registry.Name), a.Registry.Key)
		}
		return fmt.Sprintf("Sets the registry value %s in %s to %s.", valueName(a.Registry.Name), a.Registry.Key, dataText(a.Registry.Value))
	case a.Service != nil:
		stop := ""
		if a.Service.Stop {
			stop = " and stops it"
		}
		return fmt.Sprintf("Sets the service %s to the start type %s%s.", a.Service.Name, a.Service.Start, stop)
	case a.Driver != nil:
		return fmt.Sprintf("Sets the driver %s to the start type %s.", a.Driver.Name, a.Driver.Start)
	case a.BCD != nil:
		if a.BCD.Delete != "" {
			return fmt.Sprintf("Deletes the element %s from the default boot entry, where it is set.", a.BCD.Delete)
		}
		return fmt.Sprintf("Sets the element %s of the default boot entry to %s.", a.BCD.Set, a.BCD.Value)
	case a.Script != nil:
		return runsText(*a.Script)
	}
	return "Does nothing."
}

func runsText(s Script) string {
	text := fmt.Sprintf("Runs a %s script: %s", s.Shell, firstLine(s.Body))
	if len(s.Args) > 0 {
		quoted := make([]string, len(s.Args))
		for i, a := range s.Args {
			quoted[i] = fmt.Sprintf("%q", clip(a))
		}
		text += " with " + strings.Join(quoted, " ")
	}
	if s.Undo == "" {
		return text + ". It cannot be undone."
	}
	return text + ". Its undo is a script, too."
}

func firstLine(body string) string {
	lines := slices.DeleteFunc(strings.Split(body, "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
	if len(lines) == 0 {
		return "(empty)"
	}
	first := clip(strings.TrimSpace(lines[0]))
	if len(lines) > 1 {
		return fmt.Sprintf("%s (and %d more lines)", first, len(lines)-1)
	}
	return first
}

func valueName(name string) string {
	if name == "" {
		return "(default)"
	}
	return name
}

func dataText(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%q", clip(v))
	case []string:
		return fmt.Sprintf("the list %q", v)
	}
	return fmt.Sprint(v)
}
