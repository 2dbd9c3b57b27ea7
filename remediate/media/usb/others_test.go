package usb

import (
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/bounded"
)

const diskutilList = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
 <key>AllDisks</key><array><string>disk0</string><string>disk4</string><string>disk4s1</string></array>
 <key>AllDisksAndPartitions</key><array>
  <dict><key>Content</key><string>GUID_partition_scheme</string><key>DeviceIdentifier</key><string>disk0</string><key>OSInternal</key><false/>
   <key>Partitions</key><array/><key>Size</key><integer>500277790720</integer></dict>
  <dict><key>Content</key><string>FDisk_partition_scheme</string><key>DeviceIdentifier</key><string>disk4</string><key>Partitions</key><array>
   <dict><key>Content</key><string>DOS_FAT_32</string><key>DeviceIdentifier</key><string>disk4s1</string><key>MountPoint</key><string>/Volumes/HOLIDAY</string>
    <key>Size</key><integer>31998000000</integer><key>VolumeName</key><string>HOLIDAY</string></dict></array><key>Size</key><integer>32000000000</integer></dict>
 </array></dict></plist>`

const diskutilInfo = `<plist version="1.0"><dict><key>BusProtocol</key><string>USB</string><key>DeviceBlockSize</key><integer>512</integer>
<key>DeviceNode</key><string>/dev/disk4</string><key>Internal</key><false/><key>MediaName</key><string>DataTraveler</string>
<key>RemovableMedia</key><true/><key>Size</key><integer>32000000000</integer><key>VirtualOrPhysical</key><string>Physical</string><key>WritableMedia</key><true/></dict></plist>`

func TestDiskutil(t *testing.T) {
	t.Parallel()
	list, err := wholeDisks([]byte(diskutilList))
	if err != nil || len(list) != 2 || list[1].name != "disk4" {
		t.Fatalf("%v %+v", err, list)
	}
	d, err := macDisk([]byte(diskutilInfo), list[1].volumes)
	if err != nil || d.Check(false) != nil || d.Path != "/dev/disk4" || d.Holds() != `disk4s1 DOS_FAT_32 "HOLIDAY" on /Volumes/HOLIDAY` {
		t.Errorf("%v %+v %s", err, d, d.Holds())
	}
	for change, want := range map[string]string{
		"<key>Internal</key><false/>|<key>Internal</key><true/>":                   "",
		"<key>RemovableMedia</key><true/>|<key>Internal</key><true/>":              "internal",
		"<string>Physical</string>|<string>Virtual</string>":                       "made up of others",
		"<key>WritableMedia</key><true/>|<key>WritableMedia</key><false/>":         "write-protected",
		"<key>DeviceNode</key>|<key>SystemImage</key><true/><key>DeviceNode</key>": "macOS runs from it",
	} {
		from, to, _ := strings.Cut(change, "|")
		d, err := macDisk([]byte(strings.Replace(diskutilInfo, from, to, 1)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Check(false); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", change, err)
		}
	}
	serials := usbSerials([]byte(`{"SPUSBDataType":[{"_items":[{"serial_num":"60A44C","Media":[{"bsd_name":"disk4"}]}]}]}`))
	if serials["disk4"] != "60A44C" {
		t.Errorf("serials: %v", serials)
	}
}

func TestStorageDescriptor(t *testing.T) {
	t.Parallel()
	b := make([]byte, 100)
	b[10] = 1
	le.PutUint32(b[12:], 36)
	le.PutUint32(b[16:], 46)
	le.PutUint32(b[24:], 64)
	le.PutUint32(b[28:], 7)
	copy(b[36:], "Kingston")
	copy(b[46:], "DataTraveler 3.0")
	copy(b[64:], "60A44C  ")
	var d Disk
	storageDescriptor(&d, b)
	if d.Model != "Kingston DataTraveler 3.0" || d.Serial != "60A44C" || d.Bus != "usb" || !d.Removable {
		t.Errorf("%+v", d)
	}
	if got := extents(append([]byte{2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0}, make([]byte, 40)...)); len(got) != 1 || got[0] != 3 {
		t.Errorf("extents of a short answer: %v", got)
	}
}

func FuzzDescriptions(f *testing.F) {
	f.Add([]byte(diskutilList))
	f.Add([]byte(diskutilInfo))
	f.Add([]byte(`<plist><dict><key>a</key><array><integer>x</integer>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer bounded.Input(t, len(b))()
		_, _ = wholeDisks(b)
		_, _ = macDisk(b, nil)
		_ = usbSerials(b)
		var d Disk
		storageDescriptor(&d, b)
		_ = extents(b)
		_ = probe(strings.NewReader(string(b)), int64(len(b)))
		if first, _, ok := relocated(b, int64(len(b)), int64(len(b))+1<<20); ok && len(first) != head {
			panic("length of the head")
		}
	})
}
