//go:build unix

package main

import (
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// before compares the processor time of a look with that of another build of the program, each at a fleet of its own: the fleets run
// what was sent to them, so one build's fleet does not know the other's agent. They take turns, and the sums are compared.
func before(binary, other string, machines, forks, rounds int) error {
	programs := []string{binary, other}
	fleets := make([]*fleet, len(programs))
	more := make([][]string, len(programs))
	for i, program := range programs {
		f, err := serve(program, machines, "--plain")
		if err != nil {
			return err
		}
		defer f.close()
		fleets[i], more[i] = f, []string{"--dry-run"}
		// A program without runners does the work itself in any case.
		help, err := exec.Command(program, "run", "--help").Output()
		if err != nil {
			return fmt.Errorf("%s run --help: %w", program, err)
		}
		if strings.Contains(string(help), "--foreground") {
			more[i] = append(more[i], "--foreground")
		}
	}
	var spent [2]time.Duration
	var seen [2]figures
	for range rounds {
		for i, program := range programs {
			m, counts, err := fleets[i].run(program, forks, more[i]...)
			if err != nil {
				return err
			}
			if n := counts["affected"] + counts["clean"]; n < machines*99/100 {
				return fmt.Errorf("%s: of %d machines only %d were looked at: %v", program, machines, n, counts)
			}
			spent[i] += m.cpu / time.Duration(rounds)
			seen[i] = m
		}
	}
	for i, name := range []string{"this", "other"} {
		fmt.Printf("%-5s program          %d machines looked at %d times: %.2f ms CPU, %.1f requests and %.1f KB each, %d MB\n",
			name, machines, rounds, milliseconds(spent[i]), seen[i].requests, seen[i].bytes/1000, seen[i].memory>>20)
	}
	fmt.Printf("ratio before-cpu %.2f program-before budget <= 1\n", float64(spent[0])/float64(spent[1]))
	return nil
}
