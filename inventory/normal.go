package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/fleetmend/fleetmend/internal/table"
)

// claim numbers the strong keys.
type claim int

const (
	claimSID claim = iota
	claimGUID
	claimARM
	claimVM
	claimSMBIOS
	claimEntra
	claimIntune
	claimFalcon
	claims
)

// claimInfo names a strong key. A reissued key belongs to an enrolment: a machine that was installed anew gets another
// one while its source still lists the old one. All others stay for the life of the machine or its account.
var claimInfo = [claims]claimWords{
	claimSID:    {"claims.sid", "SID", false},
	claimGUID:   {"claims.object_guid", "object GUID", false},
	claimARM:    {"claims.arm_id", "Azure resource ID", false},
	claimVM:     {"claims.vm_id", "Azure VM ID", false},
	claimSMBIOS: {"claims.smbios", "SMBIOS UUID", false},
	claimEntra:  {"claims.entra_device_id", "Entra device ID", true},
	claimIntune: {"claims.intune_id", "Intune ID", true},
	claimFalcon: {"claims.falcon_aid", "Falcon agent ID", true},
}

type claimWords struct {
	field, words string
	reissued     bool
}

func (c *Claims) field(k claim) *string {
	return [claims]*string{&c.SID, &c.ObjectGUID, &c.ARMID, &c.VMID, &c.SMBIOS, &c.EntraDeviceID, &c.IntuneID, &c.FalconAID}[k]
}

// facts are the fields of one record in normal form: what the merge compares and what a machine shows.
type facts struct {
	m     Machine // only the fields the record speaks of, in normal form
	has   uint64  // those fields, one bit per entry of recordFields
	claim [claims]string
	bad   []string // one sentence for each field that could not be read
}

// readFacts brings the fields of a record into normal form. A value that cannot be read is left out and named in bad;
// the record itself stays as it was said.
func readFacts(fields map[string]string) facts {
	var said values
	for i := range recordFields {
		said[i] = fields[recordFields[i].name]
	}
	var f facts
	said.facts(&f)
	return f
}

// values are the fields of a record by their place in recordFields.
type values [len(recordFields)]string

// parse reads a JSON object of texts without escapes, as most records are stored, without a map in between; false
// means it is not of that form. Unknown names are left out.
func (said *values) parse(raw string) bool {
	if len(raw) < 2 || raw[0] != '{' || raw[len(raw)-1] != '}' || strings.IndexByte(raw, '\\') >= 0 {
		return false
	}
	rest := raw[1 : len(raw)-1]
	for rest != "" {
		var name, value string
		var ok bool
		if name, rest, ok = cutQuoted(rest); !ok || rest == "" || rest[0] != ':' {
			return false
		}
		if value, rest, ok = cutQuoted(rest[1:]); !ok {
			return false
		}
		if i, known := recordFieldIndex[name]; known {
			said[i] = value
		}
		if rest == "" {
			break
		}
		if rest[0] != ',' || len(rest) == 1 {
			return false
		}
		rest = rest[1:]
	}
	return true
}

func cutQuoted(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	end := strings.IndexByte(s[1:], '"')
	if end < 0 {
		return "", "", false
	}
	return s[1 : end+1], s[end+2:], true
}

// facts fills f, which is empty.
func (said *values) facts(f *facts) {
	for i := range recordFields {
		rf := &recordFields[i]
		v := said[i]
		if v == "" { // most are
			continue
		}
		if v = strings.TrimSpace(v); v == "" {
			continue
		}
		ok, err := rf.set(&f.m, v)
		if err != nil {
			f.bad = append(f.bad, fmt.Sprintf("%s %q %v", rf.name, clip(v), err))
		} else if ok {
			f.has |= 1 << i
		}
	}
	for k := range claims {
		f.claim[k] = *f.m.Claims.field(k)
	}
	f.derive()
}

// derive fills what follows from other fields of the same record.
func (f *facts) derive() {
	m := &f.m
	host, domain, _ := strings.Cut(m.FQDN, ".")
	host = strings.ToUpper(host)
	// NetBIOS names end after 15 characters; the DNS name of the same record knows the rest.
	if host != "" && (m.Name == "" || len(m.Name) == 15 && strings.HasPrefix(host, m.Name)) {
		m.Name = host
		f.add("name")
	}
	if m.Name == "" && m.FQDN == "" && m.Address != "" { // a table that has nothing else
		m.Name = strings.ToUpper(strings.Trim(hostOf(m.Address), "[]"))
		f.add("name")
	}
	if m.FQDN != "" {
		f.add("fqdn")
	}
	if m.Domain == "" && domain != "" {
		m.Domain = domain
		f.add("domain")
	}
	if m.OS.Build == 0 {
		if m.OS.Build = buildOf(m.OS.Version); m.OS.Build != 0 {
			f.add("os.build")
		}
	}
	if m.Class == "" {
		if m.Class = classOf(m.OS.Name); m.Class != "" {
			f.add("class")
		}
	}
	if m.Subnet == "" {
		if m.Subnet = subnetOf(m.Address); m.Subnet != "" {
			f.add("subnet")
		}
	}
}

func (f *facts) add(name string) { f.has |= 1 << recordFieldIndex[name] }

// buildOf reads the build number out of "10.0 (22631)" or "10.0.22631.3880"; 0 when there is none.
func buildOf(version string) int {
	if _, rest, ok := strings.Cut(version, "("); ok {
		version, _, _ = strings.Cut(rest, ")")
	} else if parts := strings.Split(version, "."); len(parts) >= 3 {
		version = parts[2]
	} else {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(version))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// subnetOf gives the /24 (IPv4) or /64 (IPv6) of an address: the best guess where no source knows the real mask.
func subnetOf(address string) string {
	ip, err := netip.ParseAddr(strings.Trim(hostOf(address), "[]"))
	if err != nil {
		return ""
	}
	bits := 24
	if ip = ip.Unmap(); ip.Is6() {
		bits = 64
	}
	prefix, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return ""
	}
	return prefix.String()
}

// hostOf cuts the port off host:port and [v6]:port.
func hostOf(address string) string {
	if i := strings.LastIndexByte(address, ':'); i > 0 && (strings.IndexByte(address, ':') == i || address[i-1] == ']') {
		return address[:i]
	}
	return address
}

// HostName takes a host name apart, in whichever form it stands: WS1, WS1$, \\WS1, CORP\WS1$, ws1.corp.example. (with or
// without the last dot). The name is in upper case and not cut to the 15 characters of NetBIOS; fqdn is empty where there
// is no domain in DNS form, domain where there is none in NetBIOS form. Nothing is checked; see [CheckField].
func HostName(v string) (name, fqdn, domain string) {
	v = strings.TrimPrefix(strings.TrimSpace(v), `\\`)
	if i := strings.LastIndexByte(v, '\\'); i >= 0 {
		domain, v = strings.ToUpper(strings.TrimSpace(v[:i])), v[i+1:]
	}
	v = strings.TrimSuffix(strings.TrimSpace(v), "$")
	name, _, _ = strings.Cut(v, ".")
	if dns := normalDNS(v); strings.Contains(dns, ".") {
		fqdn = dns
	}
	return strings.ToUpper(strings.TrimSpace(name)), fqdn, domain
}

func normalDNS(v string) string { return strings.ToLower(strings.Trim(v, ". ")) }

// checkHost refuses what can be no host name, so that a shifted column does not become a machine.
func checkHost(v string) error {
	if v == "" || len(v) > 255 {
		return fmt.Errorf("is no host name")
	}
	for _, r := range v {
		if r <= ' ' || strings.ContainsRune(`"/\:*?<>|,;=+[]@`, r) {
			return fmt.Errorf("is no host name (character %q)", r)
		}
	}
	if !strings.ContainsFunc(v, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
		return fmt.Errorf("is no host name")
	}
	return nil
}

var macMarks = strings.NewReplacer(":", "", "-", "", ".", "")

// normalGUID gives lower case with hyphens; braces are dropped. Values that many machines share are no identity.
func normalGUID(v string) (string, error) {
	var hex [32]byte
	n := 0
	for i := range len(v) {
		c := v[i]
		switch {
		case c == '{' || c == '}' || c == '-':
			continue
		case c >= 'A' && c <= 'F':
			c += 'a' - 'A'
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'f':
		default:
			n = len(hex)
		}
		if n == len(hex) {
			return "", errNoGUID
		}
		hex[n] = c
		n++
	}
	if n < len(hex) {
		return "", errNoGUID
	}
	if junkUUID[string(hex[:])] || bytes.Count(hex[:], hex[:1]) == len(hex) {
		return "", nil
	}
	var text [36]byte
	out := text[:0]
	for i, c := range hex {
		if i == 8 || i == 12 || i == 16 || i == 20 {
			out = append(out, '-')
		}
		out = append(out, c)
	}
	return string(out), nil
}

var errNoGUID = errors.New("is no GUID")

// junkUUID are SMBIOS UUIDs that board makers left at their default.
var junkUUID = map[string]bool{
	"03000200040005000006000700080009": true, // AMI
	"00020003000400050006000700080009": true, // the same, other byte order
	"12345678123456789012123456789012": true,
	"4c4c4544000000002010802020202020": true, // Dell without service tag
	"fefefefefefefefefefefefefefefefe": true,
}

// junkSerial are texts that stand where a serial number should.
var junkSerial = map[string]bool{
	"none": true, "n/a": true, "na": true, "null": true, "unknown": true, "default string": true, "default": true,
	"to be filled by o.e.m.": true, "to be filled by oem": true, "system serial number": true, "chassis serial number": true,
	"not specified": true, "not applicable": true, "not available": true, "invalid": true, "oem": true, "o.e.m.": true,
	"0123456789": true, "123456789": true, "1234567890": true, "12345678": true, "empty": true, "serial": true,
	"system product name": true, "no serial": true, "undefined": true, "xxxxxxx": true, "-": true, ".": true,
}

// serialKey gives the serial number in the form it is compared in, empty where it identifies nothing.
func serialKey(v string) string {
	v = strings.ToLower(strings.Join(strings.Fields(v), " "))
	if len(v) < 4 || junkSerial[v] || strings.Count(v, v[:1]) == len(v) {
		return ""
	}
	return v
}

// makerKey gives a manufacturer without its legal form, so that "Dell Inc." and "Dell" are one.
func makerKey(v string) string {
	words := strings.FieldsFunc(strings.ToLower(v), func(r rune) bool { return r == ' ' || r == ',' || r == '.' || r == '-' })
	words = slices.DeleteFunc(words, func(w string) bool {
		return slices.Contains([]string{"inc", "corp", "corporation", "co", "ltd", "gmbh", "computer", "incorporated", "limited"}, w)
	})
	return strings.Join(words, " ")
}

func normalMAC(v string) (string, error) {
	hex := strings.ToLower(macMarks.Replace(v))
	if len(hex) != 12 || strings.Trim(hex, "0123456789abcdef") != "" {
		return "", fmt.Errorf("is no MAC address")
	}
	parts := make([]string, 6)
	for i := range parts {
		parts[i] = hex[2*i : 2*i+2]
	}
	return strings.Join(parts, ":"), nil
}

// list reads a comma-separated list: sorted, without repetition.
func list(v string) []string {
	var out []string
	for part := range strings.SplitSeq(v, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// groupList reads groups: by semicolons where there are any, because distinguished names contain commas. A semicolon
// behind a backslash is part of a name (RFC 4514 2.4).
func groupList(v string) []string {
	if !strings.Contains(v, ";") {
		if strings.Contains(strings.ToLower(v), "dc=") {
			return []string{v}
		}
		return list(v)
	}
	var out []string
	add := func(part string) {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	start := 0
	for i := 0; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case ';':
			add(v[start:i])
			start = i + 1
		}
	}
	add(v[start:])
	slices.Sort(out)
	return slices.Compact(out)
}

// groupText is the reverse of groupList.
func groupText(groups []string) string {
	if len(groups) == 1 && strings.Contains(groups[0], ",") {
		return groups[0] + ";"
	}
	return strings.Join(groups, ";")
}

func parseBool(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "true", "yes", "1", "on", "enabled", "ja", "wahr", "y", "oui", "vrai":
		return true, nil
	case "false", "no", "0", "off", "disabled", "nein", "falsch", "n", "non", "faux":
		return false, nil
	}
	return false, fmt.Errorf("is neither true nor false")
}

// encryptedWord gives yes or no for what consoles say of BitLocker, and nothing for what they do not know.
func encryptedWord(v string) (string, error) {
	switch word := strings.ToLower(v); word {
	case "encrypted", "fully encrypted", "protected", "protection on":
		return "yes", nil
	case "not encrypted", "unencrypted", "fully decrypted", "decrypted":
		return "no", nil
	case "unknown", "-", "n/a", "unprotected", "protection off", "suspended": // a suspended disk is encrypted, and wants its key again later
		return "", nil
	default:
		on, err := parseBool(word)
		if err != nil {
			return "", fmt.Errorf("is neither yes nor no")
		}
		if on {
			return "yes", nil
		}
		return "no", nil
	}
}

// parseTime reads a time; one that means "never" says nothing.
func parseTime(v string) (t time.Time, says bool, err error) {
	t, err = new(table.Dates).Parse(v)
	return t, err == nil && !t.IsZero(), err
}

func clip(v string) string {
	if len(v) > 60 {
		return strings.ToValidUTF8(v[:60], "") + "..."
	}
	return v
}
