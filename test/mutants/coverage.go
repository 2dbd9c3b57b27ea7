package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// coverage says which cases reach which statement of agent.ps1, and what each costs. It is derived: kept in bin, made anew for the cases that
// are new or reach a function that has changed since, and for all of them when their machine is another.
type coverage struct {
	Of    string              // the runner and the machine, as a hash
	Cases map[string]*covered // by file
	marks []mark
	sums  map[string]string // of the functions; "" is what stands outside of them
}

type covered struct {
	Sum     string // of the file
	Cost    int
	Reached map[string]reached // by function
}

type reached struct {
	Sum string // of the function
	Met []int  // which of its statements
}

// mark is a statement of the agent.
type mark struct {
	start, end int
	function   string // it is in
	number     int    // in that function
	defines    string // the function that it is
}

const coverageFile = "bin/mutants-agent.json"

// caseFolders are where the cases of the agent lie.
var caseFolders = []string{"remediate/testdata/conformance", "remediate/agent/testdata/agent-only"}

func caseFiles() ([]string, error) {
	var all []string
	for _, folder := range caseFolders {
		found, err := filepath.Glob(filepath.Join(folder, "*.json"))
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// caseOf is the file of a case by its name; "" where there is none.
func caseOf(name string) string {
	for _, folder := range caseFolders {
		file := filepath.Join(folder, name+".json")
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return ""
}

func sumOf(files ...string) (string, error) {
	h := sha256.New()
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n", file, len(raw))
		h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// allOfIt are the files beside the agent on which it depends how far a case gets.
func allOfIt() ([]string, error) {
	folder := filepath.Dir(agentFile)
	all := []string{filepath.Join(folder, "bootstrap.ps1"), filepath.Join(folder, "kept.ps1")}
	err := filepath.WalkDir(filepath.Join(folder, "conformance"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".go") && filepath.Base(path) != "compare.ps1" {
			all = append(all, path)
		}
		return err
	})
	return all, err
}

// measure reads what is known and runs the cases of which nothing is.
func measure(ctx context.Context, lab *laboratory) (*coverage, error) {
	files, err := allOfIt()
	if err != nil {
		return nil, err
	}
	of, err := sumOf(files...)
	if err != nil {
		return nil, err
	}
	c := &coverage{}
	if raw, err := os.ReadFile(coverageFile); err != nil || json.Unmarshal(raw, c) != nil || c.Of != of {
		c = &coverage{Of: of, Cases: map[string]*covered{}}
	}
	if err := c.read(ctx, lab); err != nil {
		return nil, err
	}
	cases, err := caseFiles()
	if err != nil {
		return nil, err
	}
	r := request{Agent: agentFile, Mode: "Constrained", Marks: true}
	sums := map[string]string{}
	for _, file := range cases {
		if sums[file], err = sumOf(file); err != nil {
			return nil, err
		}
		if !c.stands(file, sums[file]) {
			r.Cases = append(r.Cases, oneCase{file, 600_000})
			delete(c.Cases, file)
		}
	}
	maps.DeleteFunc(c.Cases, func(file string, _ *covered) bool { return sums[file] == "" })
	if len(r.Cases) == 0 {
		return c, nil
	}
	fmt.Printf("agent: seeing which statements %d of %d cases reach\n", len(r.Cases), len(cases))
	err = lab.ask(ctx, r, func(a answer) error {
		switch {
		case a.Ended && a.Problem != "":
			return fmt.Errorf("%s fails without a mutant: %s", a.Case, a.Problem)
		case a.Ended:
			c.Cases[a.Case] = c.cover(sums[a.Case], a)
			if len(c.Cases)%16 == 0 {
				return c.write()
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("see which statements the cases reach: %w", err)
	}
	return c, c.write()
}

// read finds the statements and functions of the agent as it is now.
func (c *coverage) read(ctx context.Context, lab *laboratory) error {
	raw, err := os.ReadFile(agentFile)
	if err != nil {
		return err
	}
	err = lab.ask(ctx, request{Agent: agentFile, Mode: "Constrained", Marks: true}, func(a answer) error {
		for i, place := range a.Marks {
			c.marks = append(c.marks, mark{start: place[0], end: place[1], defines: a.Functions[i]})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", agentFile, err)
	}
	c.sums = map[string]string{}
	var outside []byte
	last := 0
	for _, f := range c.marks {
		if f.defines == "" {
			continue
		}
		sum := sha256.Sum256(raw[f.start:f.end])
		c.sums[f.defines] = hex.EncodeToString(sum[:8])
		outside, last = append(outside, raw[last:f.start]...), f.end
	}
	sum := sha256.Sum256(comments.ReplaceAll(append(outside, raw[last:]...), nil))
	c.sums[""] = hex.EncodeToString(sum[:8])
	count := map[string]int{}
	for i := range c.marks {
		m := &c.marks[i]
		for _, f := range c.marks {
			if f.defines != "" && m.defines == "" && f.start <= m.start && m.end <= f.end {
				m.function = f.defines
			}
		}
		m.number = count[m.function]
		count[m.function]++
	}
	return nil
}

var comments = regexp.MustCompile(`(?m)^\s*(#.*)?\n`)

// stands reports whether what is known of a case holds: it is the same, and so is every function that it reaches.
func (c *coverage) stands(file, sum string) bool {
	known := c.Cases[file]
	if known == nil || known.Sum != sum {
		return false
	}
	for function, r := range known.Reached {
		if c.sums[function] != r.Sum {
			return false
		}
	}
	return true
}

func (c *coverage) cover(sum string, a answer) *covered {
	one := &covered{Sum: sum, Cost: a.Cost, Reached: map[string]reached{}}
	for _, i := range a.Met {
		m := c.marks[i]
		r := one.Reached[m.function]
		one.Reached[m.function] = reached{c.sums[m.function], append(r.Met, m.number)}
	}
	return one
}

func (c *coverage) write() error {
	raw, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(coverageFile), 0o750); err != nil {
		return err
	}
	return os.WriteFile(coverageFile, raw, 0o600)
}

// reaching are the cases that come by a mutant: those that reach the innermost statement around it.
func (c *coverage) reaching(m mutant) []oneCase {
	best := -1
	for i, one := range c.marks {
		if one.start <= m.start && m.end <= one.end && (best < 0 || one.end-one.start < c.marks[best].end-c.marks[best].start) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	return c.meeting(c.marks[best])
}

// elsewhere are the cases that reach the function of a mutant, where no case reaches all of it: in Full Language Mode they may.
func (c *coverage) elsewhere(m mutant) []oneCase {
	var inside []mark
	missed := false
	for _, one := range c.marks {
		if m.Function != "" && one.function == m.Function {
			inside = append(inside, one)
			missed = missed || len(c.meeting(one)) == 0
		}
	}
	if !missed {
		return nil
	}
	return c.meeting(inside...)
}

func (c *coverage) meeting(marks ...mark) []oneCase {
	var all []oneCase
	for file, one := range c.Cases {
		if slices.ContainsFunc(marks, func(m mark) bool { return slices.Contains(one.Reached[m.function].Met, m.number) }) {
			all = append(all, oneCase{file, 20_000 + 10*one.Cost})
		}
	}
	slices.SortFunc(all, func(a, b oneCase) int { return cmp.Compare(a.File, b.File) })
	return c.spread(all)
}

// spread puts first what reaches most that none before it has reached, for what it costs: cases that go the same way tell the same of a
// mutant, and one that hardly any of them notices is noticed sooner by one that goes another way.
func (c *coverage) spread(all []oneCase) []oneCase {
	type place struct {
		function string
		number   int
	}
	numbers := map[place]int{}
	reached := map[string][]int{}
	for _, one := range all {
		for function, r := range c.Cases[one.File].Reached {
			for _, n := range r.Met {
				p := place{function, n}
				if _, known := numbers[p]; !known {
					numbers[p] = len(numbers)
				}
				reached[one.File] = append(reached[one.File], numbers[p])
			}
		}
	}
	seen := make([]bool, len(numbers))
	for i := range all {
		best, most, anything := i, 0.0, false
		for j := i; j < len(all); j++ {
			fresh := 0
			for _, n := range reached[all[j].File] {
				if !seen[n] {
					fresh++
				}
			}
			anything = anything || fresh > 0
			if worth := (float64(fresh) + 0.1) / float64(c.Cases[all[j].File].Cost+50); worth > most {
				best, most = j, worth
			}
		}
		all[i], all[best] = all[best], all[i]
		if !anything { // round again with the rest
			clear(seen)
		}
		for _, n := range reached[all[i].File] {
			seen[n] = true
		}
	}
	return all
}
