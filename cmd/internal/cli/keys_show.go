package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/bitlocker/sheet"
)

// showFlags are the flags of keys show.
type showFlags struct {
	access
	reason, source string
	enter, ascii   bool
	light          bool
}

func newKeysShow(a *app) *cobra.Command {
	var f showFlags
	cmd := &cobra.Command{
		Use:   "show KEY-ID",
		Short: "Show one recovery password: large, for reading aloud, as QR code and Code128",
		Long: `Show the recovery password of one key. Its ID is named by at least 8 digits from the recovery screen; where they fit
several keys, nothing is shown. The reason is written to the audit before the password is read.

The password comes from the vault, or, where the vault does not hold it, from its source now. A barcode scanner types the
codes at the recovery prompt; with --enter they end with Enter.`,
		Example:           "fleetmend keys show 4C4B6D8A --reason \"INC-1234\"\nfleetmend keys show 4C4B6D8A-1F2E --reason \"INC-1234\" -o json",
		Args:              exactly(1, "the ID of a key"),
		ValidArgsFunction: first(completing(a.keyIDs)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.showKey(cmd.Context(), args[0], f)
		},
	}
	f.access.flags(cmd)
	cmd.Flags().StringVar(&f.reason, "reason", "", "why the key is needed, for the audit")
	cmd.Flags().StringVar(&f.source, "source", "", "the source to believe, where several hold the key")
	cmd.Flags().BoolVar(&f.enter, "enter", false, "the codes end with Enter")
	cmd.Flags().BoolVar(&f.ascii, "ascii", false, "draw the codes without block characters")
	cmd.Flags().BoolVar(&f.light, "light", false, "without colours: the terminal is dark on light")
	exits(cmd, exitNothing)
	return cmd
}

// shownKey is the one form in which a password is printed as data, after its reveal.
type shownKey struct {
	bitlocker.KeyRef
	Password string   `json:"recovery_password"`
	Groups   []string `json:"groups"`
	Phonetic []string `json:"phonetic"`
}

func (a *app) showKey(ctx context.Context, text string, f showFlags) error {
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	id, matches, err := a.oneKey(ctx, d, text)
	if err != nil {
		return err
	}
	if matches, err = fromSource(id, matches, f.source); err != nil {
		return err
	}
	if f.reason, err = a.reasonFor(ctx, f.reason); err != nil {
		return err
	}
	key, err := a.reveal(ctx, d, id, matches, f)
	if err != nil {
		return err
	}
	groups := key.Password.Groups()
	shown := shownKey{KeyRef: key.KeyRef, Password: key.Password.Reveal(), Groups: groups[:], Phonetic: sheet.Phonetic(key.Password)}
	err = one(a.out, a.streams.Out, shown, func(w io.Writer) error {
		writeKeyHead(w, key.KeyRef)
		return sheet.Terminal(w, key.Password, sheet.Screen{
			Width: a.streams.Width, ASCII: f.ascii, Color: a.streams.OutTTY && !a.noColor, Light: f.light, Enter: f.enter,
		})
	})
	if err == nil && matches[0].Rotated.IsZero() {
		what := id.Short()
		if !id.Known() {
			what = oneLine(key.Machine.Name)
		}
		a.say("This key is known to somebody now. When the machine runs again, replace it: fleetmend keys rotate %s --reason \"...\"", what)
	}
	return err
}

func writeKeyHead(w io.Writer, ref bitlocker.KeyRef) {
	fmt.Fprintf(w, "machine    %s\n", oneLine(ref.Machine.Label()))
	fmt.Fprintf(w, "key ID     %s\n", ref.ID)
	if !ref.Created.IsZero() {
		fmt.Fprintf(w, "escrowed   %s\n", dayOf(ref.Created))
	}
	fmt.Fprintf(w, "source     %s\n", oneLine(ref.Source))
	if remark := keyRemark(foundKey{Match: bitlocker.Match{KeyRef: ref}}); remark != "" {
		fmt.Fprintf(w, "remark     %s\n", oneLine(remark))
	}
}

func fromSource(id bitlocker.KeyID, matches []bitlocker.Match, source string) ([]bitlocker.Match, error) {
	if source == "" {
		return matches, nil
	}
	var out []bitlocker.Match
	var names []string
	for _, m := range matches {
		names = append(names, m.Source)
		if m.Source == source {
			out = append(out, m)
		}
	}
	if len(out) == 0 {
		return nil, usage(fmt.Errorf("%s does not know key %s", source, id), "it is known to %s", strings.Join(names, ", "))
	}
	return out, nil
}

// reveal takes the password from the vault where it holds it, and else from the source.
func (a *app) reveal(ctx context.Context, d *desk, id bitlocker.KeyID, matches []bitlocker.Match, f showFlags) (bitlocker.RecoveryKey, error) {
	for _, m := range matches {
		if m.State != bitlocker.StateSealed {
			continue
		}
		if err := a.unlock(ctx, d, f.access); err != nil {
			return bitlocker.RecoveryKey{}, err
		}
		if f.source == "" {
			return d.Reveal(ctx, id, f.reason)
		}
		keys, err := d.RevealAll(ctx, audit.Reveal, f.reason, m.KeyRef)
		if err != nil {
			return bitlocker.RecoveryKey{}, err
		}
		return keys[0], nil
	}
	var errs []error
	for _, m := range matches {
		source, err := a.keySource(ctx, m.Source)
		if err == nil {
			var key bitlocker.RecoveryKey
			if key, err = d.RevealFrom(ctx, source, m.KeyRef, f.reason); err == nil {
				return key, nil
			}
		}
		errs = append(errs, err)
	}
	return bitlocker.RecoveryKey{}, errors.Join(errs...)
}

// errEnough ends a reading that has found what it looked for.
var errEnough = errors.New("enough")

func (a *app) keyIDs(ctx context.Context, prefix string) ([]string, error) {
	d, err := a.openDesk(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	err = d.All(ctx, func(m bitlocker.Match) error {
		if strings.HasPrefix(string(m.ID), strings.ToUpper(prefix)) {
			ids = append(ids, string(m.ID)+"\t"+m.Machine.Label()+", "+dayOf(m.Created))
		}
		if len(ids) == 100 {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return ids, err
}
