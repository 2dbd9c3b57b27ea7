package playbook

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

// The rules about the playbook as a whole: what is missing, what does not belong together.

func (l *linter) noDetect() {
	if len(l.p.Detect) == 0 && len(l.p.Fix) > 0 && !l.adHoc() {
		l.add(SeverityError, "detect", "nothing is detected, so every machine counts as affected",
			"add the condition under \"detect\" that tells a broken machine from a healthy one")
	}
}

func (l *linter) noFix() {
	if len(l.p.Fix) == 0 {
		l.add(SeverityWarning, "fix", "nothing is fixed", "add actions under \"fix\", or use the playbook with --dry-run only")
	}
}

func (l *linter) noVerify() {
	if len(l.p.Verify) == 0 && len(l.p.Fix) > 0 && !l.adHoc() {
		l.add(SeverityError, "verify", "nothing is verified, so every machine would count as fixed",
			"add the condition under \"verify\" that holds once the machine is cured")
	}
}

// target is what a condition looks at; empty for those that look at the whole system.
func target(c Condition) string {
	switch {
	case c.Registry != "":
		return strings.ToLower("registry " + c.Registry + " " + c.Name)
	case c.RegistryKey != "":
		return strings.ToLower("registry-key " + c.RegistryKey)
	case c.BCD != "":
		return "bcd " + strings.ToLower(c.BCD)
	}
	return strings.ToLower(map[bool]string{true: "file "}[c.File+c.NoFile != ""] + c.File + c.NoFile + c.Service + c.Driver)
}

// verifyElsewhere is a rule of thumb: something that detect looks at should look different after the fix.
func (l *linter) verifyElsewhere() {
	if len(l.p.Detect) == 0 || len(l.p.Verify) == 0 {
		return
	}
	targets := map[string]bool{}
	for _, c := range l.p.Detect {
		if t := target(c); t != "" {
			targets[t] = true
		}
	}
	negates := len(targets) == 0
	for i, v := range l.p.Verify {
		if v.OS == nil && slices.ContainsFunc(l.p.Detect, func(c Condition) bool { return same(c, v) }) {
			l.add(SeverityError, fmt.Sprintf("verify[%d]", i), "verify demands what detect found, so a fixed machine would still count as broken",
				"verify the opposite, such as \"no-file\" for \"file\"")
			return
		}
		negates = negates || targets[target(v)] || v.Script != nil
	}
	if !negates {
		l.add(SeverityWarning, "verify", "verify looks at nothing that detect looks at", "verify that what was detected is gone")
	}
}

func same(a, b Condition) bool {
	return digest(Playbook{Detect: []Condition{a}}, nil) == digest(Playbook{Detect: []Condition{b}}, nil)
}

func (l *linter) fixWiderThanDetect() {
	for i, a := range l.p.Fix {
		if a.Quarantine == nil {
			continue
		}
		for _, c := range l.p.Detect {
			q, f := a.Quarantine.FileTest, c.FileTest
			wider := f.Header != "" && q.Header == "" || f.SHA256 != "" && q.SHA256 == "" || f.Modified != nil && q.Modified == nil || f.Version != nil && q.Version == nil
			if strings.EqualFold(c.File, a.Quarantine.File) && wider && q.SHA256 == "" {
				l.add(SeverityError, fmt.Sprintf("fix[%d].quarantine", i), "the quarantine takes more files than detect looks for: good ones beside a bad one would go, too",
					"repeat the header, sha256 and modified of detect")
			}
		}
	}
}

// defaultValue is the near miss of somebody who asks for a key: most keys have no default value.
func (l *linter) defaultValue() {
	for name, list := range map[string][]Condition{"detect": l.p.Detect, "verify": l.p.Verify} {
		for i, c := range list {
			if c.Registry != "" && c.Name == "" && c.Present != nil {
				l.add(SeverityWarning, fmt.Sprintf("%s[%d].registry", name, i), "this asks for the key's default value, which most keys do not have",
					"write \"registry-key\" to ask for the key, or \"name\" for the value")
			}
		}
	}
}

func (l *linter) optionalAlone() {
	if len(l.p.Fix) > 0 && !slices.ContainsFunc(l.p.Fix, func(a Action) bool { return !a.Optional }) {
		l.add(SeverityWarning, "fix", "every step is optional, so a machine where all of them fail is not told from others before verify", "leave out \"optional\" where the step is the cure")
	}
}

func (l *linter) rebootAlways() {
	if l.p.Reboot == RebootAlways {
		l.add(SeverityWarning, "reboot", "every affected machine restarts, also when nothing was changed", "write \"if-fixed\" unless that is meant")
	}
}

func (l *linter) unusedParameter() {
	if len(l.p.Params) == 0 {
		return
	}
	text := string(l.text())
	for _, name := range slices.Sorted(maps.Keys(l.p.Params)) {
		if !strings.Contains(text, "${"+name+"}") {
			l.add(SeverityWarning, "params."+name, fmt.Sprintf("the parameter %q is used nowhere", name), "use it as ${"+name+"}, or remove it")
		}
	}
}

// text is all that a parameter can stand in.
func (l *linter) text() []byte {
	p := l.p
	p.Params = nil
	for i := range p.Fix {
		if s := p.Fix[i].Script; s != nil {
			bare := *s
			bare.Body, bare.Undo = "", ""
			p.Fix = slices.Clone(p.Fix)
			p.Fix[i].Script = &bare
		}
	}
	text, err := render(p, l.source.templates)
	if err != nil {
		return nil
	}
	return []byte(strings.ReplaceAll(string(text), "$${", "${")) // no params: Render escapes
}

var anything = lazyregexp.New(`^\^?\(?(?:\?:)?\.[*+]\??\)?\$?$`)

func (l *linter) widePattern() {
	for _, name := range slices.Sorted(maps.Keys(l.p.Params)) {
		if anything.MatchString(l.p.Params[name].Pattern) {
			l.add(SeverityWarning, "params."+name+".pattern", fmt.Sprintf("the parameter %q accepts anything", name),
				"name the characters that a value may have, such as '[A-Za-z0-9_.-]+'")
		}
	}
}
