package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// playbooks looks at the built-in playbooks, and at the one that was named: what is wrong with it, and what it needs to be
// given.
func (e *examination) playbooks(context.Context) {
	sources := playbook.Builtins()
	wrong := 0
	for _, s := range sources {
		if !e.lint(s) {
			wrong++
		}
	}
	if wrong == 0 {
		e.ok("playbooks", "%s in order", prose.Counted(len(sources), "built-in one is", "built-in ones are"))
	}
	if e.request.Playbook == "" {
		return
	}
	s, err := playbook.Find(e.request.Playbook)
	if err != nil {
		e.fail("playbook", err)
		return
	}
	if !e.lint(s) {
		return
	}
	p := s.Playbook
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(p.Params)) {
		if p.Params[name].Default == "" {
			missing = append(missing, "--set "+name+"=...")
		}
	}
	if len(missing) > 0 {
		e.warn("playbook", "give it with `fleetmend run "+p.Name+" --set NAME=VALUE`", "%s needs %s", p.Name, strings.Join(missing, " "))
		return
	}
	e.ok("playbook", "%s is in order and needs nothing to be given", p.Name)
}

// lint reports whether a playbook has no error; each is a finding.
func (e *examination) lint(s *playbook.Source) bool {
	right := true
	for _, f := range playbook.Lint(s) {
		if f.Severity == playbook.SeverityError {
			right = false
			e.Findings = append(e.Findings, Finding{"playbook", Fail, fmt.Sprintf("%s: %s", s.Playbook.Name, f.Text), f.Advice})
		}
	}
	return right
}
