package command

import (
	"encoding/csv"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
	case *once, *pairs:
		return
	}
	switch {
	case f.Value.Type() == "stringToString":
		f.Value, f.DefValue = &pairs{f.Value, map[string]string{}}, ""
	case !several:
		f.Value = &once{Value: f.Value}
		if f.DefValue == "0s" {
			f.DefValue = "0" // pflag knows 0s as nothing of its own types alone
		}
	}
}

// once is the value of a flag that takes one.
type once struct {
	pflag.Value
	said *string
}

var errEmpty = errors.New("it is empty; leave the flag out where nothing is meant")

// Set implements pflag.Value.
func (o *once) Set(text string) error {
	if o.said != nil && *o.said != text {
		return fmt.Errorf("it takes one value, and was given %q before", *o.said)
	}
	o.said = &text
	if err := o.Value.Set(text); err != nil || strings.TrimSpace(text) != "" {
		return err
	}
	return errEmpty
}

// pairs is the value of a flag that takes name=value, each name once.
type pairs struct {
	pflag.Value
	said map[string]string
}

// Set implements pflag.Value.
func (p *pairs) Set(text string) error {
	given := []string{text}
	if strings.Count(text, "=") > 1 { // several pairs are a line of CSV, as pflag reads them
		given, _ = csv.NewReader(strings.NewReader(text)).Read()
	}
	for _, pair := range given {
		name, value, _ := strings.Cut(pair, "=")
		if before, is := p.said[name]; is && before != value {
			return fmt.Errorf("%s takes one value, and was given %q before", name, before)
		}
		p.said[name] = value
	}
	return p.Value.Set(text)
}
