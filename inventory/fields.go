package inventory

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/table"
)

// recordField is one field a record may carry: how it gets into a machine and how it is copied from there.
type recordField struct {
	name string
	// set reads v into m in normal form; false means the value says nothing (junk) and is left out.
	set  func(m *Machine, v string) (bool, error)
	copy func(to, from *Machine)
	// operator may set it by hand
	operator bool
}

var recordFields = [...]recordField{
	{"name", func(m *Machine, v string) (bool, error) {
		if _, err := netip.ParseAddr(v); err == nil {
			return false, fmt.Errorf("is an address, not a name")
		}
		n, fqdn, _ := HostName(v)
		if err := checkHost(n); err != nil {
			return false, err
		}
		if m.Name = n; m.FQDN == "" && checkHost(fqdn) == nil {
			m.FQDN = fqdn
		}
		return true, nil
	}, func(to, from *Machine) { to.Name = from.Name }, true},
	{"fqdn", func(m *Machine, v string) (bool, error) {
		v = normalDNS(v)
		if err := checkHost(v); err != nil {
			return false, err
		}
		if !strings.Contains(v, ".") {
			return false, fmt.Errorf("has no domain in it")
		}
		m.FQDN = v
		return true, nil
	}, func(to, from *Machine) { to.FQDN = from.FQDN }, true},
	{"address", func(m *Machine, v string) (bool, error) {
		if strings.ContainsAny(v, " \t/\\") {
			return false, fmt.Errorf("is no host or host:port")
		}
		m.Address = strings.ToLower(v)
		return true, nil
	}, func(to, from *Machine) { to.Address = from.Address }, true},
	{"domain", func(m *Machine, v string) (bool, error) { m.Domain = normalDNS(v); return m.Domain != "", nil },
		func(to, from *Machine) { to.Domain = from.Domain }, true},
	text("ou", func(m *Machine) *string { return &m.OU }),
	text("site", func(m *Machine) *string { return &m.Site }),
	{"subnet", func(m *Machine, v string) (bool, error) {
		p, err := netip.ParsePrefix(v)
		if err != nil {
			return false, fmt.Errorf("is no subnet (write 10.1.2.0/24)")
		}
		m.Subnet = p.Masked().String()
		return true, nil
	}, func(to, from *Machine) { to.Subnet = from.Subnet }, true},
	{"class", func(m *Machine, v string) (bool, error) {
		c, err := oneOf(v, Classes())
		m.Class = c
		return err == nil, err
	}, func(to, from *Machine) { to.Class = from.Class }, true},
	text("os.name", func(m *Machine) *string { return &m.OS.Name }),
	text("os.version", func(m *Machine) *string { return &m.OS.Version }),
	{"os.build", func(m *Machine, v string) (bool, error) {
		n, err := strconv.Atoi(v)
		if err != nil || n <= 0 {
			if n = buildOf(v); n == 0 {
				return false, fmt.Errorf("is no build number")
			}
		}
		m.OS.Build = n
		return true, nil
	}, func(to, from *Machine) { to.OS.Build = from.OS.Build }, true},
	{"serial", func(m *Machine, v string) (bool, error) {
		if serialKey(v) == "" {
			return false, nil
		}
		m.Serial = v
		return true, nil
	}, func(to, from *Machine) { to.Serial = from.Serial }, true},
	text("manufacturer", func(m *Machine) *string { return &m.Manufacturer }),
	text("model", func(m *Machine) *string { return &m.Model }),
	text("owner", func(m *Machine) *string { return &m.Owner }),
	{"macs", func(m *Machine, v string) (bool, error) {
		for _, part := range list(strings.ReplaceAll(v, ";", ",")) {
			mac, err := normalMAC(part)
			if err != nil {
				return false, err
			}
			m.MACs = append(m.MACs, mac)
		}
		slices.Sort(m.MACs)
		m.MACs = slices.Compact(m.MACs)
		return len(m.MACs) > 0, nil
	}, func(to, from *Machine) { to.MACs = from.MACs }, false},
	{"priority", func(m *Machine, v string) (bool, error) {
		n, err := strconv.Atoi(v)
		if err != nil {
			return false, fmt.Errorf("is no whole number")
		}
		m.Priority = n
		return true, nil
	}, func(to, from *Machine) { to.Priority = from.Priority }, true},
	{"enabled", func(m *Machine, v string) (bool, error) {
		b, err := parseBool(v)
		m.Enabled = b
		return err == nil, err
	}, func(to, from *Machine) { to.Enabled = from.Enabled }, true},
	{"tags", func(m *Machine, v string) (bool, error) { m.Tags = list(v); return len(m.Tags) > 0, nil }, nil, false},
	{"groups", func(m *Machine, v string) (bool, error) { m.Groups = groupList(v); return len(m.Groups) > 0, nil }, nil, true},
	{"nested_groups", func(m *Machine, v string) (bool, error) {
		m.NestedGroups = groupList(v)
		return len(m.NestedGroups) > 0, nil
	}, nil, false},
	{"health", func(m *Machine, v string) (bool, error) {
		h, err := oneOf(v, Healths())
		m.Health = h
		return err == nil, err
	}, func(to, from *Machine) { to.Health = from.Health }, true},
	text("health_reason", func(m *Machine) *string { return &m.HealthReason }),
	{"last_seen", func(m *Machine, v string) (bool, error) {
		t, says, err := parseTime(v)
		m.LastSeen = t
		return says, err
	}, nil, false},
	{"installed", func(m *Machine, v string) (bool, error) {
		t, says, err := parseTime(v)
		m.Installed = t
		return says, err
	}, nil, true},
	{"encrypted", func(m *Machine, v string) (bool, error) {
		word, err := encryptedWord(v)
		m.Encrypted = word
		return word != "", err
	}, func(to, from *Machine) { to.Encrypted = from.Encrypted }, true},
	{"claims.sid", func(m *Machine, v string) (bool, error) {
		v = strings.ToUpper(v)
		if !strings.HasPrefix(v, "S-1-") || strings.Trim(v[4:], "0123456789-") != "" {
			return false, fmt.Errorf("is no SID")
		}
		m.Claims.SID = v
		return true, nil
	}, nil, false},
	guid("claims.object_guid", func(m *Machine) *string { return &m.Claims.ObjectGUID }),
	guid("claims.entra_device_id", func(m *Machine) *string { return &m.Claims.EntraDeviceID }),
	guid("claims.intune_id", func(m *Machine) *string { return &m.Claims.IntuneID }),
	{"claims.arm_id", func(m *Machine, v string) (bool, error) { m.Claims.ARMID = strings.ToLower(v); return true, nil }, nil, false},
	guid("claims.vm_id", func(m *Machine) *string { return &m.Claims.VMID }),
	{"claims.falcon_aid", func(m *Machine, v string) (bool, error) { m.Claims.FalconAID = strings.ToLower(v); return true, nil }, nil, false},
	guid("claims.smbios", func(m *Machine) *string { return &m.Claims.SMBIOS }),
}

func text(name string, at func(*Machine) *string) recordField {
	return recordField{name, func(m *Machine, v string) (bool, error) { *at(m) = v; return true, nil },
		func(to, from *Machine) { *at(to) = *at(from) }, true}
}

func guid(name string, at func(*Machine) *string) recordField {
	return recordField{name, func(m *Machine, v string) (bool, error) {
		g, err := normalGUID(v)
		*at(m) = g
		return g != "" && err == nil, err
	}, nil, false}
}

func oneOf[T ~string](v string, valid []T) (T, error) {
	v = strings.ToLower(v)
	if slices.Contains(valid, T(v)) {
		return T(v), nil
	}
	return "", fmt.Errorf("is none of %s", joinAny(valid))
}

func joinAny[T ~string](v []T) string {
	s := make([]string, len(v))
	for i := range v {
		s[i] = string(v[i])
	}
	return strings.Join(s, ", ")
}

// Classes are the valid values of the field class.
func Classes() []Class { return []Class{Workstation, Server, DomainController} }

// Healths are the valid values of the field health.
func Healths() []Health {
	return []Health{HealthUnknown, HealthSuspect, HealthAffected, HealthHealthy}
}

// RecordFields are the names a [Record] may use in Fields, in the order of the documentation.
func RecordFields() []string {
	names := make([]string, len(recordFields))
	for i := range recordFields {
		names[i] = recordFields[i].name
	}
	return names
}

// OperatorFields are the names that [Store.SetField] accepts. Tags are changed with [Store.Tag].
func OperatorFields() []string {
	var names []string
	for i := range recordFields {
		if recordFields[i].operator {
			names = append(names, recordFields[i].name)
		}
	}
	return names
}

var recordFieldIndex = func() map[string]int {
	index := map[string]int{}
	for i := range recordFields {
		index[recordFields[i].name] = i
	}
	return index
}()

func recordFieldByName(name string) *recordField {
	if i, ok := recordFieldIndex[name]; ok {
		return &recordFields[i]
	}
	return nil
}

// unknownField says which field is meant, with the nearest valid one.
func unknownField(name string, valid []string) error {
	err := fmt.Errorf("unknown field %q", name)
	if near := hint.Nearest(name, valid); near != "" {
		err = fmt.Errorf("unknown field %q, did you mean %q?", name, near)
	}
	return hint.Wrapf(err, "valid fields: %s", strings.Join(valid, ", "))
}

// CheckField says whether a record field can take a value; sources use it to report what they cannot read. What looks like a
// recovery password is none that can, and is not repeated.
func CheckField(name, value string) error {
	f := recordFieldByName(name)
	if f == nil {
		return unknownField(name, RecordFields())
	}
	m := scratch.Get().(*Machine)
	_, err := f.set(m, strings.TrimSpace(value))
	*m = Machine{}
	scratch.Put(m)
	if name != "macs" || err != nil { // of digits alone, four of them look the same
		if damage := table.Misplaced(value); damage != "" {
			return fmt.Errorf("%s holds %s", name, damage)
		}
	}
	if err != nil {
		return fmt.Errorf("%s %q %w", name, clip(value), err)
	}
	return nil
}

// scratch is for machines that a value is put into to see whether it can be read: a directory has some 100,000 values.
var scratch = sync.Pool{New: func() any { return new(Machine) }}

// Field gives the value of a record field (see [RecordFields]) as text, in the form a record takes it; false for
// names that are none. Unset values are empty.
func (m *Machine) Field(name string) (value string, ok bool) {
	if i := slices.IndexFunc(claimInfo[:], func(c claimWords) bool { return c.field == name }); i >= 0 {
		return *m.Claims.field(claim(i)), true
	}
	switch name {
	case "os.build":
		if m.OS.Build == 0 {
			return "", true
		}
		return strconv.Itoa(m.OS.Build), true
	case "priority":
		return strconv.Itoa(m.Priority), true
	case "enabled":
		return strconv.FormatBool(m.Enabled), true
	case "last_seen":
		if m.LastSeen.IsZero() {
			return "", true
		}
		return m.LastSeen.Format(time.RFC3339), true
	case "installed":
		if m.Installed.IsZero() {
			return "", true
		}
		return m.Installed.Format(time.RFC3339), true
	case "tags":
		return strings.Join(m.Tags, ","), true
	case "macs":
		return strings.Join(m.MACs, ","), true
	case "groups":
		return groupText(m.Groups), true
	case "nested_groups":
		return groupText(m.NestedGroups), true
	}
	value, ok = map[string]string{"name": m.Name, "fqdn": m.FQDN, "address": m.Address, "domain": m.Domain, "ou": m.OU, "site": m.Site,
		"subnet": m.Subnet, "class": string(m.Class), "os.name": m.OS.Name, "os.version": m.OS.Version, "serial": m.Serial,
		"manufacturer": m.Manufacturer, "model": m.Model, "owner": m.Owner, "health": string(m.Health), "health_reason": m.HealthReason, "encrypted": m.Encrypted}[name]
	return value, ok
}
