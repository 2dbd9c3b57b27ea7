package pe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/windows"
)

// System is the machine under Windows PE.
type System interface {
	// LoadDriver loads a driver by its .inf file, which may make disks and the medium itself appear.
	LoadDriver(ctx context.Context, inf string) error
	// Drives lists the roots of all volumes that have a drive letter, X: with Windows PE itself excepted.
	Drives() []string
	// Firmware returns the SMBIOS table as GetSystemFirmwareTable gives it, nil where there is none.
	Firmware() []byte
	// BootEdit runs bcdedit.exe, which under Windows PE works on the boot configuration that the firmware starts this
	// machine with. Err is only for what could not be run at all.
	BootEdit(ctx context.Context, args ...string) (output []string, exit int, err error)
	// LoadHive loads a registry file of an installation into the registry of Windows PE.
	LoadHive(file string) (Hive, error)
}

// Options say where things are and whom to talk to.
type Options struct {
	Base   string // folder of the program with settings, playbooks and drivers
	System System
	In     io.Reader // a person who chooses from the menu
	Out    io.Writer
	Now    func() time.Time
}

// ErrNoMedium means that the medium the machine was started from cannot be found or written any more.
var ErrNoMedium = errors.New("the medium is not there any more, or cannot be written")

type session struct {
	Options
	stick    string // root of the medium, "" if it was not found
	network  bool   // started over the network, so there may be no stick
	keys     string // where sealed keys were found
	medium   *aboard.Medium
	settings *aboard.Settings
	books    []playbook.Playbook
	result   aboard.Result
}

// Run does the work on this machine and returns its result, which was also written to the medium if there is one. Where
// that was not possible, the result comes with an error that wraps [ErrNoMedium]. A result with outcome failed is no error.
func Run(ctx context.Context, o Options) (*aboard.Result, *aboard.Settings, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &session{Options: o}
	s.result = aboard.Result{Version: 1, Started: o.Now().UTC().Truncate(time.Second), Machine: parseSMBIOS(o.System.Firmware())}
	if err := s.prepare(ctx); err != nil {
		return nil, nil, err
	}
	if err := s.repair(ctx); err != nil {
		return nil, s.settings, err
	}
	s.conclude()
	return &s.result, s.settings, s.leave()
}

// say writes a line to the screen; there is nobody to tell if that fails.
func (s *session) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.Out, format+"\r\n", args...)
}

// prepare loads the drivers, finds the medium, and reads settings and playbooks, those on the medium first.
func (s *session) prepare(ctx context.Context) error {
	loaded := s.loadDrivers(ctx, s.Base)
	own, err := aboard.ReadMedium(os.DirFS(filepath.Dir(s.Base))) // Base is X:\fleetmend
	if err != nil && !errors.Is(err, aboard.ErrNoMedium) {
		return fmt.Errorf("read the description of this medium: %w", err)
	}
	s.findStick(own)
	places := []string{s.Base}
	if s.stick != "" {
		onStick := filepath.Join(s.stick, aboard.Dir)
		places = []string{onStick, s.Base}
		if s.loadDrivers(ctx, onStick) {
			loaded = true
		}
	}
	if loaded {
		s.say("Drivers were loaded.")
	}
	if err := s.readSettings(places); err != nil {
		return err
	}
	for _, dir := range places {
		if s.books, err = aboard.ReadPlaybooks(os.DirFS(dir)); err != nil {
			return fmt.Errorf("in %s: %w", dir, err)
		}
		if len(s.books) > 0 {
			break
		}
	}
	if len(s.books) == 0 {
		return errors.New("there is no playbook on the medium")
	}
	s.result.Run = s.settings.Run
	if s.medium != nil {
		s.result.Medium = s.medium.ID
	}
	return nil
}

// readSettings looks for settings and sealed keys: given to this machine over the network, on the stick, inside the image.
func (s *session) readSettings(places []string) error {
	given := filepath.Join(filepath.Dir(s.Base), filepath.FromSlash(aboard.GivenDir))
	if _, err := os.Stat(filepath.Join(given, aboard.NetworkFile)); err == nil {
		s.network = true
		places = append([]string{given}, places...)
	}
	for _, dir := range places {
		settings, err := aboard.ReadSettings(os.DirFS(dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the settings in %s: %w", dir, err)
		}
		s.settings = settings
		break
	}
	for _, dir := range places {
		name := filepath.Join(dir, aboard.KeysFile)
		if st, err := os.Stat(name); err == nil && st.Mode().IsRegular() {
			s.keys = name
			break
		}
	}
	if s.settings == nil {
		return hint.Wrap(fmt.Errorf("there are no settings in %s", strings.Join(places, " or ")), "build the medium again with `fleetmend media build`")
	}
	return nil
}

// findStick looks for the medium with the ID of the image that runs, or any fleetmend medium.
func (s *session) findStick(own *aboard.Medium) {
	s.medium = own
	for _, root := range s.System.Drives() {
		m, err := aboard.ReadMedium(os.DirFS(root))
		if err != nil {
			continue
		}
		same := own != nil && m.ID == own.ID
		if s.stick == "" || same {
			s.stick, s.medium = root, m
		}
		if same {
			return
		}
	}
}

func (s *session) loadDrivers(ctx context.Context, base string) (loaded bool) {
	root := filepath.Join(base, aboard.DriversDir)
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error { //nolint:errcheck // a folder that cannot be read has no drivers
		if err != nil || d.IsDir() || !strings.EqualFold(filepath.Ext(path), ".inf") {
			return nil
		}
		if err := s.System.LoadDriver(ctx, path); err != nil {
			s.say("The driver %s was not loaded: %v", filepath.Base(path), err)
			return nil
		}
		loaded = true
		return nil
	})
	return loaded
}

// repair looks at every volume and runs the playbooks on each Windows.
func (s *session) repair(ctx context.Context) error {
	books := s.books
	asked := false
	for _, root := range s.System.Drives() {
		if root == s.stick {
			continue
		}
		w, note := openWindows(root)
		s.result.Volumes = append(s.result.Volumes, aboard.Volume{Path: root, Windows: w != nil, Note: note})
		if w == nil {
			continue
		}
		err := func() error {
			defer w.close()
			if name := w.computerName(); name != "" && s.result.Machine.Name == "" {
				s.result.Machine.Name = name
			}
			s.say("Windows found on %s%s.", root, called(s.result.Machine.Name))
			if s.settings.Choose == aboard.Menu && len(s.books) > 1 && !asked {
				var err error
				if books, err = s.choose(); err != nil {
					return err
				}
				asked = true
			}
			for _, p := range books {
				s.do(ctx, root, w, p)
			}
			return ctx.Err()
		}()
		if err != nil {
			return err
		}
	}
	return nil
}

func called(name string) string {
	if name == "" {
		return ""
	}
	return ", computer name " + name
}

func (s *session) do(ctx context.Context, root string, w *offline, p playbook.Playbook) {
	p.Reboot = playbook.RebootNever // the machine restarts when all is done, and Windows is not running now
	request := agent.Request{Run: s.settings.Run, Nonce: agent.Nonce(), Mode: agent.Fix, Playbook: p}
	if len(s.books) > 1 { // the record of a run on the machine is about one playbook
		request.Run = runOf(s.settings.Run, p.Name)
	}
	hives := &registry{windows: w, system: s.System}
	r := windows.New(windows.Parts{Files: w.files, Registry: hives, System: w, Tools: tools{s.System}, Now: s.Now, BootEntry: "{default}"}).Do(ctx, request)
	if err := hives.close(); err != nil { // what was changed is on the disk nevertheless
		s.say("  %s: %v", p.Name, err)
		r.Message = strings.TrimPrefix(r.Message+"; "+err.Error(), "; ")
	}
	s.result.Playbooks = append(s.result.Playbooks, aboard.Done{Playbook: p.Name, Volume: root, Result: r})
	switch {
	case r.Outcome == agent.Fixed && r.Repeated:
		s.say("  %s: was fixed before, on this run.", p.Name)
	case r.Outcome == agent.Fixed:
		s.say("  %s: fixed, %d changed.", p.Name, r.Changed)
	case r.Outcome == agent.Clean:
		s.say("  %s: nothing to do, this machine is not affected.", p.Name)
	default:
		s.say("  %s: FAILED: %s", p.Name, r.Message)
	}
}

// runOf is the ID under which one of several playbooks of a run keeps its record on the machine.
func runOf(run, name string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	id := run + "-" + clean
	return id[:min(len(id), 64)]
}

// choose asks a person which playbooks to run.
func (s *session) choose() ([]playbook.Playbook, error) {
	s.say("")
	for i, p := range s.books {
		s.say("  %d  %s  %s", i+1, p.Name, p.Summary)
	}
	s.say("  a  all that apply to this machine")
	in := bufio.NewReader(s.In)
	for {
		_, _ = fmt.Fprint(s.Out, "Which one? ")
		line, err := in.ReadString('\n')
		word := strings.TrimSpace(line)
		if n, bad := strconv.Atoi(word); bad == nil && n >= 1 && n <= len(s.books) {
			return s.books[n-1 : n], nil
		}
		if strings.EqualFold(word, "a") {
			return s.books, nil
		}
		if err != nil {
			return nil, fmt.Errorf("nobody chose a playbook: %w", err)
		}
		s.say("Type a number from 1 to %d, or a.", len(s.books))
	}
}

// conclude puts the outcomes together and into words.
func (s *session) conclude() {
	r := &s.result
	r.Ended = s.Now().UTC().Truncate(time.Second)
	var fixed, failed []string
	for _, d := range r.Playbooks {
		switch d.Result.Outcome {
		case agent.Fixed:
			fixed = append(fixed, d.Playbook)
		case agent.Clean:
		default:
			failed = append(failed, d.Playbook+" on "+d.Volume+": "+d.Result.Message)
		}
	}
	switch {
	case len(r.Playbooks) == 0:
		r.Outcome, r.Message = agent.Failed, noWindows(r.Volumes, s.keys)
	case len(failed) > 0:
		r.Outcome, r.Message = agent.Failed, "Not repaired. "+strings.Join(failed, "; ")
	case len(fixed) > 0:
		r.Outcome, r.Message = agent.Fixed, "Repaired: "+strings.Join(fixed, ", ")+"."
	default:
		r.Outcome, r.Message = agent.Clean, "Nothing to repair: this machine is not affected."
	}
}

func noWindows(volumes []aboard.Volume, keys string) string {
	var notes []string
	for _, v := range volumes {
		if v.Note != "" {
			notes = append(notes, v.Path+" "+v.Note)
		}
	}
	if len(notes) == 0 {
		return "Not repaired. No Windows was found on any disk: a driver for the disk controller may be missing on the medium."
	}
	text := "Not repaired. No Windows that can be read was found: " + strings.Join(notes, "; ") + "."
	if keys != "" {
		text += " Sealed recovery keys are in " + keys + "."
	}
	return text
}

// leave writes the result to the medium: whole under its name, or not at all. A machine that was started over the network
// has none.
func (s *session) leave() error {
	if s.stick == "" && s.network {
		s.say("This machine was started over the network without a stick: no result is kept.")
		return nil
	}
	if s.stick == "" {
		return hint.Wrap(ErrNoMedium, "the result is on this screen only; leave the stick in until the machine restarts")
	}
	dir := filepath.Join(s.stick, aboard.Dir, aboard.ResultsDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("%w: %v", ErrNoMedium, err)
	}
	if err := writeWhole(filepath.Join(dir, s.result.Machine.FileName()), s.result); err != nil {
		return fmt.Errorf("%w: %v", ErrNoMedium, err)
	}
	return nil
}

// Words are the last lines on the screen.
func Words(r *aboard.Result, settings *aboard.Settings) []string {
	head := map[string]string{agent.Fixed: "DONE", agent.Clean: "DONE", agent.Failed: "NOT DONE"}[r.Outcome]
	lines := []string{head + called(r.Machine.Name), r.Message}
	if settings != nil && settings.Message != "" {
		lines = append(lines, settings.Message)
	}
	return slices.DeleteFunc(lines, func(l string) bool { return l == "" })
}
