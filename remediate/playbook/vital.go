package playbook

import (
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

// vital are the drivers and services without which Windows does not start, or nobody can log on: storage, volumes,
// file systems, BitLocker, buses, the kernel's helpers, and the services that all others need. Names are those of the
// keys below Services, in lower case.
var vital = set(`
	acpi acpiex acpipagr pci pciide intelide msisadrv isapnp vdrvroot wdf01000 hwpolicy intelpep pdc pcw
	disk partmgr volmgr volmgrx volsnap volume mountmgr spaceport ehstorclass ehstortcgdrv sdbus sdstor
	ntfs refs refsv1 fastfat exfat udfs cdfs fltmgr fileinfo wof clfs cng ksecdd ksecpkg fvevol rdyboost iorate
	atapi ataport storahci stornvme storufs storvsc storflt bttflt vmbus vmbusr winhv hvservice uaspstor usbstor
	iastor iastora iastorac iastorav iastoravc iastore iastorv iastorvd vmd amdsata amdsbs amdxata rcbottom rcraid rccfg
	nvraid nvstor secnvme lsi_sas lsi_sas2i lsi_sas3i lsi_sss megasas megasas2i megasas35i megasr percsas2i percsas3i
	hpsamd smartpqi smartsamd adp80xx arcsas 3ware b06bdrv ebdrv vsmraid vstxraid stexstor sisraid2 sisraid4 mvumis itsas35i
	pvscsi viostor vioscsi xenvbd xenbus xendisk xenfilt msiscsi iscsiprt mpio msdsm
	windowstrustedrt windowstrustedrtproxy msseccore npfs msfs mup null fsdepends
	usbxhci usbhub usbhub3 ucx01000 usbehci hidusb kbdclass kbdhid i8042prt
	rpcss rpceptmapper dcomlaunch brokerinfrastructure systemeventsbroker plugplay power lsm samss profsvc gpsvc
	usermanager coremessagingregistrar keyiso cryptsvc eventlog
`)

// lifelines are the services and drivers by which a machine is reached at all.
var lifelines = set(`winrm tcpip afd ndis nsi dhcp dnscache nlasvc netprofm bfe mpssvc netbt lanmanworkstation lanmanserver
	netlogon ntds kdc dns dfsr w32time rdagent windowsazureguestagent termservice`)

func set(names string) map[string]bool {
	all := map[string]bool{}
	for _, name := range strings.Fields(names) {
		all[name] = true
	}
	return all
}

var servicesKey = lazyregexp.New(`(?i)^HKEY_LOCAL_MACHINE\\SYSTEM\\(?:CurrentControlSet|ControlSet\d{3})\\Services\\([^\\]+)$`)

// disables is the service or driver that an action keeps from starting; "" when it is none.
func disables(a Action) string {
	switch {
	case a.Driver != nil && a.Driver.Start == StartDisabled:
		return a.Driver.Name
	case a.Service != nil && a.Service.Start == StartDisabled:
		return a.Service.Name
	case a.Registry != nil && strings.EqualFold(a.Registry.Name, "Start"):
		if m := servicesKey.FindStringSubmatch(a.Registry.Key); m != nil && (a.Registry.Delete || fmt.Sprint(a.Registry.Value) == "4") {
			return m[1]
		}
	}
	return ""
}

// weakens is the driver that an action moves from the start of the machine to a later moment; "" when it is none.
func weakens(a Action) string {
	if a.Driver != nil && (a.Driver.Start == StartManual || a.Driver.Start == StartAuto) {
		return a.Driver.Name
	}
	return ""
}

func disablesVital(a Action) (name string, isVital bool) {
	name = disables(a)
	if name == "" {
		name = weakens(a)
	}
	return name, vital[strings.ToLower(name)]
}
