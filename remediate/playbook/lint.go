package playbook

import (
	"cmp"
	"fmt"
	"slices"
)

// Severity says how bad a finding is.
type Severity string

// The severities. A playbook with errors is not run without being forced.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// RuleFirmware is the rule whose errors are lifted by agreeing to what cannot be undone.
const RuleFirmware = "firmware-write"

// Finding is something in a playbook that is allowed but dangerous, or surely not meant.
type Finding struct {
	File     string   `json:"file"`
	Position          // of the part that it is about
	Severity Severity `json:"severity"`
	Rule     string   `json:"rule"`   // a short name, stable
	Text     string   `json:"text"`   // what is wrong
	Advice   string   `json:"advice"` // what to do about it
}

// Place is file:line:column.
func (f Finding) Place() string {
	if f.Line == 0 {
		return f.File
	}
	return fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column)
}

// String is one line: place, severity, text, advice and rule.
func (f Finding) String() string {
	place := f.Place()
	if place != "" {
		place += ": "
	}
	return fmt.Sprintf("%s%s: %s; %s [%s]", place, f.Severity, f.Text, f.Advice, f.Rule)
}

// Lint looks for what is dangerous in a playbook as written, in the order of the file.
func Lint(s *Source) []Finding { return LintBound(s, s.Playbook) }

// LintBound is [Lint] for a playbook whose parameters are set, as [Source.Bind] returned it: the same rules, applied to
// the values, with the places of the source.
func LintBound(s *Source, p Playbook) []Finding {
	l := &linter{source: s, p: p}
	for _, rule := range rules {
		l.rule = rule.name
		rule.check(l)
	}
	slices.SortStableFunc(l.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return l.found
}

type linter struct {
	source *Source
	p      Playbook
	rule   string
	found  []Finding
}

func (l *linter) add(severity Severity, path, text, advice string) {
	l.found = append(l.found, Finding{l.source.File, l.source.Position(path), severity, l.rule, text, advice})
}

// adHoc reports whether the playbook only wraps a script or command, which has no detect and no verify.
func (l *linter) adHoc() bool { return l.source.root == nil }

// rule is one thing that lint looks for.
type rule struct {
	name  string
	check func(*linter)
}

// rules are all rules of lint, in the order of the documentation.
var rules = []rule{
	{"no-detect", (*linter).noDetect},
	{"no-fix", (*linter).noFix},
	{"no-verify", (*linter).noVerify},
	{"verify-elsewhere", (*linter).verifyElsewhere},
	{"unguarded-wildcard", (*linter).unguardedWildcard},
	{"weak-guard", (*linter).weakGuard},
	{"wide-wildcard", (*linter).wideWildcard},
	{"fix-wider-than-detect", (*linter).fixWiderThanDetect},
	{"default-value", (*linter).defaultValue},
	{"optional-alone", (*linter).optionalAlone},
	{"wrong-path", (*linter).wrongPath},
	{"outside-c", (*linter).outsideC},
	{"user-variable", (*linter).userVariable},
	{"own-folder", (*linter).ownFolder},
	{"vital-driver", (*linter).vitalDriver},
	{"vital-file", (*linter).vitalFile},
	{"system-file", (*linter).systemFile},
	{"lifeline", (*linter).lifeline},
	{"early-start", (*linter).earlyStart},
	{"vital-registry", (*linter).vitalRegistry},
	{RuleFirmware, (*linter).firmwareWrites},
	{"unknown-root", (*linter).unknownRoot},
	{"never-holds", (*linter).neverHolds},
	{"fixed-drive", (*linter).fixedDriveInScript},
	{"harmful-script", (*linter).harmfulScripts},
	{"unreadable-script", (*linter).unreadableScripts},
	{"safeboot-no-way-in", (*linter).noWayIn},
	{"alternate-shell", (*linter).alternateShell},
	{"boot-element", (*linter).bootElement},
	{"safeboot-stays", (*linter).safebootStays},
	{"script-parameter", (*linter).scriptParameter},
	{"script-timeout", (*linter).scriptTimeout},
	{"script-undo", (*linter).scriptUndo},
	{"reboot-always", (*linter).rebootAlways},
	{"long-header", (*linter).longHeader},
	{"slash-in-key", (*linter).slashInKey},
	{"unused-parameter", (*linter).unusedParameter},
	{"wide-pattern", (*linter).widePattern},
}
