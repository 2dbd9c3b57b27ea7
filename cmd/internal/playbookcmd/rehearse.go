package playbookcmd

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/windows"
)

// rehearsed is how one case went.
type rehearsed struct {
	Case     string         `json:"case"`
	OK       bool           `json:"ok"`
	Problems []string       `json:"problems"`
	Answers  []agent.Result `json:"answers"`
}

func newTest(c *command.Context) *cobra.Command {
	var cases []string
	var set map[string]string
	cmd := &cobra.Command{
		Use: "test PLAYBOOK --case CASE.json", Short: "Run a playbook on simulated machines and compare with what a case says",
		Long: `Run a playbook through the interpreter on a machine in memory. A case file says what is on the machine before, which requests
are made (detect, fix, verify, undo), what each must answer, and what must be there afterwards. docs/playbooks-cases.md
describes the form; the cases in remediate/testdata/conformance are examples.

The playbook that stands in the case is left aside: yours is run in its place.`,
		Example: "fleetmend playbook test mine.yaml --case affected.json --case clean.json\nfleetmend playbook test disable-service --set service=BadAgent --case service.json -o json",
		Args:    command.Exactly(1, "a playbook"), ValidArgsFunction: command.Playbooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := find(args[0])
			if err != nil {
				return err
			}
			bound, err := source.Bind(set)
			if err != nil {
				return &hint.MistakeError{Err: err}
			}
			if len(cases) == 0 {
				return command.Usage(fmt.Errorf("no case to test %s with", args[0]), "name one with --case; docs/playbooks-cases.md shows how to write it")
			}
			return rehearse(cmd.Context(), c, bound, cases)
		},
	}
	cmd.Flags().StringArrayVar(&cases, "case", nil, "case file; may be given several times")
	cmd.Flags().StringToStringVar(&set, "set", nil, "name=value for a parameter of the playbook")
	command.Exits(cmd, command.ExitSomeFailed)
	return command.Formats(cmd, terminal.OneFormats...)
}

func rehearse(ctx context.Context, c *command.Context, p playbook.Playbook, files []string) error {
	var all []rehearsed
	failed := 0
	for _, file := range files {
		data, err := textfile.Read(file, 16<<20)
		if err != nil {
			return err
		}
		parsed, err := windows.ParseCase([]byte(data.Content))
		if err != nil {
			return hint.Wrap(fmt.Errorf("%s: %w", file, err), "docs/playbooks-cases.md describes the form of a case")
		}
		parsed.Playbook = p
		problems, answers := windows.Rehearse(ctx, parsed)
		r := rehearsed{strings.TrimSuffix(filepath.Base(file), ".json"), len(problems) == 0, problems, answers}
		if !r.OK {
			failed++
		}
		all = append(all, r)
	}
	err := c.One(all, func(w io.Writer) error {
		for _, r := range all {
			word := "ok  "
			if !r.OK {
				word = "FAIL"
			}
			fmt.Fprintf(w, "%s %s\n", word, r.Case)
			for _, p := range r.Problems {
				fmt.Fprintln(w, "     "+strings.ReplaceAll(p, "\n", "\n     "))
			}
		}
		_, err := fmt.Fprintf(w, "%d passed, %d failed\n", len(all)-failed, failed)
		return err
	})
	if err == nil && failed > 0 {
		err = command.Silently(command.ExitSomeFailed)
	}
	return err
}
