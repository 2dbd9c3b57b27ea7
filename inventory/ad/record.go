package ad

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/inventory"
)

// attributes are what a listing asks for: never all, and never a secret.
var attributes = []string{"objectGUID", "objectSid", "sAMAccountName", "cn", "dNSHostName", "operatingSystem", "operatingSystemVersion",
	"userAccountControl", "primaryGroupID", "lastLogonTimestamp", "pwdLastSet", "servicePrincipalName", "memberOf", "whenCreated", "uSNChanged"}

// Bits of userAccountControl (MS-ADTS 2.2.16).
const (
	uacDisabled = 0x2
	uacDC       = 0x2000
	uacRODC     = 0x04000000
)

// leaveOut says why a computer is none of ours; empty where it is.
func (r *reading) leaveOut(e *directory.Entry) string {
	cluster := func(spn []byte) bool {
		const of = "msclustervirtualserver/"
		return len(spn) >= len(of) && bytes.EqualFold(spn[:len(of)], []byte(of))
	}
	uac, _ := strconv.ParseInt(e.Text("userAccountControl"), 10, 64)
	switch {
	case slices.ContainsFunc(e.Values("servicePrincipalName"), cluster):
		return "cluster name"
	case !strings.Contains(strings.ToLower(e.Text("operatingSystem")), "windows") && !isDC(e, uac):
		return "not Windows"
	case !r.Disabled && uac&uacDisabled != 0:
		return "disabled"
	}
	return ""
}

// isDC: a domain controller is never left out for a missing name of its system, but one that says it runs something
// else is not Windows.
func isDC(e *directory.Entry, uac int64) bool {
	group := e.Text("primaryGroupID")
	return e.Text("operatingSystem") == "" && (uac&(uacDC|uacRODC) != 0 || group == "516" || group == "521")
}

// mostFields is how many fields a record has, or somewhat more: a map that grows is made several times.
const mostFields = 20

// fields gives what the inventory wants to know. A value that cannot be read is reported and left out.
func (r *reading) fields(e *directory.Entry) map[string]string {
	f := make(map[string]string, mostFields)
	f["enabled"], f["class"] = "true", string(inventory.Workstation)
	put := func(name, value string) {
		if value == "" {
			return
		}
		if err := inventory.CheckField(name, value); err != nil {
			r.problem("%s: %v", e.DN, err)
			return
		}
		f[name] = value
	}
	name := strings.TrimSuffix(e.Text("sAMAccountName"), "$")
	if name == "" {
		name = e.Text("cn")
	}
	put("name", name)
	put("fqdn", strings.ToLower(e.Text("dNSHostName")))
	put("domain", domainOf(e.DN))
	put("ou", parentOf(e.DN))
	put("os.name", e.Text("operatingSystem"))
	put("os.version", e.Text("operatingSystemVersion"))
	r.account(e, f)
	r.identity(e, f)
	if seen := r.lastSeen(e); !seen.IsZero() {
		f["last_seen"] = seen.Format(time.RFC3339)
	}
	if created := e.Text("whenCreated"); created != "" {
		t, err := directory.GeneralizedTime(created)
		if err != nil {
			r.problem("%s: whenCreated: %v", e.DN, err)
		} else {
			put("installed", t.UTC().Format(time.RFC3339))
		}
	}
	return f
}

func (r *reading) account(e *directory.Entry, f map[string]string) {
	if strings.Contains(strings.ToLower(e.Text("operatingSystem")), "server") {
		f["class"] = string(inventory.Server)
	}
	group := e.Text("primaryGroupID") // 516 domain controllers, 521 read-only ones
	if group == "516" || group == "521" {
		f["class"] = string(inventory.DomainController)
	}
	text := e.Text("userAccountControl")
	uac, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil && text != "":
		r.problem("%s: userAccountControl: %q is no number", e.DN, text)
	case uac&(uacDC|uacRODC) != 0:
		f["class"] = string(inventory.DomainController)
	}
	if uac&uacDisabled != 0 {
		f["enabled"] = "false"
	}
}

// identity writes what needs no look at its form: it is made here.
func (r *reading) identity(e *directory.Entry, f map[string]string) {
	if b := e.Bytes("objectSid"); b != nil {
		sid, err := directory.SID(b)
		if err != nil {
			r.problem("%s: objectSid: %v", e.DN, err)
		} else {
			f["claims.sid"] = sid
		}
	}
	if id, err := directory.GUID(e.Bytes("objectGUID")); err == nil {
		f["claims.object_guid"] = id
	}
}

// lastSeen is the newest of two witnesses: the logon, noted every 9 to 14 days, and the machine's own password change,
// every 30 days.
func (r *reading) lastSeen(e *directory.Entry) time.Time {
	var newest time.Time
	for _, name := range []string{"lastLogonTimestamp", "pwdLastSet"} {
		t, err := directory.Filetime(e.Text(name))
		if err != nil {
			r.problem("%s: %s: %v", e.DN, name, err)
			continue
		}
		if t.After(r.at.Add(24*time.Hour)) || !t.IsZero() && t.Year() < 1990 {
			r.problem("%s: %s: %s cannot be", e.DN, name, t.Format(time.DateOnly))
			continue
		}
		if t.After(newest) {
			newest = t
		}
	}
	return newest
}

// parentOf cuts the first part off a distinguished name; a comma after a backslash is part of the name (RFC 4514 2.4).
func parentOf(dn string) string {
	for i := 0; i < len(dn); i++ {
		switch dn[i] {
		case '\\':
			i++
		case ',':
			return dn[i+1:]
		}
	}
	return ""
}

// domainOf gives "corp.example" for ...,DC=corp,DC=example.
func domainOf(dn string) string {
	var labels []string
	for rest := dn; rest != ""; rest = parentOf(rest) {
		if len(rest) > 3 && strings.EqualFold(rest[:3], "DC=") {
			label, _, _ := strings.Cut(rest[3:], ",")
			labels = append(labels, strings.ToLower(label))
		}
	}
	return strings.Join(labels, ".")
}
