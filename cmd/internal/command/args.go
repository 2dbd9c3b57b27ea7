package command

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/hint"
)

type lineKey struct{}

// WithLine is ctx with the words of the line, for the advice to type it otherwise.
func WithLine(ctx context.Context, words []string) context.Context {
	return context.WithValue(ctx, lineKey{}, words)
}

// NoArgs refuses arguments and, on a command with children, says which line was meant.
func NoArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case !cmd.HasSubCommands():
		return Usage(fmt.Errorf("%s takes no argument, but got %q", cmd.CommandPath(), args[0]), "see %s --help", cmd.CommandPath())
	}
	err := fmt.Errorf("%s knows no command %q", cmd.CommandPath(), args[0])
	said, _ := cmd.Context().Value(lineKey{}).([]string)
	line, from := slices.Clone(said), 0
	for at := cmd; at.HasSubCommands() && len(args) > 0; args = args[1:] {
		near, i := nearest(at, args[0]), slices.Index(line[from:], args[0])
		if near == nil || i < 0 {
			break
		}
		line[from+i], from, at = near.Name(), from+i+1, near
	}
	if from == 0 {
		return Usage(err, "see %s --help", cmd.CommandPath())
	}
	return Usage(err, "did you mean `%s`?", commandline.Line(line...))
}

// nearest is the child of cmd that is called so, or almost; nil without one.
func nearest(cmd *cobra.Command, word string) *cobra.Command {
	var names []string
	for _, child := range cmd.Commands() {
		if child.Name() == word || child.HasAlias(word) {
			return child
		}
		names = append(names, child.Name())
	}
	word = hint.Nearest(word, names)
	for _, child := range cmd.Commands() {
		if child.Name() == word {
			return child
		}
	}
	return nil
}

// Exactly is cobra.ExactArgs with the words of the command's use line.
func Exactly(n int, what string) cobra.PositionalArgs { return Between(n, n, what) }

// Between wants from least to most arguments.
func Between(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= most {
			return nil
		}
		return Usage(fmt.Errorf("%s needs %s, but got %d arguments", cmd.CommandPath(), what, len(args)), "see %s --help", cmd.CommandPath())
	}
}

// AsUsage marks what cobra itself says of a line as wrong use: flags that exclude each other, or are missing. Its errors have no
// type, and begin with these words (cobra 1.10).
func AsUsage(err error) error {
	if err == nil {
		return nil
	}
	for _, words := range []string{"if any flags in the group [", "at least one of the flags in the group [", `required flag(s) "`} {
		if strings.HasPrefix(err.Error(), words) {
			return Usage(err, "see --help of the command")
		}
	}
	return err
}

// SuggestFlag makes wrong use of what cobra says of a flag, and names the one that was meant, or the command where that was mistyped.
func SuggestFlag(cmd *cobra.Command, err error) error {
	if args := cmd.Flags().Args(); cmd.HasSubCommands() && len(args) > 0 { // its flags are none of ours because its name is not
		return NoArgs(cmd, args)
	}
	if word, found := strings.CutPrefix(err.Error(), "unknown flag: --"); found {
		var names []string
		cmd.Flags().VisitAll(func(f *Flag) { names = append(names, f.Name) })
		if near := hint.Nearest(word, names); near != "" {
			err = hint.Wrapf(err, "did you mean --%s?", near)
		}
	}
	return Usage(err, "see %s --help", cmd.CommandPath())
}

// Complete completes a flag with words.
func Complete(cmd *cobra.Command, flag string, words ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// CompleteBy completes a flag with what a completer offers.
func CompleteBy(cmd *cobra.Command, flag string, by Completer) {
	_ = cmd.RegisterFlagCompletionFunc(flag, by)
}

// Completer completes an argument or a flag.
type Completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// Completing bounds what a completion may cost; on an error nothing is offered.
func Completing(offer func(context.Context, string) ([]string, error)) Completer {
	return func(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
		defer cancel()
		words, err := offer(ctx, prefix)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var fitting []string
		for _, word := range words {
			if strings.HasPrefix(strings.ToLower(word), strings.ToLower(prefix)) && len(fitting) < 200 {
				fitting = append(fitting, word)
			}
		}
		return fitting, cobra.ShellCompDirectiveNoFileComp
	}
}

// First completes the first argument only.
func First(c Completer) Completer {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c(cmd, args, prefix)
	}
}
