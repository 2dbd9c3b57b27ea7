package playbook

import (
	"strings"
	"sync"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

// registryDanger is a place of the registry that is not to be changed by a playbook without somebody who knows better.
type registryDanger struct {
	key      string // pattern of a key below HKEY_LOCAL_MACHINE, whole, without regard to case; every control set is CurrentControlSet
	name     string // pattern of a value's name, whole; "" is all of them
	firmware bool   // Windows writes it into the firmware, where no undo reaches
	breaks   string // what happens
	advice   string
	source   string // where that is said
}

// storageClasses are the device classes of disks, volumes, controllers, system devices, keyboards and mice (devguid.h).
const storageClasses = `\{(?:4d36e967|4d36e965|4d36e96a|4d36e96b|4d36e96f|4d36e97b|4d36e97d|71a27cdd|745a17a0|36fc9e60)-[0-9a-f-]+\}`

// registryDangers is the maintained list of lint. A test holds each row to a source and to an example.
var registryDangers = []registryDanger{
	{`SYSTEM\\Select`, "", false, "it chooses the control set from which Windows starts", "repair the control set that is wrong, or start the last known good configuration",
		"https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/start-vm-last-known-good"},
	{`SYSTEM\\Setup`, `SystemSetupInProgress|SetupType|CmdLine|OOBEInProgress|SetupPhase|RestartSetup`, false, "the next start runs Setup and not Windows", "leave it to Windows Setup",
		"https://mskb.pkisolutions.com/kb/939857"},
	{`SYSTEM\\MountedDevices(?:\\.*)?`, "", false, "volumes get other letters, that of Windows as well", "leave it to the mount manager",
		"https://learn.microsoft.com/windows-hardware/drivers/storage/supporting-mount-manager-requests-in-a-storage-class-driver"},
	{`SYSTEM\\CurrentControlSet\\Enum(?:\\.*)?`, "", false, "it is what Windows knows of its devices, the disk it starts from as well", "disable the driver instead",
		"https://learn.microsoft.com/windows-hardware/drivers/install/hklm-system-currentcontrolset-enum-registry-tree"},
	{`SYSTEM\\CurrentControlSet\\Control\\Session Manager`, `BootExecute|SetupExecute|Execute|S0InitialCommand|PlatformExecute`, false, "its programs run before Windows does, and the start hangs or ends with them",
		"take a program of your own out of the list by a script that keeps the rest", "https://attack.mitre.org/techniques/T1547/001/"},
	{`SYSTEM\\CurrentControlSet\\Control\\Session Manager\\SubSystems`, "", false, "Windows does not start without its subsystems", "leave it alone",
		"https://learn.microsoft.com/troubleshoot/windows-server/performance/desktop-heap-limitation-out-of-memory"},
	{`SYSTEM\\CurrentControlSet\\Control\\Session Manager\\KnownDLLs`, "", false, "every program loads its libraries by this list", "leave it alone",
		"https://learn.microsoft.com/windows/win32/dlls/dynamic-link-library-search-order"},
	{`SYSTEM\\CurrentControlSet\\Control\\Class\\` + storageClasses, `UpperFilters|LowerFilters`, false, "disks, volumes or input do not start when a name in it has no driver, or when one of Windows' own is gone",
		"disable the driver only after it is out of the list, and write the list that this very machine had without it", "https://learn.microsoft.com/windows-hardware/drivers/install/installing-a-filter-driver"},
	{`SYSTEM\\CurrentControlSet\\Control\\(?:ServiceGroupOrder|GroupOrderList)`, "", false, "it is the order in which drivers start", "leave it alone",
		"https://learn.microsoft.com/windows/win32/services/automatically-starting-services"},
	{`SYSTEM\\CurrentControlSet\\Control\\hivelist`, "", false, "it names the files that the registry is made of", "leave it alone",
		"https://learn.microsoft.com/windows/win32/sysinfo/registry-hives"},
	{`SYSTEM\\CurrentControlSet\\Control\\SafeBoot(?:\\(?:Minimal|Network)(?:\\.*)?)?`, "", false, "safe mode does not start, or nobody reaches the machine in it", "set safeboot with the action bcd, which registers what is needed and takes it back",
		"https://attack.mitre.org/techniques/T1562/009/"},
	{`SYSTEM\\CurrentControlSet\\Control\\Lsa`, `Authentication Packages|Security Packages|Notification Packages`, false, "nobody can sign in when a package of the list is gone or does not load", "leave it to the product that registered there",
		"https://attack.mitre.org/techniques/T1547/002/"},
	{`SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\Winlogon`, `Shell|Userinit|VmApplet`, false, "nobody can sign in, or everybody gets a bare screen", "leave it alone",
		"https://attack.mitre.org/techniques/T1547/004/"},
	{`SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\Image File Execution Options\\(?:smss|csrss|wininit|winlogon|services|lsass|svchost|userinit|logonui|explorer)\.exe`, `Debugger|GlobalFlag|VerifierDlls`, false,
		"Windows starts that program no more", "leave it alone", "https://attack.mitre.org/techniques/T1546/012/"},
	{`SYSTEM\\CurrentControlSet\\Control\\SecureBoot`, `AvailableUpdates|AvailableUpdatesPolicy`, true, "Windows then writes certificates or revocations into the firmware, and no undo takes them back: some bits keep the machine from starting older media and boot managers for ever",
		"try it on one machine of each model, with its recovery key at hand, and allow it with --accept-permanent", "https://support.microsoft.com/topic/kb5025885"},
	{`SYSTEM\\CurrentControlSet\\Control\\Lsa`, `RunAsPPL|LsaCfgFlags`, true, "with the value 1 Windows writes a lock into the firmware that the registry does not take back", "write 2, which sets no lock in the firmware",
		"https://learn.microsoft.com/windows-server/security/credentials-protection-and-management/configuring-additional-lsa-protection"},
	{`SOFTWARE\\Policies\\Microsoft\\Windows\\System`, `RunAsPPL`, true, "with the value 1 Windows writes a lock into the firmware that the registry does not take back", "write 2, which sets no lock in the firmware",
		"https://learn.microsoft.com/windows-server/security/credentials-protection-and-management/configuring-additional-lsa-protection"},
	{`SOFTWARE\\Policies\\Microsoft\\Windows\\DeviceGuard`, `LsaCfgFlags|HypervisorEnforcedCodeIntegrity`, true, "with the value 1 Windows writes a lock into the firmware that the registry does not take back", "write 2, which sets no lock in the firmware",
		"https://learn.microsoft.com/windows/client-management/mdm/policy-csp-virtualizationbasedtechnology"},
	{`SYSTEM\\CurrentControlSet\\Control\\DeviceGuard`, `Locked|Mandatory`, true, "with the value 1 Windows writes a lock into the firmware that the registry does not take back", "leave the lock away",
		"https://learn.microsoft.com/windows/security/identity-protection/credential-guard/configure"},
}

var anyControlSet = lazyregexp.New(`(?i)^SYSTEM\\ControlSet\d{3}(\\|$)`)

// dangerOf finds what a change of a value would do; nil where the list says nothing of it. A name of "" with whole set is the key itself.
func dangerOf(key, name string, whole bool) *registryDanger {
	_, rest, _ := strings.Cut(key, `\`)
	rest = anyControlSet.ReplaceAllString(rest, `SYSTEM\CurrentControlSet$1`)
	for i := range registryDangers {
		d := &registryDangers[i]
		if matches(d.key, rest) && (whole && d.name == "" || !whole && (d.name == "" || matches(d.name, name))) {
			return d
		}
	}
	return nil
}

// patterns are those of the lists, each compiled once.
var patterns sync.Map

func matches(pattern, text string) bool {
	p, ok := patterns.Load(pattern)
	if !ok {
		p, _ = patterns.LoadOrStore(pattern, lazyregexp.New(`(?i)\A(?:`+pattern+`)\z`))
	}
	return p.(*lazyregexp.Regexp).MatchString(text)
}

// withoutLock are the names of values of which 2 sets no lock in the firmware.
const withoutLock = `RunAsPPL|LsaCfgFlags|HypervisorEnforcedCodeIntegrity`

// harmless are the values that set no lock in the firmware.
func (d *registryDanger) harmless(c RegistryChange) bool {
	n, isNumber := c.Value.(int64)
	return d.firmware && isNumber && (n == 0 || n == 2 && matches(withoutLock, c.Name)) || d.firmware && c.Delete
}

// firmwareWrite says why a registry change cannot be undone; "" where undo reaches it.
func firmwareWrite(c RegistryChange) string {
	if d := dangerOf(c.Key, c.Name, false); d != nil && d.firmware && !d.harmless(c) {
		return d.breaks
	}
	return ""
}
