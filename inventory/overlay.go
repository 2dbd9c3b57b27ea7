package inventory

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Case is what is known of a machine beyond its sources: where it stands in an incident. The words are those of
// [CaseVerdicts], [CaseRoutes], [CaseKeys] and [CaseSteps].
type Case struct {
	Incident string    `json:"incident"`
	Verdict  string    `json:"verdict"`
	Because  string    `json:"because"`
	Since    time.Time `json:"since,omitzero"`
	Route    string    `json:"route"`
	RouteWhy string    `json:"route_why"`
	Keys     string    `json:"keys"`
	Next     string    `json:"next"`
	NextWhy  string    `json:"next_why"`
	Out      string    `json:"out,omitempty"` // why the machine does not count
	Health   Health    `json:"-"`

	Said       Health `json:"-"` // of the sources, which Health stands over
	SaidReason string `json:"-"`
}

// Overlay lays over machines what their sources do not know. It is called by many goroutines at once and changes nothing.
type Overlay interface {
	// Case returns the case of a machine; nil where it has none and stays as its sources have it.
	Case(m *Machine) *Case
}

// Take gives the machine its case; nil leaves it as it is.
func (m *Machine) Take(c *Case) {
	if c == nil {
		return
	}
	c.Said, c.SaidReason = m.Health, m.HealthReason
	m.Case, m.Health, m.HealthReason = c, c.Health, c.Because
}

// The words of a case's fields.
var (
	caseVerdicts = []string{"affected", "undone", "suspect", "unknown", "fixed", "clean"}
	caseRoutes   = []string{"winrm", "smb", "azure-run", "intune-run", "azure-repair", "medium", "hand"}
	caseKeys     = []string{"held", "known", "several", "denied", "wrong", "none"}
	caseSteps    = []string{"resume", "fix", "retry", "probe", "key", "medium", "rotate", "hand", "wait", "none"}
)

// CaseVerdicts are the values of case.verdict.
func CaseVerdicts() []string { return slices.Clone(caseVerdicts) }

// CaseRoutes are the values of case.route.
func CaseRoutes() []string { return slices.Clone(caseRoutes) }

// CaseKeys are the values of case.keys.
func CaseKeys() []string { return slices.Clone(caseKeys) }

// CaseSteps are the values of case.next.
func CaseSteps() []string { return slices.Clone(caseSteps) }

// caseEnv is a case as an expression sees it.
type caseEnv struct {
	Incident string    `expr:"incident"`
	Verdict  string    `expr:"verdict"`
	Since    time.Time `expr:"since"`
	Route    string    `expr:"route"`
	Keys     string    `expr:"keys"`
	Next     string    `expr:"next"`
	Out      string    `expr:"out"`
}

func (e *env) lay(c *Case) {
	if c == nil {
		return
	}
	e.Health, e.HealthReason = string(c.Health), c.Because
	e.Case = caseEnv{c.Incident, c.Verdict, c.Since, c.Route, c.Keys, c.Next, c.Out}
}

// UsesCases reports whether the selector asks for health or for a field of the case, so that it needs an [Overlay].
func (s Selector) UsesCases() (health, cases bool) { return s.health, s.cases }

// noOverlay says that there is no overlay where one is needed.
func (s Selector) noOverlay() error {
	if !s.cases {
		return nil
	}
	return hint.Mistake(fmt.Errorf("selector %q: %w", clip(s.text), errors.New("case.* is known in an incident only, and none is open")),
		"the first run of a cure opens one, or do it with `fleetmend incident open --playbook NAME`")
}
