package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/ad"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory"
)

// foundKey is a key with what the inventory knows of its machine and how old the knowledge of its source is.
type foundKey struct {
	bitlocker.Match
	Serial       string    `json:"serial,omitempty"`
	Owner        string    `json:"owner,omitempty"`
	Site         string    `json:"site,omitempty"`
	SourceSynced time.Time `json:"source_synced,omitzero"`
}

var foundColumns = []column[foundKey]{
	{"key id", false, func(k foundKey) string { return string(k.ID) }},
	{"machine", false, func(k foundKey) string { return k.Machine.Label() }},
	{"volume", false, func(k foundKey) string { return string(k.Volume) }},
	{"escrowed", false, func(k foundKey) string { return dayOf(k.Created) }},
	{"source", false, func(k foundKey) string { return k.Source }},
	{"source read", false, func(k foundKey) string { return ago(k.SourceSynced, time.Now()) }},
	{"password", false, func(k foundKey) string { return passwordWord(k.State) }},
	{"remark", false, keyRemark},
	{"serial", true, func(k foundKey) string { return k.Serial }},
	{"owner", true, func(k foundKey) string { return k.Owner }},
	{"site", true, func(k foundKey) string { return k.Site }},
	{"dn", true, func(k foundKey) string { return k.Machine.DN }},
	{"volume id", true, func(k foundKey) string { return k.VolumeID }},
}

func dayOf(t time.Time) string {
	if t.IsZero() {
		return "not said"
	}
	return t.UTC().Format("2006-01-02 15:04Z")
}

func passwordWord(s bitlocker.State) string {
	switch s {
	case bitlocker.StateSealed:
		return "in the vault"
	case bitlocker.StateMissing:
		return "not stored there"
	case bitlocker.StateDenied:
		return "not ours to read"
	case bitlocker.StateInvalid:
		return "cannot be right"
	case bitlocker.StateUnknown:
	}
	return "at the source"
}

func keyRemark(k foundKey) string {
	var words []string
	if k.Deleted {
		words = append(words, "deleted there")
	}
	if k.Stale {
		words = append(words, strings.TrimSuffix("replaced: "+k.StaleCause, ": "))
	}
	if !k.Rotated.IsZero() {
		words = append(words, "rotated "+dayOf(k.Rotated))
	}
	if !k.RotationAsked.IsZero() && k.Rotated.IsZero() {
		words = append(words, "rotation asked of Intune "+dayOf(k.RotationAsked))
	}
	if k.Note != "" {
		words = append(words, k.Note)
	}
	return strings.Join(words, "; ")
}

func newKeysFind(a *app) *cobra.Command {
	var now bool
	cmd := &cobra.Command{
		Use:   "find QUERY",
		Short: "Find keys by the digits on the recovery screen, host name, serial number or user",
		Long: `Find keys by at least 8 digits of the key ID, as the recovery screen shows them, or by host name (with a * at its end),
serial number or user of the machine; the inventory knows the last two. Every key that fits is shown, the newest first: the
key ID on the screen decides. It needs no passphrase, and no password is shown.

A key may be newer than the last reading: with --now Active Directory is asked for the digits first, in one search.

It ends with 6 where nothing fits, and says where it looked.`,
		Example:           "fleetmend keys find 4C4B6D8A\nfleetmend keys find WS00042\nfleetmend keys find 'LON-*' -o csv\nfleetmend keys find PF3ABCDE\nfleetmend keys find 4C4B6D8A --now",
		Args:              exactly(1, "digits of a key ID, a host name, a serial number or a user"),
		ValidArgsFunction: first(completing(a.machineNames)),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := a.openDesk(cmd.Context())
			if err != nil {
				return err
			}
			if now {
				if err := a.findNow(cmd.Context(), d, args[0]); err != nil {
					return err
				}
			}
			keys, err := a.findKeys(cmd.Context(), d, args[0])
			if err != nil {
				return err
			}
			if err := list(a.out, a.streams.Out, keys, foundColumns); err != nil {
				return err
			}
			a.warnCollision(args[0], keys)
			return nil
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "ask Active Directory for the digits first")
	exits(cmd, exitNothing, exitAuth)
	return cmd
}

// findNow asks the directory for the digits of a key and takes in what it knows.
func (a *app) findNow(ctx context.Context, d *desk, text string) error {
	prefix, err := bitlocker.ParsePrefix(text)
	if err != nil {
		return usage(fmt.Errorf("--now asks for the digits of a key: %w", err), "the recovery screen shows them; keys of a host are found after fleetmend keys sync")
	}
	sources, err := a.keySources(ctx, "ad")
	if err != nil {
		return err
	}
	refs, err := sources[0].(*ad.Source).Find(ctx, prefix, "")
	if errors.Is(err, bitlocker.ErrNotStored) { // it may be known from elsewhere
		a.say("%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	return d.Add(ctx, refs...)
}

// findKeys joins the references with the inventory, which knows serial numbers and users.
func (a *app) findKeys(ctx context.Context, d *desk, text string) ([]foundKey, error) {
	query := bitlocker.ParseQuery(text)
	found, err := d.Find(ctx, query)
	if err != nil && !errors.Is(err, bitlocker.ErrNotStored) {
		return nil, err
	}
	byID := err == nil && slices.ContainsFunc(found.KeyIDs(), query.KeyID.Matches)
	if !byID {
		known, err := a.machinesOf(ctx, text)
		if err != nil {
			return nil, err
		}
		for _, m := range known {
			query.Machines = append(query.Machines, keyMachines(m)...)
		}
		found, err = d.Find(ctx, query)
		if err != nil {
			return nil, notFound(err)
		}
	}
	return a.joinKeys(ctx, d, found.Matches)
}

// notFound gives the exit code of a key that nobody knows.
func notFound(err error) error {
	if errors.Is(err, bitlocker.ErrNotStored) {
		return coded(exitNothing, err)
	}
	return err
}

// maxJoined bounds the machines of one user whose keys are looked up.
const maxJoined = 500

func (a *app) machinesOf(ctx context.Context, text string) ([]inventory.Machine, error) {
	if strings.HasSuffix(strings.TrimSpace(text), "*") {
		return nil, nil
	}
	store, err := a.openStore(ctx)
	if err != nil {
		return nil, err
	}
	found, err := store.Lookup(ctx, text)
	return found[:min(len(found), maxJoined)], err
}

// keyMachines is what identifies a machine to the key desk. Directories name it by different IDs, so that it may be two.
func keyMachines(m inventory.Machine) []bitlocker.Machine {
	out := []bitlocker.Machine{{Name: m.Name, FQDN: m.FQDN, Serial: m.Serial, DeviceID: m.Claims.EntraDeviceID, GUID: m.Claims.ObjectGUID}}
	if id := m.Claims.ObjectGUID; id != "" && id != m.Claims.EntraDeviceID {
		out = append(out, bitlocker.Machine{DeviceID: id})
	}
	return out
}

// joinKeys adds to each key the age of its source and what the inventory knows of the machine, where that is one machine.
func (a *app) joinKeys(ctx context.Context, d *desk, matches []bitlocker.Match) ([]foundKey, error) {
	sources, err := d.Sources(ctx)
	if err != nil {
		return nil, err
	}
	synced := map[string]time.Time{}
	for _, s := range sources {
		synced[s.Source] = s.Synced
	}
	var index machineIndex
	if a.out.Format != "table" && a.out.Format != "name" { // those show nothing of the inventory
		machines := make([]bitlocker.Machine, len(matches))
		for i, m := range matches {
			machines[i] = m.Machine
		}
		if index, err = a.indexOf(ctx, machines); err != nil {
			return nil, err
		}
	}
	out := make([]foundKey, len(matches))
	for i, m := range matches {
		out[i] = foundKey{Match: m, Serial: m.Machine.Serial, SourceSynced: synced[m.Source]}
		if known, ok := index.find(m.Machine); ok {
			out[i].Owner, out[i].Site = known.Owner, known.Site
			if out[i].Serial == "" {
				out[i].Serial = known.Serial
			}
		}
	}
	return out, nil
}

// machineIndex finds machines of the inventory by what the sources of keys know; nil stands for a name that is not unique.
type machineIndex struct{ by map[string]*inventory.Machine }

// indexOf looks up what the inventory knows of machines that have keys.
func (a *app) indexOf(ctx context.Context, machines []bitlocker.Machine) (machineIndex, error) {
	store, err := a.openStore(ctx)
	if err != nil {
		return machineIndex{}, err
	}
	var words []string
	for _, m := range machines {
		words = append(words, m.GUID, m.DeviceID, m.FQDN, m.Serial, m.Name)
	}
	known, err := store.Lookup(ctx, words...)
	if err != nil {
		return machineIndex{}, err
	}
	return indexMachines(known), nil
}

func indexMachines(machines []inventory.Machine) machineIndex {
	index := machineIndex{map[string]*inventory.Machine{}}
	for i := range machines {
		m := &machines[i]
		for _, key := range []string{"id:" + m.Claims.EntraDeviceID, "id:" + m.Claims.ObjectGUID, "fqdn:" + m.FQDN, "serial:" + strings.ToLower(m.Serial), "name:" + m.Name} {
			if strings.HasSuffix(key, ":") {
				continue
			}
			if other, ok := index.by[key]; ok && other != m {
				index.by[key] = nil
				continue
			}
			index.by[key] = m
		}
	}
	return index
}

func (x machineIndex) find(m bitlocker.Machine) (inventory.Machine, bool) {
	for _, key := range []string{"id:" + strings.ToLower(m.GUID), "id:" + strings.ToLower(m.DeviceID), "fqdn:" + strings.ToLower(m.FQDN), "serial:" + strings.ToLower(m.Serial), "name:" + strings.ToUpper(m.Name)} {
		if known := x.by[key]; known != nil && !strings.HasSuffix(key, ":") {
			return *known, true
		}
	}
	return inventory.Machine{}, false
}

// warnCollision says that the digits fit more than one key.
func (a *app) warnCollision(text string, keys []foundKey) {
	prefix, err := bitlocker.ParsePrefix(text)
	if err != nil {
		return
	}
	var ids []bitlocker.KeyID
	for _, k := range keys {
		if prefix.Matches(k.ID) && !slices.Contains(ids, k.ID) {
			ids = append(ids, k.ID)
		}
	}
	if len(ids) > 1 {
		a.say("%s keys begin with %s. More digits from the recovery screen decide which it is.", strconv.Itoa(len(ids)), prefix)
	}
}

// oneKey finds the only key whose ID begins with the digits, or the one that came without an ID, by what stands for it.
func (a *app) oneKey(ctx context.Context, d *desk, text string) (bitlocker.KeyID, []bitlocker.Match, error) {
	if id := bitlocker.KeyID(strings.ToUpper(strings.TrimSpace(text))); id != "" && !id.Known() {
		found, err := d.Find(ctx, bitlocker.Query{KeyID: id.Prefix()})
		if err != nil {
			return "", nil, notFound(err)
		}
		matches := slices.DeleteFunc(found.Matches, func(m bitlocker.Match) bool { return m.ID != id })
		if len(matches) == 0 {
			return "", nil, coded(exitNothing, hint.Wrap(fmt.Errorf("no key is known as %s", id), "fleetmend keys find HOST lists the keys of a machine"))
		}
		return id, matches, nil
	}
	prefix, err := bitlocker.ParsePrefix(text)
	if err != nil {
		return "", nil, usage(err, "the recovery screen shows the key ID; fleetmend keys find HOST lists the keys of a machine")
	}
	found, err := d.Find(ctx, bitlocker.Query{KeyID: prefix})
	if err != nil {
		return "", nil, notFound(err)
	}
	if ids := found.KeyIDs(); len(ids) > 1 {
		lines := make([]string, len(ids))
		for i, id := range ids {
			lines[i] = "  " + string(id)
		}
		return "", nil, usage(fmt.Errorf("%d keys begin with %s:\n%s", len(ids), prefix, strings.Join(lines, "\n")), "give more digits from the recovery screen; nothing was shown")
	}
	return found.Matches[0].ID, found.Matches, nil
}
