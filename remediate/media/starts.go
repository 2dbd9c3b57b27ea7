package media

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/remediate/media/pesign"
)

// signedBy says in a few words who signed a boot file.
func signedBy(f *pesign.File) string {
	var names []string
	for _, s := range f.Signatures {
		switch {
		case s.Nested:
		case s.Problem != nil:
			names = append(names, fmt.Sprintf("someone, but the signature does not hold (%v)", s.Problem))
		case s.Authority != "":
			names = append(names, string(s.Authority))
		default:
			names = append(names, s.Issuer())
		}
	}
	if len(names) == 0 {
		return "not signed"
	}
	return "signed under " + strings.Join(names, " and ")
}

// startsOn says, one sentence each, which machines start a boot file under Secure Boot and which do not.
func startsOn(f *pesign.File) (lines []string) {
	has := func(a pesign.Authority) bool { return slices.Contains(f.Authorities(), a) }
	old, now := has(pesign.WindowsPCA2011), has(pesign.WindowsUEFI2023)
	switch {
	case old && now:
		lines = append(lines, "Secure Boot on: starts where the firmware trusts the Windows certificates of 2011 or of 2023")
	case old:
		lines = append(lines, "Secure Boot on: starts where the firmware trusts Microsoft Windows Production PCA 2011; not where it was revoked (KB5025885 carried out to its end), nor on new machines that know 2023 only")
	case now:
		lines = append(lines, "Secure Boot on: starts where the firmware has Windows UEFI CA 2023 in its db (machines made since 2024, or updated since); not on others")
	}
	switch {
	case has(pesign.UEFI2011) && has(pesign.UEFI2023):
		lines = append(lines, "Secure Boot on: starts where the firmware trusts Microsoft's UEFI CA for other makers, 2011 or 2023 (off by default on some machines)")
	case has(pesign.UEFI2011):
		lines = append(lines, "Secure Boot on: starts where the firmware trusts Microsoft Corporation UEFI CA 2011 for other makers (off by default on some machines)")
	case has(pesign.UEFI2023):
		lines = append(lines, "Secure Boot on: starts where the firmware trusts Microsoft UEFI CA 2023 for other makers (off by default on some machines)")
	}
	var own []string
	for _, s := range f.Signatures {
		if s.Problem == nil && !s.Nested && s.Authority == "" {
			own = append(own, s.Issuer())
		}
	}
	if len(own) > 0 {
		lines = append(lines, "Secure Boot on: starts where the owner put this certificate into the firmware's db: "+strings.Join(own, "; "))
	}
	if len(lines) == 0 {
		lines = append(lines, "Secure Boot on: refused by every machine, because the boot file is "+signedBy(f))
	}
	return append(lines, "Secure Boot off: starts on every UEFI machine with this processor ("+peArch(f.Machine)+")")
}
