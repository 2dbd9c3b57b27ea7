package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/fleetmend/fleetmend/internal/connect"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
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
	File string `json:"file"`
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
	wanted, err := r.machines(ctx, d, &s)
	if err != nil {
		return Built{}, err
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
	return Built{r.Out, report}, err
}

// wanted is a machine that a medium is for. One that was only named may be unknown to the inventory.
type wanted struct{ id, name string }

// machines are those named, or those of the run that a medium may still help; the playbook of the run is taken where none is named.
func (r BuildRequest) machines(ctx context.Context, d *desk.Desk, s *media.Spec) (list []wanted, err error) {
	for _, name := range r.Keys.Machines {
		list = append(list, wanted{name: name})
	}
	if r.Run == "" {
		return list, nil
	}
	found, err := runs.Find(ctx, d, r.Run)
	if err != nil {
		return nil, err
	}
	s.Settings.Run = found.ID
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	if len(r.Playbooks) == 0 {
		p, err := j.Plan(ctx, found.ID)
		if err != nil {
			return nil, err
		}
		s.Playbooks = append(s.Playbooks, p.Playbook)
	}
	machines, err := j.Machines(ctx, found.ID)
	if err != nil || len(list) > 0 {
		return list, err
	}
	for _, m := range machines {
		switch m.Outcome {
		case journal.Fixed, journal.Clean, journal.Undone:
		default:
			list = append(list, wanted{m.Target.ID, m.Target.Name})
		}
	}
	if len(list) == 0 {
		return nil, hint.Wrap(&NothingError{fmt.Sprintf("run %s has no machine that still needs a medium", found.ID)}, "see fleetmend runs show "+found.ID)
	}
	return list, nil
}

// playbooks finds those that are named.
func (r BuildRequest) playbooks(s *media.Spec) error {
	if len(s.Playbooks) == 0 && len(r.Playbooks) == 0 {
		return hint.Mistake(errors.New("say what the medium is to do: --playbook or --run"), "fleetmend playbook list shows the built-in ones")
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
			return hint.Mistake(err, "see fleetmend playbook show %s", name)
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
		return nil, hint.Mistake(errors.New("--collector needs --collector-ca and --collector-token-file"), "see fleetmend media build --help")
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
