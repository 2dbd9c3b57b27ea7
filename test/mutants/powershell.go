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
	"unicode/utf8"

	"github.com/fleetmend/fleetmend/internal/pwsh"
)

// powershell is agent.ps1; its tests are the cases, in Constrained Language Mode.
type powershell struct{}

func (powershell) close() {}

var errNoPowerShell = errors.New("no PowerShell here")

const agentFile = "remediate/agent/agent.ps1"

func (powershell) points(ctx context.Context) ([]mutant, error) {
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

var failedCase = regexp.MustCompile(`(?m)^FAIL ([^:\s]+): `)

func (powershell) try(ctx context.Context, m mutant, test string) (verdict, error) {
	shell, why := pwsh.Path()
	if shell == "" {
		return verdict{}, fmt.Errorf("%w: %s", errNoPowerShell, why)
	}
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
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	args := []string{"-NoLogo", "-NoProfile", "-NonInteractive", "-File", "remediate/agent/conformance.ps1", "-LanguageMode", "Constrained", "-First", "-Agent", file}
	if test != "" {
		args = append(args, "-Case", test)
	}
	command := exec.CommandContext(limited, shell, args...)
	command.Env = append(os.Environ(), "TMPDIR="+dir)
	out, err := command.CombinedOutput()
	switch {
	case err == nil:
		return verdict{}, nil
	case ctx.Err() != nil:
		return verdict{}, fmt.Errorf("run the cases: %w", ctx.Err())
	case limited.Err() != nil:
		return verdict{noticed: true, test: "(time)"}, nil
	}
	found := first(failedCase, out)
	if found == "" {
		return verdict{}, fmt.Errorf("run the cases: %w: %.400s", err, out)
	}
	return verdict{noticed: true, test: found}, nil
}
