package machine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// The contents that all machines share.
var shared = sync.OnceValue(func() map[string][]byte {
	body := func(seed uint64, head []byte, n int) []byte {
		out := make([]byte, n)
		r := rand.New(rand.NewPCG(seed, 291))
		for i := range out {
			out[i] = byte(r.Uint32())
		}
		copy(out, head)
		return out
	}
	hosts := "# Copyright (c) 1993-2009 Microsoft Corp.\r\n#\r\n# localhost name resolution is handled within DNS itself.\r\n#\t127.0.0.1       localhost\r\n"
	return map[string][]byte{
		"bad":    body(1, badHeader, 40123),
		"good":   body(2, []byte{0xAA, 0xAA, 0xAA, 0xAA, 0x01, 0x00, 0x24, 0x01}, 41004),
		"old":    body(3, []byte{0xAA, 0xAA, 0xAA, 0xAA, 0x01, 0x00, 0x22, 0x01}, 39870),
		"other":  body(4, []byte{0xAA, 0xAA, 0xAA, 0xAA, 0x01, 0x00, 0x07, 0x00}, 2210),
		"driver": body(5, []byte("MZ\x90\x00\x03\x00\x00\x00"), 9000),
		"hosts":  []byte(hosts),
		"ini":    []byte("; for 16-bit app support\r\n[fonts]\r\n[extensions]\r\n[mci extensions]\r\n[files]\r\n[Mail]\r\nMAPI=1\r\n"),
	}
})

// service kinds and start types in the registry's numbers.
type serviceSpec struct {
	name, display, image string
	kind, start          uint64
	running              bool
}

var serviceSpecs = []serviceSpec{
	{"CSAgent", "CrowdStrike Falcon", `\??\C:\Windows\system32\drivers\CrowdStrike\CSAgent.sys`, 2, 1, true},
	{"CSFalconService", "CrowdStrike Falcon Sensor Service", `"C:\Program Files\CrowdStrike\CSFalconService.exe"`, 0x10, 2, true},
	{"disk", "Disk Driver", `System32\drivers\disk.sys`, 1, 0, true},
	{"Dnscache", "DNS Client", `%SystemRoot%\system32\svchost.exe -k NetworkService -p`, 0x20, 2, true},
	{"EventLog", "Windows Event Log", `%SystemRoot%\System32\svchost.exe -k LocalServiceNetworkRestricted -p`, 0x20, 2, true},
	{"LanmanServer", "Server", `%SystemRoot%\system32\svchost.exe -k netsvcs -p`, 0x20, 2, true},
	{"RemoteRegistry", "Remote Registry", `%SystemRoot%\system32\svchost.exe -k localService -p`, 0x20, 4, false},
	{"Spooler", "Print Spooler", `%SystemRoot%\System32\spoolsv.exe`, 0x110, 2, true},
	{"wuauserv", "Windows Update", `%systemroot%\system32\svchost.exe -k netsvcs -p`, 0x20, 3, false},
	{"WinRM", "Windows Remote Management (WS-Management)", `%SystemRoot%\System32\svchost.exe -k NetworkService -p`, 0x20, 2, true},
}

// furnish fills disk and registry. All of it follows from the spec.
func (m *Machine) furnish() {
	r := rand.New(rand.NewPCG(m.spec.Seed, 19072024))
	files := shared()
	day := func(back int) time.Time {
		return time.Date(2024, 7, 19, 0, 0, 0, 0, time.UTC).Add(-time.Duration(back)*24*time.Hour - time.Duration(r.IntN(86_400_000))*time.Millisecond)
	}
	for _, folder := range []string{`C:\Users\Public`, `C:\Program Files\CrowdStrike`, `C:\ProgramData`, `C:\Windows\Temp`, `C:\PerfLogs`} {
		m.disk.folder(folder)
	}
	m.disk.put(`C:\Windows\win.ini`, files["ini"], day(900))
	m.disk.put(`C:\Windows\System32\drivers\etc\hosts`, files["hosts"], day(800))
	m.disk.put(`C:\Windows\System32\drivers\disk.sys`, files["driver"], day(200))
	if len(m.spec.Volumes) > 0 || !strings.Contains(m.spec.Product, "Server") { // servers have it as a feature of its own
		m.disk.put(manageBDEPath, files["driver"], time.Date(2022, 5, 7, 5, 20, 3, 0, time.UTC))
	}
	channel := func(number, version int, content []byte, at time.Time) *entry {
		return m.disk.put(fmt.Sprintf(`%s\C-%08d-00000000-%08d.sys`, ChannelFolder, number, version), content, at)
	}
	m.disk.put(ChannelFolder+`\CSAgent.sys`, files["driver"], day(30))
	channel(285, 22+r.IntN(9), files["other"], day(3))
	channel(291, 30, files["old"], time.Date(2024, 7, 18, 9, 12, r.IntN(60), r.IntN(1e9)/100*100, time.UTC))
	if m.spec.Affected {
		bad := channel(291, 32, files["bad"], badFrom.Add(time.Duration(r.Int64N(int64(badBefore.Sub(badFrom))))/100*100))
		bad.inUse = m.spec.Stuck
	} else {
		channel(291, 33, files["good"], badBefore.Add(time.Duration(r.Int64N(int64(6*time.Hour)))/100*100))
	}
	note := fmt.Sprintf("Owner of %s: see the asset register, serial %s\r\n", m.spec.Name, m.spec.Serial)
	m.disk.put(`C:\Users\Public\asset.txt`, []byte(note), day(100))

	const version = `HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion`
	m.registry.put(version, "ProductName", "string", m.spec.Product)
	m.registry.put(version, "CurrentBuild", "string", fmt.Sprint(m.spec.Build))
	m.registry.put(version, "CurrentBuildNumber", "string", fmt.Sprint(m.spec.Build))
	m.registry.put(version, "UBR", "dword", uint64(3000+r.IntN(1500)))
	m.registry.put(`HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\ComputerName\ComputerName`, "ComputerName", "string", m.spec.Name)
	m.registry.put(`HKEY_LOCAL_MACHINE\SYSTEM\Select`, "Current", "dword", uint64(1))
	m.registry.put(`HKEY_LOCAL_MACHINE\HARDWARE\DESCRIPTION\System\BIOS`, "SystemSerialNumber", "string", m.spec.Serial)
	for _, s := range serviceSpecs {
		m.running[strings.ToLower(s.name)] = s.running
	}
}

// commonKeys is the part of the registry that all machines share.
var commonKeys = sync.OnceValue(func() map[string]*key {
	h := newHive(nil)
	for _, s := range serviceSpecs {
		h.put(servicesKey+s.name, "DisplayName", "string", s.display)
		h.put(servicesKey+s.name, "ImagePath", "expand-string", s.image)
		h.put(servicesKey+s.name, "Type", "dword", s.kind)
		h.put(servicesKey+s.name, "Start", "dword", s.start)
	}
	return h.keys
})

// flood is what a machine with much to say writes before its answer.
var flood = bytes.Repeat([]byte("verbose: nothing to see here, but at length ...............\r\n"), 512)
