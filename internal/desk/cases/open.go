package cases

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// For says which incident the outcomes of a playbook, bound to parameters, belong to: the one named, which must be open;
// else the open one that asks the same question; else, for a cure, a new one, which the run opens when it begins. Empty:
// none. It is a mistake when several open ones ask the same, and when one of the playbook's name asks another question,
// because its detect was edited since. Asked is what the playbook was called: its name or its file.
func For(ctx context.Context, d *desk.Desk, p *playbook.Playbook, asked string, parameters map[string]string, named string) (string, error) {
	if named != "" {
		i, err := One(ctx, d, named)
		if err == nil && !i.IsOpen() {
			err = closedError(&i)
		}
		return i.ID, err
	}
	if !p.Cure() {
		return "", nil
	}
	j, err := d.Journal(ctx)
	if err != nil {
		return "", err
	}
	all, err := j.Incidents(ctx)
	if err != nil {
		return "", err
	}
	digest := p.DetectDigest()
	var same, edited []journal.Incident
	for _, i := range all {
		switch {
		case !i.IsOpen():
		case i.Digest == digest:
			same = append(same, i)
		case i.Playbook == p.Name && len(parameters) == 0: // with other parameters it is another question, and not edited
			edited = append(edited, i)
		}
	}
	switch {
	case len(same) == 1:
		return same[0].ID, nil
	case len(same) > 1:
		return "", hint.Mistake(fmt.Errorf("%d open incidents ask what %s asks: %s", len(same), p.Name, list(same)), "say which with --incident, such as --incident %s", same[0].ID)
	case len(edited) > 0:
		return "", hint.Mistake(fmt.Errorf("the detect of %s is not the one by which incident %s was answered so far", p.Name, edited[0].ID),
			"--incident %[1]s counts its answers there all the same; `%[2]s` asks anew and carries the machines over as suspect",
			edited[0].ID, commandline.Line("incident", "open", "--playbook", asked, "--replaces", edited[0].ID))
	}
	return freeID(all, d.Now(), p.Name, parameters), nil
}

func closedError(i *journal.Incident) error {
	return hint.Mistake(&journal.ClosedIncidentError{ID: i.ID, By: i.ClosedBy, At: i.Closed}, "open it again with `fleetmend incident open %s --again`", i.ID)
}

var notID = lazyregexp.New(`[^0-9a-z]+`)

// freeID makes an ID of the day, the playbook and its parameters that no incident has.
func freeID(all []journal.Incident, now time.Time, name string, parameters map[string]string) string {
	words := []string{now.Format("20060102"), name}
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		words = append(words, parameters[key])
	}
	id := strings.Trim(notID.ReplaceAllString(strings.ToLower(strings.Join(words, "-")), "-"), "-")
	id = strings.Trim(id[:min(len(id), 56)], "-")
	free := id
	for n := 2; slices.ContainsFunc(all, func(i journal.Incident) bool { return i.ID == free }); n++ {
		free = fmt.Sprintf("%s-%d", id, n)
	}
	return free
}

// Opening says what incident is opened.
type Opening struct {
	ID       string // "": made of the day and the playbook
	Playbook string // name or file; not with Again
	Set      map[string]string
	Start    time.Time
	End      time.Time
	Replaces string
	Again    bool // the closed incident ID
}

// Open opens an incident, or a closed one again; for one that is open and without a playbook it sets the window.
func Open(ctx context.Context, d *desk.Desk, o Opening) (*journal.Incident, error) {
	if !o.End.IsZero() && (o.Start.IsZero() || !o.Start.Before(o.End)) || o.Start.After(d.Now()) {
		return nil, hint.Mistake(errors.New("the incident must have begun before now, and before it ended"), "give --start, and --end where it is over: --start 2024-07-19T04:09Z --end 2024-07-19T05:27Z")
	}
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case o.Again:
		err = again(ctx, d, j, &o)
	case o.Playbook == "":
		err = window(ctx, d, j, &o)
	default:
		err = open(ctx, d, j, &o)
	}
	if err != nil {
		return nil, err
	}
	return j.Incident(ctx, o.ID)
}

func again(ctx context.Context, d *desk.Desk, j *journal.Journal, o *Opening) error {
	if o.ID == "" || o.Playbook != "" || o.Replaces != "" {
		return hint.Mistake(errors.New("--again stands with the ID of a closed incident alone"), "`fleetmend incident list` shows them")
	}
	i, err := One(ctx, d, o.ID)
	if err != nil {
		return err
	}
	o.ID = i.ID
	if err := j.ReopenIncident(ctx, i.ID); err != nil || o.Start.IsZero() {
		return err
	}
	return j.SetWindow(ctx, i.ID, o.Start, o.End)
}

func window(ctx context.Context, d *desk.Desk, j *journal.Journal, o *Opening) error {
	needs := hint.Mistake(errors.New("an incident needs a playbook: its detect decides who is affected"), "give --playbook, a built-in one (`fleetmend playbook list`) or a file")
	if o.ID == "" || o.Replaces != "" {
		return needs
	}
	i, err := One(ctx, d, o.ID)
	if err != nil {
		if o.Start.IsZero() {
			return needs
		}
		return err
	}
	if !i.IsOpen() {
		return closedError(&i)
	}
	if o.Start.IsZero() {
		return hint.Mistake(fmt.Errorf("incident %s is open already", i.ID), "--start, and --end where it is over, say when the harm was done: --start 2024-07-19T04:09Z --end 2024-07-19T05:27Z")
	}
	o.ID = i.ID
	return j.SetWindow(ctx, i.ID, o.Start, o.End)
}

func open(ctx context.Context, d *desk.Desk, j *journal.Journal, o *Opening) error {
	source, err := playbook.Find(o.Playbook)
	if err != nil {
		return &hint.MistakeError{Err: err}
	}
	bound, err := source.Bind(o.Set)
	if err != nil {
		return &hint.MistakeError{Err: err}
	}
	if o.ID != "" && !journal.ValidIncident(o.ID) {
		return hint.Mistake(fmt.Errorf("%q cannot be the ID of an incident", o.ID), "take at most 63 lower-case letters, digits and hyphens, as 20240719-crowdstrike")
	}
	digest := bound.DetectDigest()
	if digest == "" {
		return hint.Mistake(fmt.Errorf("%s detects nothing, so that it cannot say who is affected", bound.Name), "take a playbook with a detect; its fix joins with --incident")
	}
	all, err := j.Incidents(ctx)
	if err != nil {
		return err
	}
	if o.Replaces != "" {
		former, err := resolve(all, o.Replaces)
		if err != nil {
			return err
		}
		o.Replaces = former.ID
	}
	if o.ID == "" {
		o.ID = freeID(all, d.Now(), bound.Name, o.Set)
	}
	file := ""
	if playbook.IsPath(o.Playbook) {
		if file, err = filepath.Abs(o.Playbook); err != nil {
			return err
		}
	}
	return mistaken(j.OpenIncident(ctx, journal.Incident{
		ID: o.ID, Playbook: bound.Name, Digest: digest, Start: o.Start, End: o.End, Operator: d.Operator(), Replaces: o.Replaces, File: file, Parameters: o.Set,
	}))
}

// mistaken marks what the journal refuses because of what was asked for.
func mistaken(err error) error {
	var exists *journal.IncidentExistsError
	var closed *journal.ClosedIncidentError
	if errors.As(err, &exists) || errors.As(err, &closed) {
		return &hint.MistakeError{Err: err}
	}
	return err
}

// Marked says what an act of marking did.
type Marked struct {
	Incident string   `json:"incident"`
	Act      int64    `json:"act"` // what takes it back
	Machines int      `json:"machines"`
	Unknown  []string `json:"unknown"` // names of no machine
	Several  []string `json:"several"` // names of several machines; none of them was marked

	As string `json:"-"` // the word
}

// Unmarked says that some names were of no machine, or of several.
func (m Marked) Unmarked() int { return len(m.Unknown) + len(m.Several) }

// Mark judges the machines of a selector by hand, in one transaction. Names that nobody or several have are left out and
// given back.
func Mark(ctx context.Context, d *desk.Desk, incident string, selector inventory.Selector, as, reason string) (Marked, error) {
	word := journal.Word(as)
	switch {
	case word != journal.MarkFixed && word != journal.MarkReplaced && word != journal.MarkExcluded:
		return Marked{}, hint.Mistake(fmt.Errorf("machines are not marked as %q", as), "take fixed, replaced or excluded")
	case strings.TrimSpace(reason) == "":
		return Marked{}, hint.Mistake(errors.New("a mark needs a reason"), "say why in one line, such as --reason 'list of the site manager, 2 pm'")
	}
	i, err := One(ctx, d, incident)
	if err != nil {
		return Marked{}, err
	}
	if !i.IsOpen() {
		return Marked{}, closedError(&i)
	}
	store, b, err := over(ctx, d, selector, Options{Incident: i.ID})
	if err != nil {
		return Marked{}, err
	}
	machines, named, err := store.SelectKnown(ctx, selector, b.Overlay())
	if err != nil {
		return Marked{}, err
	}
	out := Marked{Incident: i.ID, Machines: len(machines), Unknown: named.Unknown, Several: named.Several, As: as}
	if len(machines) == 0 {
		return out, nil
	}
	ids := make([]string, len(machines))
	for n := range machines {
		ids[n] = machines[n].ID
	}
	j, err := d.Journal(ctx)
	if err != nil {
		return Marked{}, err
	}
	out.Act, err = j.Mark(ctx, i.ID, ids, word, strings.TrimSpace(reason), d.Operator())
	return out, mistaken(err)
}

// Unmark takes the newest act of marking back, or the one with a number, and returns it.
func Unmark(ctx context.Context, d *desk.Desk, incident string, act int64) (journal.Act, error) {
	i, err := One(ctx, d, incident)
	if err != nil {
		return journal.Act{}, err
	}
	j, err := d.Journal(ctx)
	if err != nil {
		return journal.Act{}, err
	}
	acts, err := j.Acts(ctx, i.ID)
	if err != nil {
		return journal.Act{}, err
	}
	for _, a := range acts {
		if a.Undone == 0 && a.Word != journal.MarkSuspect && (act == 0 || a.Number == act) {
			_, err := j.Unmark(ctx, i.ID, a.Number, d.Operator())
			return a, mistaken(err)
		}
	}
	return journal.Act{}, hint.Mistake(fmt.Errorf("incident %s has no mark that could be taken back", i.ID), "`fleetmend incident mark --list` shows what was marked")
}

// Close ends an incident.
func Close(ctx context.Context, d *desk.Desk, incident string) (*journal.Incident, error) {
	i, err := One(ctx, d, incident)
	if err != nil {
		return nil, err
	}
	if !i.IsOpen() {
		return nil, closedError(&i)
	}
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	if err := j.CloseIncident(ctx, i.ID, d.Operator()); err != nil {
		return nil, err
	}
	return j.Incident(ctx, i.ID)
}
