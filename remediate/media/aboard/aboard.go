// Package aboard is what lies on a boot medium besides Windows PE: its description, its settings, its playbooks, and the
// results that the machines leave there.
//
// [ReadMedium] recognises a medium, [ReadResults] gives what was left on it. The program on the medium and the
// administrator's program both stand on this package, so it is small: it knows no WIM, no disk and no network.
package aboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// Where things are. The folder Dir is at the root of the stick or disc, and again at the root of the image that runs;
// what lies on the stick wins.
const (
	Dir          = "fleetmend"
	MediumFile   = "medium.json"   // Medium
	SettingsFile = "settings.json" // Settings
	PlaybooksDir = "playbooks"     // *.json as Playbook, or *.yaml without required parameters
	DriversDir   = "drivers"       // one folder per driver
	ResultsDir   = "results"       // one Result per machine, on the stick only
	KeysFile     = "keys.age"      // sealed bundle of recovery keys, never inside the image
	Program      = "fleetmend-pe.exe"
	SumsFile     = "sums.sha256" // at the root of the medium, in the format of sha256sum
)

// Where things are when a machine starts over the network: wimboot shows every file that it was given in System32 of the
// image, so settings and keys of one machine lie there, and win over those on a stick.
const (
	GivenDir    = "Windows/System32"
	NetworkFile = "fleetmend-network.json" // says that there may be no stick
)

// Medium describes a medium. It is the same on the stick and inside its image, and the same input gives the same bytes.
type Medium struct {
	Version    int       `json:"v"`  // 1
	ID         string    `json:"id"` // 16 hexadecimal digits, made from everything aboard
	Made       time.Time `json:"made,omitzero"`
	Run        string    `json:"run,omitempty"` // of the journal, whose machines this is for
	Source     string    `json:"source"`        // file and image that Windows PE came from
	Arch       string    `json:"arch"`          // amd64 or arm64
	SecureBoot string    `json:"secure_boot"`   // 2011, 2023 or both: whose boot files were taken
	Playbooks  []Item    `json:"playbooks"`
	Drivers    []string  `json:"drivers,omitempty"`
	Keys       *Keys     `json:"keys,omitempty"`
}

// Item is a playbook aboard.
type Item struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	File   string `json:"file"` // below Dir
}

// Keys says what a key bundle holds, without a key.
type Keys struct {
	Count    int       `json:"count"`
	Machines int       `json:"machines"`
	Expires  time.Time `json:"expires"`
}

// Settings are what a site wants of the program on the medium.
type Settings struct {
	Version   int        `json:"v"` // 1
	Run       string     `json:"run"`
	Choose    string     `json:"choose"` // auto: by detection; menu: a person chooses
	NoReboot  bool       `json:"no_reboot,omitempty"`
	Site      string     `json:"site,omitempty"`
	Message   string     `json:"message,omitempty"` // shown at the end: whom to call
	Collector *Collector `json:"collector,omitempty"`
}

// The ways to choose among several playbooks.
const (
	Auto = "auto"
	Menu = "menu"
)

// Collector is where results may be reported to besides the stick.
type Collector struct {
	Address string `json:"address"` // https://host:port
	CA      string `json:"ca"`      // PEM
	Token   string `json:"token"`   // good for one use; whoever holds the medium can read it
}

// Result is what happened to one machine, as the program on the medium tells it.
type Result struct {
	Version   int       `json:"v"` // 1
	Run       string    `json:"run"`
	Medium    string    `json:"medium"`
	Machine   Machine   `json:"machine"`
	Started   time.Time `json:"started"` // by the clock of the machine, which may be wrong
	Ended     time.Time `json:"ended"`
	Outcome   string    `json:"outcome"` // clean, fixed or failed; of all playbooks together
	Message   string    `json:"message"` // how it ended, in plain words
	Volumes   []Volume  `json:"volumes"`
	Playbooks []Done    `json:"playbooks"`
}

// Machine is how a machine is recognised again; what is not known is empty.
type Machine struct {
	Name         string `json:"name"`   // computer name of the Windows on its disk, upper case
	UUID         string `json:"uuid"`   // of SMBIOS, lower case
	Serial       string `json:"serial"` //
	Manufacturer string `json:"manufacturer"`
	Model        string `json:"model"`
}

// Volume is a disk volume that was looked at.
type Volume struct {
	Path    string `json:"path"` // D:\
	Windows bool   `json:"windows"`
	Note    string `json:"note,omitempty"` // why it could not be used
}

// Done is what one playbook did on one Windows.
type Done struct {
	Playbook string       `json:"playbook"`
	Volume   string       `json:"volume"`
	Result   agent.Result `json:"result"`
}

// ErrNoMedium means that there is no description of a medium.
var ErrNoMedium = errors.New("not a fleetmend medium")

const maxText = 8 << 20

// ReadMedium reads the description from the root of a medium. The error wraps [ErrNoMedium] where there is none.
func ReadMedium(root fs.FS) (*Medium, error) {
	var m Medium
	if err := readJSON(root, path.Join(Dir, MediumFile), &m); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: it has no %s/%s", ErrNoMedium, Dir, MediumFile)
		}
		return nil, err
	}
	if m.Version != 1 {
		return nil, fmt.Errorf("%s/%s has version %d, this program knows 1", Dir, MediumFile, m.Version)
	}
	return &m, nil
}

// ReadSettings reads the settings of a folder [Dir].
func ReadSettings(dir fs.FS) (*Settings, error) {
	var s Settings
	if err := readJSON(dir, SettingsFile, &s); err != nil {
		return nil, err
	}
	switch {
	case s.Version != 1:
		return nil, fmt.Errorf("%s has version %d, this program knows 1", SettingsFile, s.Version)
	case s.Choose != Auto && s.Choose != Menu:
		return nil, fmt.Errorf("%s: choose is %.40q; it must be auto or menu", SettingsFile, s.Choose)
	case !agent.ValidRun(s.Run):
		return nil, fmt.Errorf("%s: run %.80q is no run ID", SettingsFile, s.Run)
	}
	return &s, nil
}

// ReadPlaybooks reads the playbooks of a folder [Dir], in the order of their files' names: what the builder wrote, and
// YAML files that were added by hand. None at all is no error.
func ReadPlaybooks(dir fs.FS) ([]playbook.Playbook, error) {
	entries, err := fs.ReadDir(dir, PlaybooksDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read playbooks: %w", err)
	}
	var list []playbook.Playbook
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name := path.Join(PlaybooksDir, e.Name())
		var p playbook.Playbook
		switch strings.ToLower(path.Ext(name)) {
		case ".json":
			p, err = wirePlaybook(dir, name)
		case ".yaml", ".yml":
			p, err = writtenPlaybook(dir, name)
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read playbook %s: %w", name, err)
		}
		list = append(list, p)
	}
	return list, nil
}

// wirePlaybook reads what the builder wrote: the form that crosses the wire to an agent, parameters set.
func wirePlaybook(dir fs.FS, name string) (playbook.Playbook, error) {
	text, err := readFile(dir, name)
	if err != nil {
		return playbook.Playbook{}, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var p playbook.Playbook
	if err := d.Decode(&p); err != nil {
		return playbook.Playbook{}, err
	}
	if p.Name == "" || len(p.Fix) == 0 {
		return playbook.Playbook{}, errors.New("it has no name or nothing to do")
	}
	return p, nil
}

func writtenPlaybook(dir fs.FS, name string) (playbook.Playbook, error) {
	text, err := readFile(dir, name)
	if err != nil {
		return playbook.Playbook{}, err
	}
	source, err := playbook.Parse(name, text)
	if err != nil {
		return playbook.Playbook{}, err
	}
	return source.Bind(nil)
}

// File is a result with the name of its file.
type File struct {
	Name   string
	Raw    []byte
	Result Result
	Err    error // why it cannot be used; Result is then empty
}

// ReadResults reads all results on a medium, in the order of their names. A file that is damaged is in the list with its
// error. A medium without results gives an empty list.
func ReadResults(root fs.FS) ([]File, error) {
	dir := path.Join(Dir, ResultsDir)
	entries, err := fs.ReadDir(root, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	var files []File
	for _, e := range entries {
		if e.IsDir() || !strings.EqualFold(path.Ext(e.Name()), ".json") || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		f := File{Name: e.Name()}
		if f.Raw, f.Err = readFile(root, path.Join(dir, e.Name())); f.Err == nil {
			f.Result, f.Err = ParseResult(f.Raw)
		}
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return files, nil
}

// ParseResult reads one result and checks what others rely on.
func ParseResult(raw []byte) (Result, error) {
	var r Result
	if err := json.Unmarshal(raw, &r); err != nil {
		return Result{}, fmt.Errorf("the file is cut short or damaged: %w", err)
	}
	switch {
	case r.Version != 1:
		return Result{}, fmt.Errorf("the file has version %d, this program knows 1", r.Version)
	case !agent.ValidRun(r.Run):
		return Result{}, fmt.Errorf("%.80q is no run ID", r.Run)
	case r.Outcome != agent.Clean && r.Outcome != agent.Fixed && r.Outcome != agent.Failed:
		return Result{}, fmt.Errorf("%.40q is no outcome", r.Outcome)
	}
	return r, nil
}

// FileName is the name of a machine's result on the medium: its name and UUID, as far as they are known.
func (m Machine) FileName() string {
	var parts []string
	for _, s := range []string{m.Name, strings.ReplaceAll(m.UUID, "-", "")} {
		s = strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
				return r
			}
			return '_'
		}, s)
		if s != "" {
			parts = append(parts, s[:min(len(s), 40)])
		}
	}
	if len(parts) == 0 {
		parts = []string{"unknown-machine"}
	}
	return strings.Join(parts, "-") + ".json"
}

func readJSON(fsys fs.FS, name string, v any) error {
	raw, err := readFile(fsys, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

func readFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	raw, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(raw) > maxText {
		return nil, fmt.Errorf("read %s: it is larger than %d bytes", name, maxText)
	}
	return raw, nil
}
