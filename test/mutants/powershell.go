package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fleetmend/fleetmend/internal/pwsh"
)

// powershell is agent.ps1; its tests are the cases, in Constrained Language Mode, and a few tests of the package that need more.
type powershell struct {
	lab     laboratory
	covered *coverage
	most    time.Duration // of computing for the cases of one mutant, after which the quick tests decide; 0: all cases, and all tests
}

func (p *powershell) close() { p.lab.close() }

var errNoPowerShell = errors.New("no PowerShell here")

const agentFile = "remediate/agent/agent.ps1"

func (p *powershell) points(ctx context.Context) ([]mutant, error) {
	shell, why := pwsh.Path()
	if shell == "" {
		return nil, fmt.Errorf("%w: %s", errNoPowerShell, why)
	}
	out, err := exec.CommandContext(ctx, shell, "-NoLogo", "-NoProfile", "-NonInteractive", "-File", "test/mutants/points.ps1", agentFile).Output()
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", agentFile, err)
	}
	raw, err := os.ReadFile(agentFile)
	if err != nil {
		return nil, err
	}
	var listed []struct {
		Start, End           int
		Kind, Function, With string
	}
	if err := json.Unmarshal(out, &listed); err != nil {
		return nil, fmt.Errorf("parse %s: %w", agentFile, err)
	}
	if utf8.RuneCount(raw) != len(raw) {
		return nil, errors.New(agentFile + " is not ASCII: its characters are not its bytes")
	}
	var all []mutant
	for _, p := range listed {
		all = append(all, mutant{Package: "agent", File: agentFile, Function: p.Function, Kind: p.Kind, Text: string(raw[p.Start:p.End]), With: p.With, line: lineAt(raw, p.Start), start: p.Start, end: p.End})
	}
	return name(all), nil
}

// try runs one case or test, or all cases that come by the mutant and then the tests of the package.
func (p *powershell) try(ctx context.Context, m mutant, test string) (verdict, error) {
	text, err := broken(m)
	if err != nil {
		return verdict{}, err
	}
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return verdict{}, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "agent.ps1")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return verdict{}, err
	}
	if test != "" {
		return p.one(ctx, file, test)
	}
	if p.covered == nil {
		if p.covered, err = measure(ctx, &p.lab); err != nil {
			return verdict{}, err
		}
	}
	reaching := p.covered.reaching(m)
	v, err := p.cases(ctx, file, "Constrained", p.within(reaching))
	if err != nil || v.noticed {
		return v, err
	}
	if p.most > 0 {
		v, err = p.tests(ctx, file, quickTests)
		v.alone = len(reaching) == 0
		return v, err
	}
	full := p.covered.elsewhere(m)
	if v, err = p.cases(ctx, file, "Full", full); err != nil || v.noticed {
		return v, err
	}
	v, err = p.tests(ctx, file, agentTests)
	v.alone = len(reaching) == 0 && len(full) == 0
	return v, err
}

// within are the first of the cases, as many as there is time for.
func (p *powershell) within(cases []oneCase) []oneCase {
	if p.most == 0 {
		return cases
	}
	sum := time.Duration(0)
	for i, one := range cases {
		if sum += time.Duration(p.covered.Cases[one.File].Cost) * time.Millisecond; sum > p.most {
			return cases[:max(i, 1)]
		}
	}
	return cases
}

// one runs what a row of the table names: a case, one in Full Language Mode, or a Go test.
func (p *powershell) one(ctx context.Context, file, test string) (verdict, error) {
	name, isFull := strings.CutSuffix(test, inFull)
	if path := caseOf(name); path != "" {
		mode := "Constrained"
		if isFull {
			mode = "Full"
		}
		return p.cases(ctx, file, mode, []oneCase{{path, 60_000}})
	}
	return p.tests(ctx, file, "^"+regexp.QuoteMeta(test)+"$")
}

const (
	inFull = " (Full)"
	// agentTests are the tests that read agent.ps1 and are no cases: of single functions (quickTests), of requests that are ended or cut.
	quickTests = "^(TestRights|TestHalfACharacter|TestArgumentsArriveWhole|TestHowLongALockHolds|TestWhatConstrainedScriptsCannotDo)$"
	agentTests = "^(TestRights|TestHalfACharacter|TestArgumentsArriveWhole|TestHowLongALockHolds|TestWhatConstrainedScriptsCannotDo|" +
		"TestWhatOnlyTheAgentDoes|TestUndoSaysWhatIsOnDisk|TestEndedAnywhere)$"
)

func (p *powershell) cases(ctx context.Context, file, mode string, cases []oneCase) (verdict, error) {
	if len(cases) == 0 {
		return verdict{}, nil
	}
	v, running := verdict{}, ""
	named := func(path string) string {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		if mode == "Full" {
			name += inFull
		}
		return name
	}
	err := p.lab.ask(ctx, request{Agent: file, Mode: mode, Cases: cases}, func(a answer) error {
		running = a.Case
		if a.Ended && a.Problem != "" {
			v = verdict{noticed: true, test: named(a.Case)}
		}
		return nil
	})
	if errors.Is(err, errDied) && running != "" { // whoever it takes along has noticed it
		return verdict{noticed: true, test: named(running)}, nil
	}
	return v, err
}

func (p *powershell) tests(ctx context.Context, file, pattern string) (verdict, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	command := exec.CommandContext(limited, "go", "test", "-count=1", "-failfast", "-run", pattern, "./"+filepath.Dir(agentFile))
	command.Env = append(os.Environ(), "FLEETMEND_AGENT="+file)
	out, err := command.CombinedOutput()
	if limited.Err() != nil && ctx.Err() == nil {
		return verdict{noticed: true, test: "(time)"}, nil
	}
	return judge(ctx, out, err)
}
