package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/media/usb"
)

type flag = pflag.Flag

// app is what the commands share: streams, global flags and the services, each opened when a command first needs it.
type app struct {
	streams Streams
	out     output

	configPath string
	stateFlag  string
	jsonLines  bool
	noInput    bool
	quiet      bool
	noColor    bool
	logLevel   string
	logFile    string
	timeout    time.Duration

	settings *config
	store    *inventory.Store
	journal  *journal.Journal
	logger   *slog.Logger
	closers  []io.Closer
	usb      usb.System // nil: the disks of this machine
	cancels  []context.CancelFunc
}

func newApp(streams Streams) *app { return &app{streams: streams} }

func (a *app) globalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&a.configPath, "config", "", "file of settings (default: fleetmend.yaml here, then in your configuration folder)")
	f.StringVar(&a.stateFlag, "state-dir", "", "folder of the inventory and the journal")
	f.StringVarP(&a.out.format, "output", "o", "table", "table, wide, json, yaml, csv or name")
	f.BoolVar(&a.jsonLines, "json", false, "events and errors as JSON lines")
	f.BoolVar(&a.noInput, "no-input", false, "never ask; what would have been asked is an error")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress")
	f.BoolVar(&a.noColor, "no-color", false, "no colours (NO_COLOR does the same)")
	f.StringVar(&a.logLevel, "log-level", "warn", "debug, info, warn or error")
	f.StringVar(&a.logFile, "log-file", "", "write the log as JSON lines into this file instead of stderr")
	f.DurationVar(&a.timeout, "timeout", 0, "give up after this time, with exit code 124 (0: never)")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return a.prepare(cmd) }
	complete(root, "output", "table", "wide", "json", "yaml", "csv", "name")
	complete(root, "log-level", "debug", "info", "warn", "error")
}

func complete(cmd *cobra.Command, flag string, words ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// prepare checks the global flags before any command runs.
func (a *app) prepare(cmd *cobra.Command) error {
	if err := a.out.check(); err != nil {
		return err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return usage(fmt.Errorf("--log-level %q is none of debug, info, warn, error", a.logLevel), "see fleetmend --help")
	}
	options := &slog.HandlerOptions{Level: level}
	a.logger = slog.New(slog.NewTextHandler(a.streams.Err, options))
	if a.logFile != "" {
		file, err := os.OpenFile(a.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("open the log: %w", err)
		}
		a.closers = append(a.closers, file)
		a.logger = slog.New(slog.NewJSONHandler(file, options))
	}
	if a.timeout > 0 {
		ctx, cancel := context.WithTimeout(cmd.Context(), a.timeout)
		a.cancels = append(a.cancels, cancel)
		cmd.SetContext(ctx)
	}
	return nil
}

func (a *app) close() {
	if a.store != nil {
		_ = a.store.Close()
	}
	if a.journal != nil {
		_ = a.journal.Close()
	}
	for _, cancel := range a.cancels {
		cancel()
	}
	for _, c := range a.closers {
		_ = c.Close()
	}
}

func (a *app) config() (config, error) {
	if a.settings == nil {
		c, err := loadConfig(a.configPath)
		if err != nil {
			return config{}, err
		}
		a.settings = &c
	}
	return *a.settings, nil
}

// stateFolder returns the folder of inventory and journal and makes it, readable by its owner only.
func (a *app) stateFolder() (string, error) {
	dir := a.stateFlag
	if dir == "" {
		c, err := a.config()
		if err != nil {
			return "", err
		}
		dir = c.State
	}
	if dir == "" {
		var err error
		if dir, err = stateDir(); err != nil {
			return "", err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the state folder: %w", err)
	}
	return dir, nil
}

func (a *app) openStore(ctx context.Context) (*inventory.Store, error) {
	if a.store == nil {
		dir, err := a.stateFolder()
		if err != nil {
			return nil, err
		}
		if a.store, err = inventory.Open(ctx, filepath.Join(dir, "inventory.db")); err != nil {
			return nil, fmt.Errorf("open the inventory: %w", err)
		}
	}
	return a.store, nil
}

func (a *app) openJournal(ctx context.Context) (*journal.Journal, error) {
	if a.journal == nil {
		dir, err := a.stateFolder()
		if err != nil {
			return nil, err
		}
		if a.journal, err = journal.Open(ctx, filepath.Join(dir, "journal.db")); err != nil {
			return nil, fmt.Errorf("open the journal: %w", err)
		}
	}
	return a.journal, nil
}

// canAsk reports whether a person can be asked.
func (a *app) canAsk() bool { return !a.noInput && a.streams.InTTY && a.streams.ErrTTY }

// say prints a line of talk to stderr.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.streams.Err, format+"\n", args...) }

var errDeclined = coded(exitInterrupted, errors.New("not confirmed, nothing was done"))

// confirm asks for the word that stands for what is about to happen; yes skips the question.
func (a *app) confirm(yes bool, question, word string) error {
	if yes {
		return nil
	}
	if !a.canAsk() {
		return usage(errors.New("this needs a confirmation, and there is nobody to ask"), "add --yes to go on without a question")
	}
	answer, err := a.streams.ask(fmt.Sprintf("%s Type %s to go on: ", question, word))
	if err != nil {
		return err
	}
	if answer != word {
		return errDeclined
	}
	return nil
}
