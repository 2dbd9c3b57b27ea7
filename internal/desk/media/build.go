package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/connect"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
	"github.com/fleetmend/fleetmend/remediate/media/carried"
	"github.com/fleetmend/fleetmend/remediate/media/compile"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// BuildRequest says what is built. Playbooks or Run must be given.
type BuildRequest struct {
	Spec      media.Spec        // source, format and the like; playbooks, keys, collector and program are filled in
	Out       string            // file to write; empty: fleetmend.img or fleetmend.iso
	Playbooks []string          // by name or file
	Set       map[string]string // parameters of the playbooks
	Run       string            // that the medium belongs to: its playbook, its machines
	Next      bool              // for the machines of the incident whose next step is a medium, in a run of its own
	Incident  string            // of Next; empty: the open one
	Keys      KeysRequest
	Collector CollectorRequest
}

// CollectorRequest says where machines may report to.
type CollectorRequest struct {
	Address   string // https://host:port; empty: nowhere
	CA        string // PEM file
	TokenFile string
}

// Built is a medium that was written.
type Built struct {
	File    string `json:"file"`
	Run     string `json:"run,omitempty"` // with Next: what its results come home into
	Awaited int    `json:"awaited,omitempty"`

	LeftOut []string `json:"left_out,omitempty"` // machines of the run that are not there any more: no key of theirs goes along
	media.Report
}

// Build makes a medium and writes it to a file. The keys of the machines that the run could not repair, or of those named, go
// along; each that comes out of the vault is in the audit before. A [NothingError] says that no machine needs one, or that no
// key of theirs is there.
func Build(ctx context.Context, d *desk.Desk, r BuildRequest) (Built, error) {
	s := r.Spec
	if r.Out == "" {
		r.Out = map[media.Format]string{media.USB: "fleetmend.img", media.ISO: "fleetmend.iso"}[s.Format]
	}
	next, err := r.next(ctx, d, &s)
	if err != nil {
		return Built{}, err
	}
	wanted, absent, err := r.machines(ctx, d, &s)
	if err != nil {
		return Built{}, err
	}
	if next != nil {
		for _, m := range next.Machines {
			wanted = append(wanted, wantedOf(m))
		}
	}
	if err := r.playbooks(&s); err != nil {
		return Built{}, err
	}
	if s.Keys, s.Passphrase, err = r.Keys.bundle(ctx, d, wanted, s.Time); err != nil {
		return Built{}, err
	}
	if s.Settings.Collector, err = r.Collector.settings(d); err != nil {
		return Built{}, err
	}
	folder, err := os.MkdirTemp("", "fleetmend-pe-")
	if err != nil {
		return Built{}, err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	s.FindAgent = func(ctx context.Context, arch string) (string, error) { return Program(ctx, d, arch, folder) }
	report, err := media.Build(ctx, s, r.Out)
	if err != nil || next == nil {
		return Built{File: r.Out, LeftOut: absent, Report: report}, err
	}
	err = cases.Await(ctx, d, s.Settings.Run, next.Incident, s.Playbooks[0], next.Machines)
	return Built{r.Out, s.Settings.Run, len(next.Machines), absent, report}, err
}

// wanted is a machine that a medium is for. One that was only named may be unknown to the inventory.
type wanted struct{ id, name string }

func wantedOf(m inventory.Machine) wanted { return wanted{m.ID, m.Name} }

// next finds the machines whose next step is a medium, with the playbook of their incident and the ID of the run that is recorded
// when the medium was built; nil where it is not asked for.
func (r BuildRequest) next(ctx context.Context, d *desk.Desk, s *media.Spec) (*cases.OnMedium, error) {
	if !r.Next {
		return nil, nil
	}
	if r.Run != "" || len(r.Keys.Machines) > 0 {
		return nil, hint.Mistake(errors.New("--next says which machines, and so do --run and --machines"), "give one of them")
	}
	next, err := cases.ForMedium(ctx, d, r.Incident)
	if err != nil {
		return nil, err
	}
	if len(next.Machines) == 0 {
		return nil, hint.Wrap(&NothingError{fmt.Sprintf("no machine of incident %s needs a boot medium next", next.Incident.ID)}, "see `fleetmend incident status "+next.Incident.ID+"`")
	}
	s.Settings.Run = journal.NewRunID()
	if len(r.Playbooks) == 0 {
		s.Playbooks = append(s.Playbooks, next.Playbook)
	}
	return next, nil
}

// machines are those named, or those of the run that a medium may still help, without the absent ones, which are told; the
// playbook of the run is taken where none is named.
func (r BuildRequest) machines(ctx context.Context, d *desk.Desk, s *media.Spec) (list []wanted, absent []string, err error) {
	for _, name := range r.Keys.Machines {
		list = append(list, wanted{name: name})
	}
	if r.Run == "" {
		return list, nil, nil
	}
	found, err := runs.Find(ctx, d, r.Run)
	if err != nil {
		return nil, nil, err
	}
	s.Settings.Run = found.ID
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, nil, err
	}
	if len(r.Playbooks) == 0 {
		p, err := j.Plan(ctx, found.ID)
		if err != nil {
			return nil, nil, err
		}
		s.Playbooks = append(s.Playbooks, p.Playbook)
	}
	machines, err := j.Machines(ctx, found.ID)
	if err != nil || len(list) > 0 {
		return list, nil, err
	}
	for _, m := range machines {
		switch m.Outcome {
		case journal.Fixed, journal.Clean, journal.Undone:
			continue
		}
		why, err := absence(ctx, d, m.Target.ID)
		switch {
		case err != nil:
			return nil, nil, err
		case why != "":
			absent = append(absent, m.Target.Name+": "+why.Words())
		default:
			list = append(list, wanted{m.Target.ID, m.Target.Name})
		}
	}
	if len(list) == 0 {
		return nil, nil, hint.Wrap(&NothingError{fmt.Sprintf("run %s has no machine that still needs a medium", found.ID)}, "see `fleetmend runs show "+found.ID+"`")
	}
	return list, absent, nil
}

// absence is that of a machine of the inventory; one that it does not know is as present as whoever named it says.
func absence(ctx context.Context, d *desk.Desk, id string) (inventory.Absence, error) {
	store, err := d.Inventory(ctx)
	if err != nil {
		return "", err
	}
	m, err := store.Machine(ctx, id)
	if unknown := (*inventory.UnknownMachinesError)(nil); errors.As(err, &unknown) {
		return "", nil
	}
	return m.Absence(), err
}

// playbooks finds those that are named.
func (r BuildRequest) playbooks(s *media.Spec) error {
	if len(s.Playbooks) == 0 && len(r.Playbooks) == 0 {
		return hint.Mistake(errors.New("say what the medium is to do: --playbook or --run"), "`fleetmend playbook list` shows the built-in ones")
	}
	for _, name := range r.Playbooks {
		source, err := playbook.Find(name)
		if err != nil {
			return err
		}
		values := map[string]string{}
		for k, v := range r.Set {
			if _, ok := source.Playbook.Params[k]; ok || len(r.Playbooks) == 1 {
				values[k] = v
			}
		}
		p, err := source.Bind(values)
		if err != nil {
			return hint.Mistake(err, "see `%s`", commandline.Line("playbook", "show", name))
		}
		s.Playbooks = append(s.Playbooks, p)
	}
	return nil
}

func (c CollectorRequest) settings(d *desk.Desk) (*aboard.Collector, error) {
	if c.Address == "" {
		return nil, nil
	}
	if !strings.HasPrefix(c.Address, "https://") {
		return nil, hint.Mistake(fmt.Errorf("--collector %q: only https:// is spoken", c.Address), "give https://host:port")
	}
	if c.CA == "" || c.TokenFile == "" {
		return nil, hint.Mistake(errors.New("--collector needs --collector-ca and --collector-token-file"), "see `fleetmend media build --help`")
	}
	ca, err := textfile.Read(c.CA, connect.MaxCA)
	if err != nil {
		return nil, err
	}
	token, err := d.Connect.Secret(c.TokenFile, "--collector-token-file names a file with the token in its first line")
	if err != nil {
		return nil, err
	}
	return &aboard.Collector{Address: c.Address, CA: ca.Content, Token: token.Reveal()}, nil
}

// Program gives the program for a medium in a folder: that which this build carries, or it is compiled from a checkout.
func Program(ctx context.Context, d *desk.Desk, arch, folder string) (string, error) {
	out := filepath.Join(folder, "fleetmend-pe.exe")
	err := textfile.Write(out, textfile.Shared, func(w io.Writer) error { return carried.Program(w, arch) })
	if !errors.Is(err, carried.ErrNone) {
		return out, err
	}
	for _, find := range []func() (string, error){os.Executable, os.Getwd} { // bin/fleetmend of a checkout, then where we are
		place, wrong := find()
		if wrong != nil {
			continue
		}
		if checkout, ok := compile.Checkout(place); ok {
			d.Tell(fmt.Sprintf("compiling fleetmend-pe for %s from %s", arch, checkout))
			return out, compile.Program(ctx, checkout, arch, out)
		}
	}
	return "", hint.Wrap(err, "a release carries it; else give --agent PATH, or work in a source checkout with Go installed")
}
