package command

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fleetmend/fleetmend/internal/commandline"
)

// Once makes every command from root down refuse what a script says by mistake and what would change, in silence, which machines it
// works on: a flag of one value that is given twice with two values, and a word that is empty, as a variable is that nobody set.
func Once(root *cobra.Command) {
	for _, flags := range []*pflag.FlagSet{root.PersistentFlags(), root.Flags()} {
		flags.VisitAll(saidOnce)
	}
	for _, child := range root.Commands() {
		Once(child)
	}
	if args := root.Args; !root.HasSubCommands() {
		root.Args = func(cmd *cobra.Command, given []string) error {
			for _, word := range given {
				if strings.TrimSpace(word) == "" {
					return Usage(emptyArgument(cmd), "see %s --help", cmd.CommandPath())
				}
			}
			if args == nil {
				return nil
			}
			return args(cmd, given)
		}
	}
}

func emptyArgument(cmd *cobra.Command) error {
	if strings.Contains(cmd.Use, "SELECTOR") {
		return ErrEmptySelector
	}
	return fmt.Errorf("%s got an empty argument, which names nothing", cmd.CommandPath())
}

func saidOnce(f *Flag) {
	_, several := f.Value.(pflag.SliceValue)
	switch f.Value.(type) {
	case *commandline.Once, *commandline.Pairs:
		return
	}
	switch {
	case f.Value.Type() == "stringToString":
		f.Value, f.DefValue = &commandline.Pairs{Value: f.Value}, ""
	case !several:
		f.Value = &commandline.Once{Value: f.Value}
		if f.DefValue == "0s" {
			f.DefValue = "0" // pflag knows 0s as nothing of its own types alone
		}
	}
}
