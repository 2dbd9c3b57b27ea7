package machine

import (
	"fmt"
	"slices"
	"strings"
)

// The codes with which manage-bde ends.
const (
	bdeInvalid    = 0x80070057 // E_INVALIDARG
	bdeNotThere   = 0x80310033 // FVE_E_PROTECTOR_NOT_FOUND
	bdeNoDomain   = 0x8007054B // ERROR_NO_SUCH_DOMAIN
	bdeNoBDE      = 0x80310008 // FVE_E_NOT_ACTIVATED
	manageBDEPath = `C:\Windows\System32\manage-bde.exe`
)

// bdeWords are what manage-bde says, in the language of the machine. A script that goes by them works on some machines.
type bdeWords struct{ title, volume, all, password, secret, added, saved, deleted, failed, none string }

var bdeLanguages = map[string]bdeWords{
	"en": {"BitLocker Drive Encryption: Configuration Tool version ", "Volume", "All Key Protectors", "Numerical Password", "Password", "Key Protectors Added:",
		"Recovery information was successfully backed up.", "Key protector with identifier %q deleted.", "ERROR: An error occurred (code 0x%08x):", "ERROR: No key protectors found."},
	"de": {"BitLocker-Laufwerkverschlüsselung: Konfigurationstool, Version ", "Volume", "Alle Schlüsselschutzvorrichtungen", "Numerisches Kennwort", "Kennwort", "Hinzugefügte Schlüsselschutzvorrichtungen:",
		"Die Wiederherstellungsinformationen wurden erfolgreich gesichert.", "Die Schlüsselschutzvorrichtung mit der ID %q wurde gelöscht.", "FEHLER: Ein Fehler ist aufgetreten (Code 0x%08x):", "FEHLER: Es wurden keine Schlüsselschutzvorrichtungen gefunden."},
}

// manageBDE is manage-bde.exe with what concerns recovery passwords: -status, and -protectors with -get, -add, -adbackup,
// -aadbackup and -delete.
func (p *process) manageBDE(rest string) uint32 {
	words, ok := bdeLanguages[p.spec.Language]
	if !ok {
		words = bdeLanguages["en"]
	}
	if _, ok := p.disk.stat(manageBDEPath); !ok {
		return p.fail(9009, "'manage-bde' is not recognized as an internal or external command,\r\noperable program or batch file.\r\n")
	}
	args := arguments(rest)
	p.out("%s%s\r\nCopyright (C) 2013 Microsoft Corporation. All rights reserved.\r\n\r\n", words.title, versionOf(p.spec.Build))
	failed := func(code uint32) uint32 { p.out(words.failed+"\r\n", code); return code }
	if len(args) > 0 && strings.EqualFold(args[0], "-status") {
		for _, v := range p.Volumes() {
			p.out("%s %s [Windows]\r\n\r\n    Conversion Status:    Used Space Only Encrypted\r\n    Protection Status:    Protection On\r\n    Key Protectors:\r\n        TPM\r\n%s\r\n",
				words.volume, v.Letter, strings.Repeat("        "+words.password+"\r\n", len(v.Protectors)))
		}
		return 0
	}
	if len(args) < 3 || !strings.EqualFold(args[0], "-protectors") {
		return failed(bdeInvalid)
	}
	v, ok := p.volume(args[2])
	if !ok {
		return failed(bdeNoBDE)
	}
	id := ""
	if at := slices.IndexFunc(args, func(a string) bool { return strings.EqualFold(a, "-id") }); at >= 0 && at+1 < len(args) {
		id = strings.Trim(args[at+1], "{}")
	}
	known := slices.ContainsFunc(v.Protectors, func(k Protector) bool { return strings.EqualFold(k.ID(), id) })
	switch verb := strings.ToLower(args[1]); verb {
	case "-get":
		return p.showProtectors(words, v, args[3:], id)
	case "-add":
		if !slices.ContainsFunc(args[3:], func(a string) bool { return strings.EqualFold(a, "-RecoveryPassword") || strings.EqualFold(a, "-rp") }) {
			return failed(bdeInvalid)
		}
		fresh, _ := p.protect(v.Letter)
		p.out("%s\r\n\r\n%s", words.added, protectorText(words, fresh))
	case "-adbackup", "-aadbackup":
		if !known {
			return failed(bdeNotThere)
		}
		to := map[string]Escrow{"-adbackup": EscrowAD, "-aadbackup": EscrowEntra}[verb]
		if err := p.escrow(to, v, id); err != nil {
			return failed(bdeNoDomain)
		}
		p.out("%s\r\n", words.saved)
	case "-delete":
		if !known || !p.unprotect(v.Letter, id) {
			return failed(bdeNotThere)
		}
		p.out(words.deleted+"\r\n", "{"+strings.ToUpper(id)+"}")
	default:
		return failed(bdeInvalid)
	}
	return 0
}

// showProtectors is -get, of one type or ID where the arguments say so.
func (p *process) showProtectors(words bdeWords, v Volume, args []string, id string) uint32 {
	only := ""
	if at := slices.IndexFunc(args, func(a string) bool { return strings.EqualFold(a, "-type") || strings.EqualFold(a, "-t") }); at >= 0 && at+1 < len(args) {
		only = strings.ToLower(args[at+1])
	}
	var b strings.Builder
	if (only == "" || only == "tpm") && id == "" {
		fmt.Fprintf(&b, "    TPM:\r\n      ID: {%s}\r\n      PCR Validation Profile:\r\n        7, 11\r\n\r\n", Protector{GUID: v.GUID}.ID())
	}
	if only == "" || only == "recoverypassword" {
		for _, k := range v.Protectors {
			if id == "" || strings.EqualFold(k.ID(), id) {
				b.WriteString(protectorText(words, k))
			}
		}
	}
	p.out("%s %s [Windows]\r\n%s\r\n\r\n", words.volume, v.Letter, words.all)
	if b.Len() == 0 {
		p.out("%s\r\n", words.none)
		return bdeNotThere
	}
	p.out("%s", b.String())
	return 0
}

func protectorText(words bdeWords, k Protector) string {
	return fmt.Sprintf("    %s:\r\n      ID: {%s}\r\n      %s:\r\n        %s\r\n\r\n", words.password, k.ID(), words.secret, k.Password.Reveal())
}
