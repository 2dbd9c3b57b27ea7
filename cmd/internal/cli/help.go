package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
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

// styleHelp gives every command the same help, with examples before flags and its exit codes at the end.
func styleHelp(root *cobra.Command) {
	root.SetUsageTemplate(usageTemplate)
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.HasSubCommands() && cmd.RunE == nil { // without it a mistyped verb would print the help and end with 0
			cmd.Args, cmd.RunE = noArgs, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
		if cmd.Annotations == nil {
			cmd.Annotations = map[string]string{}
		}
		if cmd.Runnable() && !cmd.HasSubCommands() && cmd.Annotations["exit"] == "" {
			exits(cmd)
		}
		cmd.Example = indent(cmd.Example)
		for _, child := range cmd.Commands() {
			walk(child)
		}
	}
	walk(root)
}

var exitMeaning = map[int]string{
	exitOK: "all is well", exitError: "an error; the message says which", exitUsage: "the command line is wrong",
	exitSomeFailed: "some machines failed, could not be reached or are unknown; or some keys or rows were left out", exitAuth: "the credentials were rejected",
	exitGate: "a gate stopped the run", exitNothing: "the selector matches no machine, or no key fits",
	exitChanges: "with --detailed-exitcode: there is something to do", exitLocked: "another run holds the journal",
	exitTimeout: "out of time", exitInterrupted: "interrupted or not confirmed",
}

// exits writes the EXIT STATUS section of cmd: 0, 1 and 2 besides the codes given.
func exits(cmd *cobra.Command, codes ...int) {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	var lines []string
	codes = append([]int{exitOK, exitError, exitUsage}, codes...)
	slices.Sort(codes)
	for _, code := range codes {
		lines = append(lines, "  "+pad(itoa(code), 5)+exitMeaning[code])
	}
	cmd.Annotations["exit"] = strings.Join(lines, "\n")
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

func pad(text string, width int) string {
	if len(text) >= width {
		return text + " "
	}
	return text + strings.Repeat(" ", width-len(text))
}
