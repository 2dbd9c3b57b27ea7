// Package machine is the inside of a simulated machine: a small Windows in memory, and what runs on it.
//
// [New] makes a machine from a [Spec]; [Machine.Run] runs a command line that came over WinRM. The agent's command line
// is answered by the Go interpreter working on this Windows, with the very envelope that was sent; a small honest cmd
// and PowerShell answer the rest, and what they do not know fails as it would on Windows. Nothing here ever touches
// the file system, the registry or the programs of the computer it runs on, but for a [Lab], which starts a PowerShell
// with a temporary folder for the machine's disk.
package machine

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetmend/fleetmend/remediate/windows"
)

// Spec is what a machine is.
type Spec struct {
	Name     string // NetBIOS name
	FQDN     string
	Domain   string // NetBIOS name
	Address  string // for ipconfig
	Product  string // Windows 11 Enterprise
	Build    int
	Serial   string
	Seed     uint64    // content of its own
	Affected bool      // the bad channel file is there
	Stuck    bool      // and held open by a driver, so that it cannot be moved
	Boot     time.Time // when it was started last
	Now      func() time.Time
	Narrow   bool // its PowerShell is the 32-bit one of a 64-bit Windows
	// SignedOnly is a policy of the machine (AllSigned) that lets PowerShell run no script that is not signed.
	SignedOnly bool
	// Restart is called, at most once per start, when the machine was asked to restart after delay.
	Restart func(delay time.Duration)
	// Volumes are the encrypted volumes, as they are when the machine is made, and Escrow takes a recovery password for a
	// directory to keep.
	Volumes  []Volume
	Escrow   func(to Escrow, v Volume, p Protector) error
	Language string // of what its programs say, en or de; en
	// Lab has a real PowerShell answer the agent's command line; without it the Go interpreter does.
	Lab *Lab
	// Flood makes the agent's answer come after so many bytes of other output.
	Flood int64
}

// Machine is a running Windows. It is safe for concurrent use, as far as Windows would be.
type Machine struct {
	spec     Spec
	disk     *disk
	registry *hive
	lab      *layout // nil without a lab

	acting  sync.Mutex // one request at a time is laid out for a real PowerShell
	mu      sync.Mutex
	boot    time.Time
	pending bool // a restart is scheduled
	running map[string]bool
	bcd     map[string]string
	turned  int64 // changes to the boot entry, to services and to the protectors of volumes
	volumes []Volume
	dice    *rand.Rand // for new recovery passwords

	changes atomic.Int64
	answers atomic.Int64
}

// New makes a machine.
func New(spec Spec) *Machine {
	if spec.Now == nil {
		spec.Now = time.Now
	}
	m := &Machine{spec: spec, boot: spec.Boot, running: map[string]bool{}, volumes: spec.Volumes, dice: rand.New(rand.NewPCG(spec.Seed, 0xbde))}
	m.disk, m.registry = newDisk(m.now), newHive(commonKeys())
	m.bcd = map[string]string{
		"identifier": "{current}", "device": "partition=C:", "path": `\Windows\system32\winload.efi`,
		"description": m.spec.Product, "locale": "en-US", "osdevice": "partition=C:", "systemroot": `\Windows`,
		"nx": "OptIn", "bootmenupolicy": "Standard", "recoveryenabled": "Yes",
	}
	m.furnish()
	if spec.Lab != nil {
		m.lab = &layout{lab: spec.Lab}
	}
	return m
}

func (m *Machine) now() time.Time { return m.spec.Now() }

// Started records that the machine has come up again.
func (m *Machine) Started(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boot, m.pending = at, false
}

// Files returns every file, sorted by path.
func (m *Machine) Files() []File { return m.disk.snapshot() }

// Registry returns every registry value, sorted by key and name.
func (m *Machine) Registry() []RegistryValue { return m.registry.snapshot() }

// BCD returns the elements of the boot entry {default}.
func (m *Machine) BCD() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[string]string, len(m.bcd))
	for k, v := range m.bcd {
		out[k] = v
	}
	return out
}

// Changes counts the agent's answers in whose course anything changed outside its own folder, whatever it said itself.
func (m *Machine) Changes() int64 { return m.changes.Load() }

// Answers counts the requests that the agent answered, of any mode.
func (m *Machine) Answers() int64 { return m.answers.Load() }

// Build implements windows.System.
func (m *Machine) Build() (int, error) { return m.spec.Build, nil }

// Uptime implements windows.System.
func (m *Machine) Uptime() (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(m.now().Sub(m.boot) / time.Second), nil
}

// Variable implements windows.System.
func (m *Machine) Variable(name string) string {
	for _, v := range m.variables("") {
		if n, value, _ := strings.Cut(v, "="); strings.EqualFold(n, name) {
			return value
		}
	}
	return ""
}

// variables is the environment of a process of user, sorted by name.
func (m *Machine) variables(user string) []string {
	_, account, ok := strings.Cut(user, `\`)
	if !ok {
		account = "Administrator"
	}
	return []string{
		`ALLUSERSPROFILE=C:\ProgramData`, `APPDATA=C:\Users\` + account + `\AppData\Roaming`, `COMPUTERNAME=` + m.spec.Name,
		`ComSpec=C:\Windows\system32\cmd.exe`, `NUMBER_OF_PROCESSORS=4`, `OS=Windows_NT`,
		`Path=C:\Windows\system32;C:\Windows;C:\Windows\System32\Wbem;C:\Windows\System32\WindowsPowerShell\v1.0\`,
		`PATHEXT=.COM;.EXE;.BAT;.CMD;.VBS;.VBE;.JS;.JSE;.WSF;.WSH;.MSC`, `PROCESSOR_ARCHITECTURE=AMD64`, `ProgramData=C:\ProgramData`,
		`ProgramFiles=C:\Program Files`, `PROMPT=$P$G`, `PUBLIC=C:\Users\Public`, `SystemDrive=C:`, `SystemRoot=C:\Windows`,
		`TEMP=C:\Users\` + account + `\AppData\Local\Temp`, `USERDNSDOMAIN=` + strings.ToUpper(strings.TrimPrefix(m.spec.FQDN, strings.ToLower(m.spec.Name)+".")),
		`USERDOMAIN=` + m.spec.Domain, `USERNAME=` + account, `USERPROFILE=C:\Users\` + account, `windir=C:\Windows`,
	}
}

const servicesKey = `HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\`

// service finds a service: its stored name, its kind and start type.
func (m *Machine) service(name string) (kind, start uint64, ok bool) {
	t, found, _ := m.registry.Get(servicesKey+name, "Type") // this hive never fails
	if !found {
		return 0, 0, false
	}
	s, _, _ := m.registry.Get(servicesKey+name, "Start")
	kind, _ = t.Data.(uint64)
	start, _ = s.Data.(uint64)
	return kind, start, true
}

// restart schedules a restart; a second one while the first is pending changes nothing.
func (m *Machine) restart(delay time.Duration) (already bool) {
	m.mu.Lock()
	already = m.pending
	m.pending = true
	m.mu.Unlock()
	if !already && m.spec.Restart != nil {
		m.spec.Restart(delay)
	}
	return already
}

// ChannelFolder is where the files of the incident of 19 July 2024 are.
const ChannelFolder = `C:\Windows\System32\drivers\CrowdStrike`

// The last write times between which a channel file 291 is bad, and its first bytes.
var (
	badFrom   = time.Date(2024, 7, 19, 4, 9, 0, 0, time.UTC)
	badBefore = time.Date(2024, 7, 19, 5, 27, 0, 0, time.UTC)
	badHeader = []byte{0xAA, 0xAA, 0xAA, 0xAA, 0x01, 0x00, 0x23, 0x01}
)

// Crashes reports whether this Windows would crash when its drivers read what is in the channel folder.
func (m *Machine) Crashes() bool {
	files, err := m.disk.List(ChannelFolder)
	if err != nil {
		return false
	}
	for _, f := range files {
		name := strings.ToLower(f.Name)
		bad := strings.HasPrefix(name, "c-00000291") && strings.HasSuffix(name, ".sys") &&
			!f.Modified.Before(badFrom) && f.Modified.Before(badBefore)
		if !bad {
			continue
		}
		if e, ok := m.disk.stat(ChannelFolder + `\` + f.Name); ok && strings.HasPrefix(string(e.content), string(badHeader)) {
			return true
		}
	}
	return false
}

// State implements windows.Services.
func (m *Machine) State(name string) (state string, ok bool, err error) {
	kind, _, ok := m.service(name)
	if !ok || kind&0x30 == 0 {
		return "", false, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running[strings.ToLower(name)] {
		return windows.StateRunning, true, nil
	}
	return windows.StateStopped, true, nil
}

// Dependents implements windows.Services. Nothing depends on anything here.
func (m *Machine) Dependents(string) ([]string, error) { return nil, nil }

// SetStart implements windows.Services: here the controller looks into the registry each time.
func (m *Machine) SetStart(name string, number int) error {
	return m.registry.Set(`HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\`+name, "Start", windows.Value{Type: "dword", Data: uint64(number)}) //nolint:gosec // 2 to 4
}

// touched adds up every change that was ever made to this Windows.
func (m *Machine) touched() int64 {
	m.disk.mu.Lock()
	n := m.disk.changes
	m.disk.mu.Unlock()
	m.registry.mu.Lock()
	n += m.registry.changes
	m.registry.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	return n + m.turned
}

func versionOf(build int) string { return "10.0." + strconv.Itoa(build) }

var (
	_ windows.Files    = (*disk)(nil)
	_ windows.Registry = (*hive)(nil)
	_ windows.Services = (*Machine)(nil)
	_ windows.System   = (*Machine)(nil)
	_ windows.Tools    = (*tools)(nil)
)
