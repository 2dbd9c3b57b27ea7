package playbookcmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/windows"
)

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
			bound, err := playbook.FindBound(args[0], set)
			if err != nil {
				return err
			}
			if len(cases) == 0 {
				return command.Usage(fmt.Errorf("no case to test %s with", args[0]), "name one with --case; docs/playbooks-cases.md shows how to write it")
			}
			all, err := windows.RehearseFiles(cmd.Context(), bound, cases)
			if err != nil {
				return err
			}
			if err = c.Page(all, all.Text()); err == nil && all.Failed() > 0 {
				err = command.Silently(command.ExitSomeFailed)
			}
			return err
		},
	}
	cmd.Flags().StringArrayVar(&cases, "case", nil, "case file; may be given several times")
	cmd.Flags().StringToStringVar(&set, "set", nil, "name=value for a parameter of the playbook")
	command.Exits(cmd, command.ExitSomeFailed)
	return command.Formats(cmd, terminal.OneFormats...)
}
