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
		line := actionKind(a.Kind()).describe(a)
		if why := actionKind(a.Kind()).permanent(a); why != "" {
			line += " This cannot be undone: " + why + "."
		}
		if a.Optional {
			line += " Where this fails, the fix goes on."
		}
		lines = append(lines, line)
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
		parts[i] = conditionKind(c.Kind()).describe(c)
	}
	return strings.Join(parts, ", and ")
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

func fileTestText(t FileTest) string {
	var parts []string
	if t.Header != "" {
		parts = append(parts, "that begins with the bytes "+clip(t.Header))
	}
	if t.SHA256 != "" {
		parts = append(parts, "with the SHA-256 "+t.SHA256)
	}
	if v := t.Version; v != nil {
		switch {
		case v.Min == v.Max:
			parts = append(parts, "of the version "+v.Min)
		case v.Max == "":
			parts = append(parts, "of the version "+v.Min+" or later")
		case v.Min == "":
			parts = append(parts, "of the version "+v.Max+" or earlier")
		default:
			parts = append(parts, "of a version from "+v.Min+" to "+v.Max)
		}
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
		return text + "."
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
