package directory

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// syntax says how values of an attribute are compared (MS-ADTS section 3.1.1.2.2.4).
type syntax uint8

const (
	textSyntax   syntax = iota // case does not matter
	numberSyntax               // Integer, LargeInteger
	timeSyntax                 // GeneralizedTime: compared as text
	dnSyntax
	octetSyntax
	sidSyntax
	boolSyntax
)

// attribute is one attribute of the schema.
type attribute struct {
	name         string
	syntax       syntax
	confidential bool // searchFlags 128: needs more than the right to read the object
	indexed      bool // an equality is looked up instead of compared with every object
}

type attributeID uint16

// schema is every attribute the simulated directory knows. Others exist nowhere, and a filter on them is undefined.
var schema = []attribute{
	{name: "objectClass"}, {name: "objectCategory", syntax: dnSyntax, indexed: true}, {name: "cn", indexed: true}, {name: "name", indexed: true},
	{name: "distinguishedName", syntax: dnSyntax, indexed: true}, {name: "objectGUID", syntax: octetSyntax, indexed: true},
	{name: "objectSid", syntax: sidSyntax, indexed: true}, {name: "sAMAccountName", indexed: true}, {name: "sAMAccountType", syntax: numberSyntax},
	{name: "userPrincipalName", indexed: true}, {name: "userAccountControl", syntax: numberSyntax}, {name: "primaryGroupID", syntax: numberSyntax},
	{name: "dNSHostName", indexed: true}, {name: "operatingSystem"}, {name: "operatingSystemVersion"}, {name: "servicePrincipalName", indexed: true},
	{name: "lastLogonTimestamp", syntax: numberSyntax}, {name: "pwdLastSet", syntax: numberSyntax}, {name: "msDS-SupportedEncryptionTypes", syntax: numberSyntax},
	{name: "whenCreated", syntax: timeSyntax}, {name: "whenChanged", syntax: timeSyntax},
	{name: "uSNCreated", syntax: numberSyntax}, {name: "uSNChanged", syntax: numberSyntax}, {name: "instanceType", syntax: numberSyntax},
	{name: "isDeleted", syntax: boolSyntax}, {name: "lastKnownParent", syntax: dnSyntax}, {name: "isCriticalSystemObject", syntax: boolSyntax},
	{name: "description"}, {name: "managedBy", syntax: dnSyntax}, {name: "location"}, {name: "groupType", syntax: numberSyntax},
	{name: "member", syntax: dnSyntax}, {name: "memberOf", syntax: dnSyntax}, {name: "ou"}, {name: "dc"}, {name: "displayName"},
	{name: "msLAPS-PasswordExpirationTime", syntax: numberSyntax}, {name: "msLAPS-Password", confidential: true},
	{name: "msLAPS-EncryptedPassword", syntax: octetSyntax, confidential: true},
	{name: "ms-Mcs-AdmPwd", confidential: true}, {name: "ms-Mcs-AdmPwdExpirationTime", syntax: numberSyntax},
	{name: "msFVE-RecoveryPassword", confidential: true}, {name: "msFVE-KeyPackage", syntax: octetSyntax, confidential: true},
	{name: "msFVE-RecoveryGuid", syntax: octetSyntax, indexed: true}, {name: "msFVE-VolumeGuid", syntax: octetSyntax},
	{name: "nCName", syntax: dnSyntax}, {name: "nETBIOSName"}, {name: "dnsRoot"}, {name: "systemFlags", syntax: numberSyntax},
	{name: "siteObject", syntax: dnSyntax}, {name: "lDAPDisplayName", indexed: true}, {name: "searchFlags", syntax: numberSyntax}, {name: "attributeID"},
	{name: "schemaIDGUID", syntax: octetSyntax}, {name: "invocationId", syntax: octetSyntax},
	{name: "lockoutThreshold", syntax: numberSyntax}, {name: "lockOutObservationWindow", syntax: numberSyntax}, {name: "lockoutDuration", syntax: numberSyntax},
	{name: "msDS-LockoutThreshold", syntax: numberSyntax}, {name: "msDS-LockoutObservationWindow", syntax: numberSyntax},
	{name: "msDS-LockoutDuration", syntax: numberSyntax}, {name: "msDS-ResultantPSO", syntax: dnSyntax},
}

var attributeByName = func() map[string]attributeID {
	out := make(map[string]attributeID, len(schema))
	for i, a := range schema {
		out[strings.ToLower(a.name)] = attributeID(i)
	}
	return out
}()

// mustAttribute is for names written in this program.
func mustAttribute(name string) attributeID {
	id, ok := attributeByName[strings.ToLower(name)]
	if !ok {
		panic("simulated directory: attribute " + name + " is not in the schema")
	}
	return id
}

var (
	attrCategory = mustAttribute("objectCategory")
	attrMember   = mustAttribute("member")
	attrMemberOf = mustAttribute("memberOf")
)

// normalDN is the form in which names are compared: lower case, no blanks around the commas between its parts.
func normalDN(dn string) string {
	dn = strings.ToLower(strings.TrimSpace(dn))
	if !strings.Contains(dn, ", ") && !strings.Contains(dn, " ,") {
		return dn
	}
	var b strings.Builder
	for i, part := range splitDN(dn) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strings.TrimSpace(part))
	}
	return b.String()
}

// splitDN cuts a name at its unescaped commas.
func splitDN(dn string) []string {
	var parts []string
	start := 0
	for i := 0; i < len(dn); i++ {
		switch dn[i] {
		case '\\':
			i++
		case ',':
			parts = append(parts, dn[start:i])
			start = i + 1
		}
	}
	return append(parts, dn[start:])
}

// parentDN is the name above, "" above the top.
func parentDN(dn string) string {
	parts := splitDN(dn)
	return strings.TrimPrefix(dn[len(parts[0]):], ",")
}

// within reports whether the normalised name is base or below it.
func within(key, base string) bool {
	if len(key) <= len(base) {
		return key == base
	}
	at := len(key) - len(base) - 1
	return key[at+1:] == base && key[at] == ',' && (at == 0 || key[at-1] != '\\')
}

// SID is the wire form of a SID (MS-DTYP section 2.4.2.2).
func SID(text string) ([]byte, error) {
	parts := strings.Split(text, "-")
	if len(parts) < 3 || len(parts) > 18 || !strings.EqualFold(parts[0], "S") || parts[1] != "1" {
		return nil, fmt.Errorf("%q is no SID", text)
	}
	authority, err := strconv.ParseUint(parts[2], 10, 48)
	if err != nil {
		return nil, fmt.Errorf("%q is no SID", text)
	}
	b := make([]byte, 8, 8+4*len(parts))
	binary.BigEndian.PutUint64(b, authority)
	b[0], b[1] = 1, byte(len(parts)-3)
	for _, p := range parts[3:] {
		n, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%q is no SID", text)
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return b, nil
}
