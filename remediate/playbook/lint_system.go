package playbook

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The rules about drivers, services, the boot entry, the registry and scripts.

func (l *linter) vitalDriver() {
	for i, a := range l.p.Fix {
		if name, bad := disablesVital(a); bad {
			l.add(SeverityError, fmt.Sprintf("fix[%d]", i), fmt.Sprintf("Windows does not start, or nobody can log on, without %q", name),
				"find the driver or service that really is at fault")
		}
	}
}

func (l *linter) lifeline() {
	for i, a := range l.p.Fix {
		name := disables(a)
		if name == "" && a.Service != nil && a.Service.Stop {
			name = a.Service.Name
		}
		if lifelines[strings.ToLower(name)] {
			l.add(SeverityError, fmt.Sprintf("fix[%d]", i), fmt.Sprintf("without %q the machine may not be reached again, not even for undo", name),
				"leave it running, or repair from a medium")
		}
	}
}

func (l *linter) earlyStart() {
	for i, a := range l.p.Fix {
		early := func(c *StartChange) bool { return c != nil && (c.Start == StartBoot || c.Start == StartSystem) }
		switch {
		case early(a.Service):
			l.add(SeverityError, fmt.Sprintf("fix[%d].service.start", i), fmt.Sprintf("a service cannot start as %q; only drivers can", a.Service.Start),
				"write auto, manual or disabled")
		case early(a.Driver):
			l.add(SeverityWarning, fmt.Sprintf("fix[%d].driver.start", i), fmt.Sprintf("the driver %s would load while Windows starts; if it fails, so does the start", a.Driver.Name),
				"make sure that it was so before the trouble")
		}
	}
}

func (l *linter) boot(visit func(path, element string, set bool)) {
	for i, a := range l.p.Fix {
		if a.BCD != nil {
			visit(fmt.Sprintf("fix[%d].bcd", i), strings.ToLower(a.BCD.Delete+a.BCD.Set), a.BCD.Set != "")
		}
	}
}

func (l *linter) alternateShell() {
	l.boot(func(path, element string, _ bool) {
		if element == "safebootalternateshell" {
			l.add(SeverityError, path, "BitLocker checks safebootalternateshell: every protected machine would ask for its recovery key",
				"use safeboot alone, which BitLocker ignores")
		}
	})
}

func (l *linter) bootElement() {
	l.boot(func(path, element string, _ bool) {
		if element != "safeboot" && element != "safebootalternateshell" && element != "" && !strings.Contains(element, "${") {
			l.add(SeverityWarning, path, fmt.Sprintf("BitLocker may check the boot element %q and ask for the recovery key at the next start", element),
				"try it on one protected machine, and have its key at hand")
		}
	})
}

func (l *linter) safebootStays() {
	summary := strings.ToLower(l.p.Summary)
	if strings.Contains(summary, "undo") || strings.Contains(summary, "safeboot-off") {
		return
	}
	l.boot(func(path, element string, set bool) {
		if element == "safeboot" && set {
			l.add(SeverityError, path, "machines stay in safe mode until someone takes it back", "say in the summary how: undo, or the playbook safeboot-off")
		}
	})
}

func (l *linter) scripts(visit func(path string, s Script, fixes bool)) {
	for i, a := range l.p.Fix {
		if a.Script != nil {
			visit(fmt.Sprintf("fix[%d].script", i), *a.Script, true)
		}
	}
	for name, list := range map[string][]Condition{"detect": l.p.Detect, "verify": l.p.Verify} {
		for i, c := range list {
			if c.Script != nil {
				visit(fmt.Sprintf("%s[%d].script", name, i), *c.Script, false)
			}
		}
	}
}

func (l *linter) scriptTimeout() {
	l.scripts(func(path string, s Script, _ bool) {
		if s.Timeout == 0 && !l.adHoc() && l.source.templates[path+".timeout"] == "" {
			l.add(SeverityWarning, path, "the script has no timeout, so it is ended after 300 seconds", "add \"timeout: SECONDS\"")
		}
	})
}

func (l *linter) scriptUndo() {
	l.scripts(func(path string, s Script, fixes bool) {
		if fixes && s.Undo == "" {
			l.add(SeverityWarning, path, "the script cannot be undone", "add \"undo\" with a script that takes it back, or use the actions that record their own undo")
		}
	})
}

func (l *linter) scriptParameter() {
	declared := slices.Sorted(maps.Keys(l.source.Playbook.Params))
	l.scripts(func(path string, s Script, _ bool) {
		for _, name := range declared {
			if strings.Contains(s.Body+s.Undo, "${"+name+"}") {
				l.add(SeverityError, path+".body", fmt.Sprintf("${%s} is not replaced in a script: a value must not become code", name),
					"pass it with \"args\"; in PowerShell it arrives in $args")
			}
		}
	})
}

func (l *linter) slashInKey() {
	l.keys(func(path, key string) {
		if strings.Contains(key, "/") {
			l.add(SeverityWarning, path, "the key has a slash, which PowerShell's registry paths take for a backslash", "check that this key is reached on a machine")
		}
	})
}
