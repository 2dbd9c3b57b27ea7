package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/bitlocker/sheet"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/inventory"
)

// sheetFlags are the flags of keys sheet.
type sheetFlags struct {
	access
	reason, out, title string
	enter, laps        bool
}

func newKeysSheet(a *app) *cobra.Command {
	var f sheetFlags
	cmd := &cobra.Command{
		Use:   "sheet [SELECTOR|KEY-ID...]",
		Short: "Print keys for a site: PDF or HTML with 48 digits, QR code and Code128 for a scanner",
		Long: `Write a sheet with every key that the vault holds for the machines of a selector, or with the keys named by their IDs. The
file holds passwords in clear: print it, hand it over, and destroy it. Each key on it is in the audit.

With --laps the password of each machine's local administrator is read from Active Directory now and printed beside the key;
each is in the audit too.

Machines without a key in the vault are named, as are those without a password where --laps asks for it; the exit code is 3.`,
		Example: "fleetmend keys sheet 'site == \"LON\"' --reason \"INC-1234\" --out lon.pdf\nfleetmend keys sheet 'site == \"LON\"' --laps --reason \"INC-1234\" --out lon.pdf\nfleetmend keys sheet 4C4B6D8A 9F00A1B2 --reason \"INC-1234\" --out two.html",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.printSheet(cmd, args, f)
		},
		ValidArgsFunction: completing(a.selectorWords),
	}
	f.access.flags(cmd)
	cmd.Flags().StringVar(&f.reason, "reason", "", "why the keys are needed, for the audit")
	cmd.Flags().StringVar(&f.out, "out", "", "file to write: .pdf or .html")
	cmd.Flags().StringVar(&f.title, "title", "", "headline (default: BitLocker recovery keys)")
	cmd.Flags().BoolVar(&f.enter, "enter", false, "the codes end with Enter")
	cmd.Flags().BoolVar(&f.laps, "laps", false, "print the password of the local administrator (LAPS) as well, read from Active Directory")
	exits(cmd, exitSomeFailed, exitNothing)
	return cmd
}

func (a *app) printSheet(cmd *cobra.Command, args []string, f sheetFlags) error {
	ctx := cmd.Context()
	write := sheet.PDF
	switch {
	case strings.HasSuffix(strings.ToLower(f.out), ".pdf"):
	case strings.HasSuffix(strings.ToLower(f.out), ".html"):
		write = sheet.HTML
	default:
		return usage(fmt.Errorf("--out %q is neither .pdf nor .html", f.out), "name the file to write, such as --out lon.pdf")
	}
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	refs, names, missing, err := a.sheetKeys(cmd, d, args)
	if err != nil {
		return err
	}
	if len(refs) == 0 {
		return coded(exitNothing, hint.Wrap(fmt.Errorf("the vault holds no password for %s", strings.Join(missing, ", ")), "fleetmend keys sync --passwords brings passwords into the vault; fleetmend keys find shows what is known"))
	}
	if f.reason, err = a.reasonFor(ctx, f.reason); err != nil {
		return err
	}
	if err := a.unlock(ctx, d, f.access); err != nil {
		return err
	}
	var accounts map[string]*sheet.Account
	var without []string
	if f.laps {
		if accounts, without, err = a.localAdmins(ctx, d, refs, names, f.reason); err != nil {
			return hint.Wrap(err, "nothing was printed; without --laps the sheet needs no directory")
		}
	}
	keys, err := d.RevealAll(ctx, audit.Sheet, f.reason, refs...)
	if err != nil {
		return err
	}
	operator, err := a.operator()
	if err != nil {
		return err
	}
	entries := sheetEntries(keys, names, accounts)
	options := sheet.Options{Title: f.title, Date: time.Now(), Operator: operator.OSUser + ": " + f.reason, Enter: f.enter}
	if err := textfile.Write(f.out, textfile.Private, func(w io.Writer) error { return write(w, entries, options) }); err != nil {
		return err
	}
	a.say("%s written to %s. It holds passwords in clear.", counted(len(entries), "key", "keys"), f.out)
	for _, name := range missing {
		a.say("no key in the vault: %s", name)
	}
	for _, text := range without {
		a.say("no LAPS password on the sheet: %s", text)
	}
	if len(missing)+len(without) > 0 {
		return silently(exitSomeFailed)
	}
	return nil
}

// sheetKeys lists the keys to print, the machine of each where the inventory knows it, and what has no key in the vault.
func (a *app) sheetKeys(cmd *cobra.Command, d *desk, args []string) (refs []bitlocker.KeyRef, names map[bitlocker.KeyID]inventory.Machine, missing []string, err error) {
	ctx := cmd.Context()
	names = map[bitlocker.KeyID]inventory.Machine{}
	if keyArguments(args) {
		for _, arg := range args {
			_, matches, err := a.oneKey(ctx, d, arg)
			if err != nil {
				return nil, nil, nil, err
			}
			held := sealed(matches)
			if len(held) == 0 {
				missing = append(missing, string(matches[0].ID)+" of "+matches[0].Machine.Label())
			}
			refs = append(refs, held...)
		}
		machines := make([]bitlocker.Machine, len(refs))
		for i, ref := range refs {
			machines[i] = ref.Machine
		}
		index, err := a.indexOf(ctx, machines)
		if err != nil {
			return nil, nil, nil, err
		}
		for _, ref := range refs {
			if m, ok := index.find(ref.Machine); ok {
				names[ref.ID] = m
			}
		}
		return refs, names, missing, nil
	}
	if len(args) > 1 {
		return nil, nil, nil, usage(errors.New("one selector or several key IDs are wanted"), "put the selector in quotes, and names behind each other with commas: WS1,WS2")
	}
	machines, err := a.selectMachines(cmd, argument(args))
	if err != nil {
		return nil, nil, nil, err
	}
	for _, m := range machines {
		found, err := d.Find(ctx, bitlocker.Query{Machines: keyMachines(m)})
		if err != nil && !errors.Is(err, bitlocker.ErrNotStored) {
			return nil, nil, nil, err
		}
		held := sealed(found.Matches)
		if len(held) == 0 {
			missing = append(missing, m.Name)
		}
		for _, ref := range held {
			names[ref.ID] = m
		}
		refs = append(refs, held...)
	}
	return refs, names, missing, nil
}

// keyArguments reports whether all arguments are IDs of keys. A host may be called DEADBEEF01; one such argument is taken
// for a key, as on the recovery screen.
func keyArguments(args []string) bool {
	for _, arg := range args {
		if _, err := bitlocker.ParsePrefix(arg); err != nil {
			return false
		}
	}
	return len(args) > 0
}

func sealed(matches []bitlocker.Match) []bitlocker.KeyRef {
	var out []bitlocker.KeyRef
	for _, m := range matches {
		if m.State == bitlocker.StateSealed {
			out = append(out, m.KeyRef)
		}
	}
	return out
}

// sheetEntries prints a key once that several sources hold alike.
func sheetEntries(keys []bitlocker.RecoveryKey, names map[bitlocker.KeyID]inventory.Machine, accounts map[string]*sheet.Account) []sheet.Entry {
	var out []sheet.Entry
	for _, k := range keys {
		twice := false
		for _, e := range out {
			twice = twice || e.Key.ID == k.ID && e.Key.Password.Equal(k.Password)
		}
		if twice {
			continue
		}
		m := names[k.ID]
		e := sheet.Entry{Key: k, Name: m.Name, Site: m.Site, Serial: m.Serial, LAPS: accounts[m.ID]}
		if e.Serial == "" {
			e.Serial = k.Machine.Serial
		}
		out = append(out, e)
	}
	return out
}
