package machine

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode/utf16"

	"github.com/fleetmend/fleetmend/internal/simfleet/wsman"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/agent/conformance"
	"github.com/fleetmend/fleetmend/remediate/windows"
)

// Lab is a real PowerShell that answers the agent's command line in the place of the Go interpreter, for any number of
// machines. The machine's disk, registry, services and boot entry are laid out in a folder before each request, with the
// stand-ins of remediate/agent/conformance around them, and taken back afterwards, however the process ended.
type Lab struct {
	path  string
	dir   string
	turns chan struct{}
}

// maxShells is how many PowerShells run at a time; each takes a hundred megabytes.
const maxShells = 4

// NewLab makes a folder for machines and the stand-ins. Close it when no machine runs any more.
func NewLab(powershell string) (*Lab, error) {
	path, err := exec.LookPath(powershell)
	if err != nil {
		return nil, fmt.Errorf("find PowerShell: %w", err)
	}
	dir, err := os.MkdirTemp("", "fleetmend-sim-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for simulated machines: %w", err)
	}
	l := &Lab{path: path, dir: dir, turns: make(chan struct{}, maxShells)}
	if err := os.CopyFS(filepath.Join(dir, "stand-ins"), conformance.StandIns); err != nil {
		return nil, errors.Join(fmt.Errorf("lay out the stand-ins: %w", err), l.Close())
	}
	return l, nil
}

// Close removes everything that the machines left.
func (l *Lab) Close() error {
	if err := os.RemoveAll(l.dir); err != nil {
		return fmt.Errorf("remove simulated machines: %w", err)
	}
	return nil
}

// layout is a machine as it lies in a lab's folder.
type layout struct {
	lab     *Lab
	scratch string            // the folder that is C:; the rest lies beside it
	known   map[string]*entry // what of the disk is laid out
	once    sync.Once
}

// inLab answers the agent's command line by the lab's PowerShell. It begins with the bootstrap that came over the wire.
func (m *Machine) inLab(ctx context.Context, c wsman.Command) (exit uint32) {
	select {
	case m.lab.lab.turns <- struct{}{}:
		defer func() { <-m.lab.lab.turns }()
	case <-ctx.Done():
		return 1
	}
	m.acting.Lock()
	defer m.acting.Unlock()
	bootstrap, err := encodedCommand(c.Line)
	if err != nil {
		return fault(c, err)
	}
	before := m.touched()
	if err := m.layOut(); err != nil {
		return fault(c, err)
	}
	if !m.chatter(c.Stdout) {
		return 1
	}
	prelude := fmt.Sprintf(". '%s' -Scratch '%s' -Constrained:$%v\n", filepath.Join(m.lab.lab.dir, "stand-ins", "windows.ps1"), m.lab.scratch, m.spec.Seed%2 == 1)
	if m.spec.Seed%2 == 1 {
		prelude += "$ExecutionContext.SessionState.LanguageMode = 'ConstrainedLanguage'\n"
	}
	command := exec.CommandContext(ctx, m.lab.lab.path, "-NoLogo", "-NoProfile", "-NonInteractive", "-EncodedCommand", encode(prelude+bootstrap))
	command.Dir = m.lab.scratch
	command.Env = append(command.Environ(), "POWERSHELL_TELEMETRY_OPTOUT=1", "POWERSHELL_UPDATECHECK=Off")
	if m.spec.Narrow {
		command.Env = append(command.Env, "PROCESSOR_ARCHITEW6432=AMD64")
	}
	command.Stdin, command.Stdout, command.Stderr = io.LimitReader(c.Stdin, maxEnvelope), crlf{c.Stdout}, crlf{c.Stderr}
	command.WaitDelay = time.Second // what it has started may hold its output open
	ran := command.Run()
	if err := m.takeBack(); err != nil {
		return fault(c, err)
	}
	m.answers.Add(1)
	if m.touched() != before {
		m.changes.Add(1)
	}
	var ended *exec.ExitError
	switch {
	case ran == nil:
		return 0
	case errors.As(ran, &ended) && ended.ExitCode() >= 0:
		return uint32(ended.ExitCode())
	}
	return 1
}

func fault(c wsman.Command, err error) uint32 {
	_, _ = fmt.Fprintf(c.Stderr, "the simulated machine: %v\r\n", err)
	return 1
}

// encodedCommand is the script of a command line that ends with -EncodedCommand SCRIPT.
func encodedCommand(line string) (string, error) {
	words := strings.Fields(line)
	if len(words) < 2 || words[len(words)-2] != "-EncodedCommand" {
		return "", errors.New("the command line has no -EncodedCommand")
	}
	raw, err := base64.StdEncoding.DecodeString(words[len(words)-1])
	if err != nil {
		return "", fmt.Errorf("read the command line: %w", err)
	}
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(raw[2*i:])
	}
	return string(utf16.Decode(units)), nil
}

func encode(script string) string {
	var raw []byte
	for _, unit := range utf16.Encode([]rune(script)) {
		raw = binary.LittleEndian.AppendUint16(raw, unit)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// crlf ends lines as Windows does.
type crlf struct{ to io.Writer }

func (w crlf) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.to, strings.ReplaceAll(string(p), "\n", "\r\n")); err != nil {
		return 0, err //nolint:wrapcheck // a writer hands on what its writer says
	}
	return len(p), nil
}

// isAgent reports whether a command line is the agent's.
func isAgent(line string) bool {
	return strings.TrimSpace(line) == agent.CommandLine() || isNamed(line)
}

// isNamed reports whether it is the one that starts the agent that the machine has kept.
func isNamed(line string) bool { return strings.TrimSpace(line) == agent.KeptCommandLine() }

// --- between the machine and its folder -----------------------------------------------------------------------------------

const ownTools = `c:\windows\system32\`

// place is where a file of the machine lies in the folder.
func (l *layout) place(path string) string {
	return filepath.Join(l.scratch, filepath.FromSlash(strings.ReplaceAll(path[len(`C:\`):], `\`, "/")))
}

// layOut brings the folder to what the machine is.
func (m *Machine) layOut() (err error) {
	l := m.lab
	l.once.Do(func() { err = l.make(m.spec.Name) })
	if err != nil {
		return err
	}
	m.disk.mu.Lock()
	files, folders := make(map[string]*entry, len(m.disk.files)), make([]string, 0, len(m.disk.folders))
	for folded, e := range m.disk.files {
		files[folded] = e
	}
	for _, folder := range m.disk.folders {
		folders = append(folders, folder)
	}
	m.disk.mu.Unlock()
	for _, folder := range folders {
		if len(folder) > len(`C:\`) {
			err = errors.Join(err, os.MkdirAll(l.place(folder), 0o700))
		}
	}
	var inUse []string
	for folded, e := range files {
		if e.inUse {
			inUse = append(inUse, e.path)
		}
		if l.known[folded] == e {
			continue
		}
		l.known[folded] = e
		err = errors.Join(err, os.WriteFile(l.place(e.path), e.content, 0o600), os.Chtimes(l.place(e.path), e.modified, e.modified))
	}
	for folded, e := range l.known {
		if files[folded] == nil {
			delete(l.known, folded)
			err = errors.Join(err, os.Remove(l.place(e.path)))
		}
	}
	return errors.Join(err, m.layOutState(inUse))
}

// make lays out what no request changes.
func (l *layout) make(name string) error {
	l.scratch = filepath.Join(l.lab.dir, name)
	l.known = map[string]*entry{}
	system := filepath.Join(l.scratch, "Windows", "System32")
	err := errors.Join(os.MkdirAll(system, 0o700), os.MkdirAll(l.scratch+".functions", 0o700))
	for tool, text := range map[string]string{"bcdedit.exe": "tools/bcdedit.exe", "reg.exe": "tools/reg.exe.ps1", "sc.exe": "tools/sc.exe.ps1", "shutdown.exe": "tools/shutdown.exe.ps1"} {
		raw, readErr := conformance.StandIns.ReadFile(text)
		err = errors.Join(err, readErr)
		if strings.HasSuffix(text, ".ps1") {
			err = errors.Join(err, os.WriteFile(filepath.Join(l.scratch+".functions", tool), raw, 0o600))
			raw = []byte("#!/bin/sh\nexit 1\n")
		}
		raw = []byte(strings.ReplaceAll(string(raw), "@SCRATCH@", l.scratch))
		err = errors.Join(err, os.WriteFile(filepath.Join(system, tool), raw, 0o700)) //nolint:gosec // a program
	}
	return err
}

// layOutState writes everything but the files.
func (m *Machine) layOutState(inUse []string) error {
	registry := map[string]map[string]string{}
	for _, v := range m.registry.snapshot() {
		kind, raw, err := (windows.Value{Type: v.Type, Data: v.Data}).Encode()
		if err != nil {
			return fmt.Errorf("lay out %s %s: %w", v.Key, v.Name, err)
		}
		if registry[v.Key] == nil {
			registry[v.Key] = map[string]string{}
		}
		registry[v.Key][v.Name] = fmt.Sprintf("%d:%X", kind, raw)
	}
	services := map[string]string{}
	for _, s := range serviceSpecs {
		if kind, _, ok := m.service(s.name); ok && kind&0x30 != 0 {
			m.mu.Lock()
			services[s.name] = map[bool]string{true: windows.StateRunning, false: windows.StateStopped}[m.running[strings.ToLower(s.name)]]
			m.mu.Unlock()
		}
	}
	plus := map[string]any{}
	if len(inUse) > 0 {
		plus["in-use"] = inUse
	}
	if m.spec.SignedOnly {
		plus["execution-policy"] = "AllSigned"
	}
	seconds, _ := m.Uptime()
	var bcd strings.Builder
	for name, value := range m.BCD() {
		fmt.Fprintf(&bcd, "%s %s\n", name, value)
	}
	m.mu.Lock()
	pending := m.pending
	m.mu.Unlock()
	err := m.lab.write("uptime", fmt.Appendf(nil, "%d", seconds))
	err = errors.Join(err, m.lab.write("bcd", []byte(bcd.String())))
	for kind, state := range map[string]any{"registry": registry, "services": services, "plus": plus, "dependents": map[string]int{}, "scm": map[string]int{}} {
		raw, jsonErr := json.Marshal(state)
		err = errors.Join(err, jsonErr, m.lab.write(kind, raw))
	}
	if pending {
		return errors.Join(err, m.lab.write("restart", nil))
	}
	if gone := os.Remove(m.lab.scratch + ".restart"); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

func (l *layout) write(kind string, raw []byte) error {
	return os.WriteFile(l.scratch+"."+kind, raw, 0o600) //nolint:wrapcheck // the path says it
}
