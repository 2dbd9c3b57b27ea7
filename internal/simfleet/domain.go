package simfleet

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/simfleet/directory"
)

// LAPSForm is how the password of a machine's local administrator is kept in the directory.
type LAPSForm string

// The forms.
const (
	LAPSClear     LAPSForm = "clear"     // Windows LAPS, msLAPS-Password
	LAPSLegacy    LAPSForm = "legacy"    // ms-Mcs-AdmPwd
	LAPSEncrypted LAPSForm = "encrypted" // msLAPS-EncryptedPassword: nothing a reader of the directory can use
	LAPSNone      LAPSForm = "none"
)

// localAdministrator is the account that LAPS looks after on every machine that has one.
const localAdministrator = "Administrator"

// identity is what the directory knows of a machine beyond its description. It depends on the seed and the machine alone.
type identity struct {
	guid  [16]byte
	sid   string
	laps  LAPSForm
	local secret.String // password of the local administrator; zero for a domain controller

	created, lastLogon, passwordSet time.Time
}

// domainSID is the SID of the fleet's domain.
func domainSID(seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 0xd0))
	return fmt.Sprintf("S-1-5-21-%d-%d-%d", 1+r.Uint32N(1<<31), 1+r.Uint32N(1<<31), 1+r.Uint32N(1<<31))
}

func randomGUID(r *rand.Rand) (g [16]byte) {
	binary.LittleEndian.PutUint64(g[:], r.Uint64())
	binary.LittleEndian.PutUint64(g[8:], r.Uint64())
	g[7], g[8] = g[7]&0x0f|0x40, g[8]&0x3f|0x80 // version 4; the third field is little-endian
	return g
}

const passwordLetters = "ABCDEFGHJKLMNPRSTUVWXYZabcdefghijkmnprstuvwxyz23456789"

func randomPassword(r *rand.Rand, n int) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = passwordLetters[r.IntN(len(passwordLetters))]
	}
	return string(out) + "-9x"
}

// identify draws what the directory knows of the machine with that number.
func (h *host) identify(number int, o *Options) identity {
	r := rand.New(rand.NewPCG(h.seed, 0x1d))
	id := identity{guid: randomGUID(r), sid: domainSID(o.Seed) + "-" + strconv.Itoa(1200+number)}
	share := r.Float64()
	id.local = secret.New(randomPassword(r, 14))
	switch {
	case h.info.Class == "dc":
		id.laps, id.local = LAPSNone, secret.String{}
	case share < .72:
		id.laps = LAPSClear
	case share < .84:
		id.laps = LAPSLegacy
	case share < .92:
		id.laps = LAPSEncrypted
	default:
		id.laps = LAPSNone
	}
	day := func(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }
	id.created = o.Incident.Add(-day(60 + r.IntN(1400))).Add(-time.Duration(r.IntN(86400)) * time.Second)
	before := o.Incident.Add(-time.Duration(1+r.IntN(13*86400)) * time.Second)
	during := o.Incident.Add(time.Duration(60+r.IntN(80*60)) * time.Second)
	switch {
	case h.info.Kind == CrashLoop, h.info.Kind.affected() && r.Float64() < .6:
		id.lastLogon = during // it comes up, signs in at the domain, and crashes: recently seen, not stale
	case h.info.Kind == Refused && r.IntN(2) == 0:
		id.lastLogon = o.Incident.Add(-day(100 + r.IntN(300))) // switched off long ago
		id.created = id.lastLogon.Add(-day(200))
	default:
		id.lastLogon = before
	}
	id.passwordSet = id.lastLogon.Add(-time.Duration(r.IntN(29*86400)) * time.Second)
	return id
}

// computer is the object of a machine.
func (h *host) computer(groups []string) directory.Object {
	id, name := &h.identity, h.info.Name
	control, primary := 4096, "515"
	if h.info.Class == "dc" {
		control, primary = 532480, "516" // SERVER_TRUST_ACCOUNT and TRUSTED_FOR_DELEGATION
	}
	sid := mustSID(id.sid)
	attributes := []directory.Attribute{
		directory.Attr("objectClass", "top", "person", "organizationalPerson", "user", "computer"),
		directory.Attr("cn", name), directory.Attr("objectGUID", string(id.guid[:])), directory.Attr("objectSid", sid),
		directory.Attr("whenCreated", directory.Time(id.created)), directory.Attr("whenChanged", directory.Time(id.lastLogon)),
		directory.Attr("userAccountControl", strconv.Itoa(control)), directory.Attr("primaryGroupID", primary),
		directory.Attr("sAMAccountName", name+"$"), directory.Attr("sAMAccountType", "805306369"),
		directory.Attr("operatingSystem", h.info.OS), directory.Attr("operatingSystemVersion", fmt.Sprintf("10.0 (%d)", h.info.Build)),
		directory.Attr("dNSHostName", h.info.FQDN),
		directory.Attr("servicePrincipalName", "HOST/"+name, "HOST/"+h.info.FQDN, "RestrictedKrbHost/"+h.info.FQDN, "WSMAN/"+name, "WSMAN/"+h.info.FQDN),
		directory.Attr("objectCategory", category("Computer")), directory.Attr("msDS-SupportedEncryptionTypes", "28"),
		directory.Attr("lastLogonTimestamp", directory.FileTime(id.lastLogon)), directory.Attr("pwdLastSet", directory.FileTime(id.passwordSet)),
		directory.Attr("memberOf", groups...),
	}
	return directory.Object{DN: h.dn(), Attributes: append(attributes, h.lapsAttributes()...)}
}

func (h *host) dn() string { return "CN=" + h.info.Name + "," + h.info.OU }

// lapsAttributes are the password of the local administrator in the form its machine keeps it (MS-ADA2 2.64 to 2.66).
func (h *host) lapsAttributes() []directory.Attribute {
	id := &h.identity
	set, expires := id.passwordSet, directory.FileTime(id.passwordSet.Add(30*24*time.Hour))
	switch id.laps {
	case LAPSClear:
		ticks, _ := strconv.ParseUint(directory.FileTime(set), 10, 64)
		text, _ := json.Marshal(map[string]string{"n": localAdministrator, "t": strconv.FormatUint(ticks, 16), "p": id.local.Reveal()})
		return []directory.Attribute{directory.Attr("msLAPS-PasswordExpirationTime", expires), directory.Attr("msLAPS-Password", string(text))}
	case LAPSLegacy:
		return []directory.Attribute{directory.Attr("ms-Mcs-AdmPwdExpirationTime", expires), directory.Attr("ms-Mcs-AdmPwd", id.local.Reveal())}
	case LAPSEncrypted:
		return []directory.Attribute{directory.Attr("msLAPS-PasswordExpirationTime", expires), directory.Attr("msLAPS-EncryptedPassword", sealedBlob(h.seed, set))}
	}
	return nil
}

// sealedBlob has the outer form of an encrypted password: time, size, reserved, and a blob that nobody here can open.
func sealedBlob(seed uint64, set time.Time) string {
	r := rand.New(rand.NewPCG(seed, 0xe7))
	ticks, _ := strconv.ParseUint(directory.FileTime(set), 10, 64)
	const size = 1200
	b := binary.LittleEndian.AppendUint32(nil, uint32(ticks>>32))
	b = binary.LittleEndian.AppendUint32(b, uint32(ticks))
	b = binary.LittleEndian.AppendUint32(b, size)
	b = binary.LittleEndian.AppendUint32(b, 0)
	for range size {
		b = append(b, byte(r.Uint32()))
	}
	return string(b)
}

// LAPS returns what the directory keeps of the local administrator of a machine: the form, the account and, unless the
// form is none, the password that the machine accepts.
func (f *Fleet) LAPS(name string) (LAPSForm, string, secret.String, error) {
	h, ok := f.byName[name]
	if !ok {
		return "", "", secret.String{}, fmt.Errorf("LAPS of %q: no such simulated machine", name)
	}
	return h.identity.laps, localAdministrator, h.identity.local, nil
}

func category(class string) string {
	return "CN=" + class + ",CN=Schema,CN=Configuration," + directory.DomainDN(dnsDomain)
}

func mustSID(text string) string {
	b, err := directory.SID(text)
	if err != nil {
		panic("simfleet: " + err.Error())
	}
	return string(b)
}

// unitsOf returns the units a name lies in, the outermost first.
func unitsOf(dn string) []string {
	top := "," + directory.DomainDN(dnsDomain)
	var out []string
	for rest := dn; strings.HasPrefix(rest, "OU="); {
		out = append([]string{rest}, out...)
		_, after, ok := strings.Cut(rest, ",")
		if !ok || !strings.HasSuffix(after, top) {
			break
		}
		rest = after
	}
	return out
}
