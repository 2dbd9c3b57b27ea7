// Package command is what the commands of the line share: global flags, the desk they work at, exit codes, help, completion.
//
// Every noun is a package of its own with New(*command.Context) *cobra.Command; package cli brings them together in one list. A
// command reads flags, asks the [desk.Desk] of [Context.Desk], prints with [Context.List] or [Context.One], and returns errors: a
// mistake on the line with [Usage], another exit code with [Coded]. The package holds no use case and opens nothing until a command
// needs it.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/internal/settings"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/media/usb"
)

// Context is what one command line works with. It is used by one goroutine; its Terminal and Desk are safe for more.
type Context struct {
	*terminal.Terminal
	Output    terminal.Output
	JSONLines bool // --json: events and errors as JSON lines
	Quiet     bool
	Logger    *slog.Logger
	Disks     usb.System // nil: the disks of this machine
	Version   string
	Runner    []string // the program that carries runs out as processes of their own; nil: this process does

	configPath string
	stateFlag  string
	logLevel   string
	logFile    string
	timeout    time.Duration
	deadline   time.Time // that of --timeout, zero without
	carry      []commandline.Carry
	closers    []io.Closer
	cancels    []context.CancelFunc
	desk       *desk.Desk
}

// NewContext makes the context of streams. Close has to be called.
func NewContext(s terminal.Streams, version string) *Context {
	return &Context{Terminal: terminal.New(s), Version: version}
}

// GlobalFlags adds the flags of every command to root, and checks them before any command runs.
func (c *Context) GlobalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&c.configPath, "config", "", "file of settings (default: fleetmend.yaml here, then in your configuration folder)")
	f.StringVar(&c.stateFlag, "state-dir", "", "folder of the inventory and the journal")
	f.StringVarP(&c.Output.Format, "output", "o", terminal.Table, "table, wide, json, yaml, csv or name")
	f.BoolVar(&c.JSONLines, "json", false, "events and errors as JSON lines")
	f.BoolVar(&c.NoInput, "no-input", false, "never ask; what would have been asked is an error")
	f.BoolVarP(&c.Quiet, "quiet", "q", false, "no progress")
	f.BoolVar(&c.NoColor, "no-color", false, "no colours (NO_COLOR does the same)")
	f.StringVar(&c.logLevel, "log-level", "warn", "debug, info, warn or error")
	f.StringVar(&c.logFile, "log-file", "", "write the log as JSON lines into this file instead of stderr")
	f.DurationVar(&c.timeout, "timeout", 0, "give up after this time, with exit code 124 (0: never)")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return c.prepare(cmd) }
	Complete(root, "output", terminal.Formats...)
	Complete(root, "log-level", "debug", "info", "warn", "error")
}

// prepare checks the global flags before any command runs.
func (c *Context) prepare(cmd *cobra.Command) error {
	c.NoColor = c.NoColor || os.Getenv("NO_COLOR") != ""
	c.carry = runs.Carried(cmd.CommandPath(), func(flag string) []string {
		if f := cmd.Flags().Lookup(flag); f != nil {
			if given, ok := f.Value.(*commandline.Once); ok {
				return given.Words(flag)
			}
		}
		return nil
	})
	if err := c.checkFormat(cmd); err != nil {
		return err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.logLevel)); err != nil {
		return Usage(fmt.Errorf("--log-level %q is none of debug, info, warn, error", c.logLevel), "see fleetmend --help")
	}
	options := &slog.HandlerOptions{Level: level}
	c.Logger = slog.New(slog.NewTextHandler(c.Err, options))
	if c.logFile != "" {
		file, err := os.OpenFile(c.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("open the log: %w", err)
		}
		c.closers = append(c.closers, file)
		c.Logger = slog.New(slog.NewJSONHandler(file, options))
	}
	if c.timeout < 0 {
		return Usage(fmt.Errorf("--timeout %s is negative", c.timeout), "0 means never")
	}
	if c.timeout > 0 {
		ctx, cancel := context.WithTimeout(cmd.Context(), c.timeout)
		c.cancels = append(c.cancels, cancel)
		cmd.SetContext(ctx)
		c.deadline, _ = ctx.Deadline()
	}
	return nil
}

const formatsKey = "formats"

// Formats says which formats of -o a command has; without it -o is refused where it is given. It returns cmd.
func Formats(cmd *cobra.Command, formats ...string) *cobra.Command {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[formatsKey] = strings.Join(formats, " ")
	return cmd
}

// checkFormat refuses a format that the command does not have: -o is never ignored.
func (c *Context) checkFormat(cmd *cobra.Command) error {
	has := strings.Fields(cmd.Annotations[formatsKey])
	switch {
	case !cmd.Flags().Changed("output"):
		return nil
	case len(has) == 0 && c.Output.Format == terminal.Table:
		return nil
	case slices.Contains(has, c.Output.Format):
		return nil
	case !slices.Contains(terminal.Formats, c.Output.Format):
		err := fmt.Errorf("-o %q is none of %s", c.Output.Format, strings.Join(terminal.Formats, ", "))
		if near := hint.Nearest(c.Output.Format, terminal.Formats); near != "" {
			return Usage(err, "did you mean -o %s?", near)
		}
		return Usage(err, "take one of them")
	case len(has) == 0:
		return Usage(fmt.Errorf("%s has no -o %s: it prints text alone", cmd.CommandPath(), c.Output.Format), "leave -o out")
	}
	return Usage(fmt.Errorf("%s has no -o %s", cmd.CommandPath(), c.Output.Format), "it has -o %s", strings.Join(has, ", "))
}

// InTime is err, or the end of the time where a command took longer than --timeout allows, however it ended.
func (c *Context) InTime(err error) error {
	if c.deadline.IsZero() || time.Now().Before(c.deadline) {
		return err
	}
	switch {
	case err == nil:
		return fmt.Errorf("it took longer than the %s of --timeout, and came to its end all the same: %w", c.timeout, context.DeadlineExceeded)
	case Silent(err):
		return Silently(ExitTimeout)
	}
	return Coded(ExitTimeout, err)
}

// Use makes the context work with another file of settings and its state folder, as demo does.
func (c *Context) Use(config string) {
	c.configPath, c.stateFlag = config, ""
	if c.desk != nil {
		c.closers = append(c.closers, c.desk)
		c.desk = nil
	}
}

// Desk is what the commands work at, made when one first needs it.
func (c *Context) Desk() (*desk.Desk, error) {
	if c.desk != nil {
		return c.desk, nil
	}
	s, err := settings.Load(c.configPath)
	if err != nil {
		return nil, err
	}
	made, err := desk.New(desk.Options{
		Settings: s, State: c.stateFlag, Usual: stateDir, Ask: c, Disks: c.Disks, Logger: c.Logger, Version: c.Version, Same: c.Same(), Carry: c.carry,
		Tell: func(text string) { c.Say("%s", text) },
	})
	if err != nil {
		return nil, err
	}
	c.desk = made
	return made, nil
}

// Same are the global flags to repeat in a command that is proposed, so that it works on the same settings and state.
func (c *Context) Same() []string {
	var same []string
	if c.configPath != "" {
		same = append(same, "--config", c.configPath)
	}
	if c.stateFlag != "" {
		same = append(same, commandline.StateDir, c.stateFlag)
	}
	return same
}

// RunnerLine is [Context.Runner] with the flags that say where its log goes and what it holds; nil where this process carries runs out.
func (c *Context) RunnerLine() []string {
	if c.Runner == nil {
		return nil
	}
	line := append(slices.Clone(c.Runner), "--log-level", c.logLevel)
	if c.logFile != "" {
		line = append(line, "--log-file", c.logFile)
	}
	return line
}

// Say prints a line of talk; commands that it proposes work on the same settings and state as this one.
func (c *Context) Say(format string, args ...any) {
	c.Terminal.Say("%s", c.Program().In(fmt.Sprintf(format, args...)))
}

// Program is how this process was called.
func (c *Context) Program() commandline.Program {
	return commandline.Program{Same: c.Same(), Carry: c.carry}
}

// Confirm asks for the word that stands for what is about to happen; yes skips the question.
func (c *Context) Confirm(ctx context.Context, yes bool, text, word string) error {
	if yes {
		return nil
	}
	if !c.CanAsk() {
		return Usage(errors.New("this needs a confirmation, and there is nobody to ask; nothing was done"), unasked)
	}
	_, err := c.Ask(ctx, question.Question{ID: "confirm", Kind: question.Word, Text: text, Word: word, Flag: unasked})
	return err
}

const unasked = "add --yes to go on without a question"

// Own closes something with the context.
func (c *Context) Own(closer io.Closer) { c.closers = append(c.closers, closer) }

// Close ends all that the commands opened.
func (c *Context) Close() {
	if c.desk != nil {
		_ = c.desk.Close()
	}
	for _, cancel := range c.cancels {
		cancel()
	}
	for _, closer := range slices.Backward(c.closers) {
		_ = closer.Close()
	}
}

// Flag is one flag of a command.
type Flag = pflag.Flag
