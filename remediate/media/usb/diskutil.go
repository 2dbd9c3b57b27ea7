package usb

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"strconv"
)

// plist reads a property list in XML form, as diskutil prints it: map[string]any, []any, string, int64 and bool.
func plist(text []byte) (any, error) {
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		t, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("read property list: %w", orShort(err))
		}
		if s, ok := t.(xml.StartElement); ok && s.Name.Local != "plist" {
			return plistValue(d, s, 0)
		}
	}
}

func plistValue(d *xml.Decoder, s xml.StartElement, depth int) (any, error) {
	if depth > 32 {
		return nil, fmt.Errorf("read property list: nested too deeply")
	}
	switch s.Name.Local {
	case "dict", "array":
		return plistList(d, s.Name.Local == "dict", depth)
	case "true", "false":
		return s.Name.Local == "true", d.Skip()
	}
	var text string
	if err := d.DecodeElement(&text, &s); err != nil {
		return nil, fmt.Errorf("read property list: %w", err)
	}
	if s.Name.Local == "integer" {
		return strconv.ParseInt(text, 10, 64)
	}
	return text, nil
}

func plistList(d *xml.Decoder, dict bool, depth int) (any, error) {
	m, list, key := map[string]any{}, []any{}, ""
	for {
		t, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("read property list: %w", orShort(err))
		}
		switch t := t.(type) {
		case xml.EndElement:
			if dict {
				return m, nil
			}
			return list, nil
		case xml.StartElement:
			v, err := plistValue(d, t, depth+1)
			if err != nil {
				return nil, err
			}
			if dict && t.Name.Local == "key" {
				key, _ = v.(string)
			} else if dict {
				m[key] = v
			} else {
				list = append(list, v)
			}
		}
	}
}

func at[T any](v any, key string) (t T) {
	m, _ := v.(map[string]any)
	t, _ = m[key].(T)
	return t
}

type macWhole struct {
	name    string
	volumes []Volume
}

// wholeDisks reads `diskutil list -plist physical`.
func wholeDisks(text []byte) ([]macWhole, error) {
	v, err := plist(text)
	if err != nil {
		return nil, err
	}
	var disks []macWhole
	for _, e := range at[[]any](v, "AllDisksAndPartitions") {
		w := macWhole{name: at[string](e, "DeviceIdentifier"), volumes: []Volume{}}
		for _, p := range append(at[[]any](e, "Partitions"), e) {
			name := at[string](p, "DeviceIdentifier")
			if name == w.name && at[string](p, "VolumeName") == "" {
				continue
			}
			w.volumes = append(w.volumes, Volume{Name: name, Kind: at[string](p, "Content"), Label: at[string](p, "VolumeName"),
				Size: at[int64](p, "Size"), Mounted: at[string](p, "MountPoint")})
		}
		disks = append(disks, w)
	}
	return disks, nil
}

// macDisk reads `diskutil info -plist DISK`.
func macDisk(text []byte, volumes []Volume) (Disk, error) {
	v, err := plist(text)
	if err != nil {
		return Disk{}, err
	}
	d := Disk{Path: at[string](v, "DeviceNode"), Model: at[string](v, "MediaName"), Bus: at[string](v, "BusProtocol"),
		Size: at[int64](v, "Size"), Sector: at[int64](v, "DeviceBlockSize"), Volumes: volumes}
	d.Removable = !at[bool](v, "Internal") || at[bool](v, "RemovableMedia")
	if at[string](v, "VirtualOrPhysical") == "Virtual" {
		d.Refused = append(d.Refused, "it is made up of others (a container or an image)")
	}
	if at[bool](v, "SystemImage") || contains(volumes, "/") {
		d.Refused = append(d.Refused, "macOS runs from it")
	}
	if m, _ := v.(map[string]any); m["WritableMedia"] == false {
		d.Refused = append(d.Refused, "it is write-protected")
	}
	return d, nil
}

func contains(volumes []Volume, mounted string) bool {
	for _, v := range volumes {
		if v.Mounted == mounted {
			return true
		}
	}
	return false
}

// usbSerials reads `system_profiler SPUSBDataType -json`: serial numbers by the names of the disks.
func usbSerials(text []byte) map[string]string {
	serials := map[string]string{}
	var v any
	if json.Unmarshal(text, &v) != nil {
		return serials
	}
	var walk func(v any, serial string)
	walk = func(v any, serial string) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e, serial)
			}
		case map[string]any:
			if s := at[string](v, "serial_num"); s != "" {
				serial = s
			}
			if name := at[string](v, "bsd_name"); name != "" && serial != "" {
				serials[name] = serial
			}
			for _, e := range v {
				walk(e, serial)
			}
		}
	}
	walk(v, "")
	return serials
}
