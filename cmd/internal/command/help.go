package command

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/internal/prose"
)

const usageTemplate = `Usage:{{if .Runnable}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{if eq (len .Groups) 0}}

Commands:{{range $cmds}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{else}}{{range $group := .Groups}}

{{.Title}}{{range $cmds}}{{if (and (eq .GroupID $group.ID) (or .IsAvailableCommand (eq .Name "help")))}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Flags of every command:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{with index .Annotations "exit"}}

EXIT STATUS
{{.}}{{end}}
`

// StyleHelp gives every command the same help, with examples before flags and its exit codes at the end.
func StyleHelp(root *cobra.Command) {
	root.SetUsageTemplate(usageTemplate)
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.HasSubCommands() && cmd.RunE == nil { // without it a mistyped verb would print the help and end with 0
			cmd.Args, cmd.RunE = NoArgs, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
		if cmd.Annotations == nil {
			cmd.Annotations = map[string]string{}
		}
		if cmd.Runnable() && !cmd.HasSubCommands() && cmd.Annotations["exit"] == "" {
			Exits(cmd)
		}
		cmd.Example = indent(cmd.Example)
		for _, child := range cmd.Commands() {
			walk(child)
		}
	}
	walk(root)
}

// ExitMeaning says what a code means.
var ExitMeaning = map[int]string{
	ExitOK: "all is well", ExitError: "an error; the message says which", ExitUsage: "the command line is wrong",
	ExitSomeFailed: "some machines failed, could not be reached or are unknown; or some keys or rows were left out",
	ExitAuth:       "an account was not accepted, by a machine or by the directory; a run stopped before it could be locked", ExitGate: "a gate stopped the run", ExitNothing: "nothing to do: no machine matches, no key fits, the run is over",
	ExitChanges: "with --detailed-exitcode: there is something to do", ExitLocked: "the run is at work in another process, or the state folder is being brought to a new version",
	ExitTimeout: "out of time", ExitInterrupted: "interrupted or not confirmed; fleetmend runs resume goes on where a run stopped", ExitPipe: "nobody reads on what is printed",
}

// Exits writes the EXIT STATUS section of cmd: 0, 1 and 2 besides the codes given.
func Exits(cmd *cobra.Command, codes ...int) {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	codes = append([]int{ExitOK, ExitError, ExitUsage}, codes...)
	slices.Sort(codes)
	cmd.Annotations["exit"] = meanings(codes)
}

func meanings(codes []int) string {
	var lines []string
	for _, code := range codes {
		lines = append(lines, "  "+prose.Pad(strconv.Itoa(code), 5)+ExitMeaning[code])
	}
	return strings.Join(lines, "\n")
}

func indent(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = "  " + strings.TrimSpace(line)
		}
	}
	if len(lines) == 1 && lines[0] == "" {
		return ""
	}
	return strings.Join(lines, "\n")
}
