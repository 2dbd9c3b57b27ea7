package command

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/keys"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// Do is what a command runs.
type Do = func(cmd *cobra.Command, args []string) error

// At is a command that works at the desk.
func (c *Context) At(do func(ctx context.Context, d *desk.Desk, args []string) error) Do {
	return func(cmd *cobra.Command, args []string) error {
		d, err := c.Desk()
		if err != nil {
			return err
		}
		if readsCases(cmd) {
			if err := keys.Hear(cmd.Context(), d); err != nil {
				return err
			}
		}
		return do(cmd.Context(), d, args)
	}
}

// readsCases reports whether a command shows or picks machines by where they stand: then it has to know what rotations did, whoever
// carried them out and however that ended.
func readsCases(cmd *cobra.Command) bool {
	f := cmd.Flags()
	return strings.Contains(cmd.Use, "SELECTOR") || strings.Contains(cmd.Use, "INCIDENT") || f.Lookup("on") != nil || f.Lookup("incident") != nil
}

// Listed is a command that prints what find gives, in the format asked for.
func Listed[T any](c *Context, columns []terminal.Column[T], find func(ctx context.Context, d *desk.Desk, args []string) ([]T, error)) Do {
	return c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
		found, err := find(ctx, d, args)
		if err != nil {
			return err
		}
		return List(c, found, columns)
	})
}

// List prints items in the format asked for.
func List[T any](c *Context, items []T, columns []terminal.Column[T]) error {
	return terminal.List(c.Output, c.Out, items, columns)
}

// One prints a single thing: JSON, YAML or the given text.
func (c *Context) One(value any, text func(io.Writer) error) error {
	return terminal.One(c.Output, c.Out, value, func(w io.Writer) error { return text(prose.Cleaner(w)) })
}

// Page prints a single thing: JSON, YAML or its text.
func (c *Context) Page(value any, text string) error {
	return c.One(value, func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
}

// Texts is the text of several things, one behind the other.
func Texts[T interface{ Text() string }](all []T) string {
	var b strings.Builder
	for _, one := range all {
		b.WriteString(one.Text())
	}
	return b.String()
}

// WriteFile writes what others are to read into a file and says so; without a name it does nothing.
func (c *Context) WriteFile(what, file string, write func(io.Writer) error) error {
	if file == "" {
		return nil
	}
	if err := textfile.Write(file, textfile.Shared, write); err != nil {
		return err
	}
	c.Say("%s", strings.TrimSpace(what+" written to "+file))
	return nil
}
