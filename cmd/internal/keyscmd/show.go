package keyscmd

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/keys"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

// showFlags are the flags of keys show.
type showFlags struct {
	accessFlags
	keys.Choice
	reason              string
	enter, ascii, light bool
}

func newShow(c *command.Context) *cobra.Command {
	var f showFlags
	cmd := &cobra.Command{
		Use: "show KEY-ID", Short: "Show one recovery password: large, for reading aloud, as QR code and Code128",
		Long: `Show the recovery password of one key. Its ID is named by at least 8 digits from the recovery screen; where they fit
several keys, nothing is shown. The reason is written to the audit before the password is read.

The password comes from the vault, or, where the vault does not hold it, from its source now. It is said which places hold the same
one. Where one key ID has different passwords, in two places or in one, nothing is shown but where they are: --which 1, --which 2
shows each. A barcode scanner types the codes at the recovery prompt; with --enter they end with Enter.`,
		Example: "fleetmend keys show 4C4B6D8A --reason \"INC-1234\"\nfleetmend keys show 4C4B6D8A-1F2E --reason \"INC-1234\" -o json",
		Args:    command.Exactly(1, "the ID of a key"), ValidArgsFunction: command.First(command.Completing(c.KeyIDs)),
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			f.ID = args[0]
			key, err := withReason(ctx, c, f.reason, func(reason string) (keys.Revealed, error) {
				return keys.Reveal(ctx, d, f.Choice, reason, f.Access)
			})
			if err != nil {
				return coded(err)
			}
			return f.print(c, key)
		}),
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.reason, "reason", "", "why the key is needed, for the audit")
	cmd.Flags().StringVar(&f.Source, "source", "", "the source to believe, where several hold the key")
	cmd.Flags().IntVar(&f.Which, "which", 0, "the place to believe, by its number, where one key ID has different passwords")
	cmd.Flags().BoolVar(&f.enter, "enter", false, "the codes end with Enter")
	cmd.Flags().BoolVar(&f.ascii, "ascii", false, "draw the codes without block characters")
	cmd.Flags().BoolVar(&f.light, "light", false, "without colours: the terminal is dark on light")
	command.Exits(cmd, command.ExitNothing)
	return command.Formats(cmd, terminal.OneFormats...)
}

// shownKey is the one form in which a password is printed as data, after its reveal.
type shownKey struct {
	keys.KeyRef
	Password string   `json:"recovery_password"`
	Groups   []string `json:"groups"`
	Phonetic []string `json:"phonetic"`
	Agree    []string `json:"sources_agree"`
	Unasked  []string `json:"sources_unasked,omitempty"`
}

func (f showFlags) print(c *command.Context, key keys.Revealed) error {
	groups := key.Password.Groups()
	shown := shownKey{KeyRef: key.KeyRef, Password: key.Password.Reveal(), Groups: groups[:], Phonetic: keys.Phonetic(key.Password), Agree: key.Agree, Unasked: key.Unasked}
	err := terminal.One(c.Output, c.Out, shown, func(w io.Writer) error { // the QR code has colours of its own
		fmt.Fprint(w, prose.Clean(key.Head()))
		return keys.Terminal(w, key.Password, keys.Screen{Width: c.Width, ASCII: f.ascii, Color: c.Color(), Light: f.light, Enter: f.enter})
	})
	if err == nil && !key.Rotated {
		what := key.ID.Short()
		if !key.ID.Known() {
			what = prose.OneLine(key.Machine.Name)
		}
		c.Say("This key is known to somebody now. When the machine runs again, replace it: `fleetmend keys rotate %s`", what)
	}
	return err
}
