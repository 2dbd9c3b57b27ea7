package windows

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Rights are written as Windows writes them, in SDDL ([MS-DTYP] section 2.5.1): the same in every language. agent.ps1 has the same
// rule in Assert-Own.
var (
	sddlParts = regexp.MustCompile(`^O:(BA|SY|S-1-[0-9-]+|[A-Z]{2})(G:[A-Z0-9-]+?)?D:[A-Z]*((\([^()]*\))+)(S:.*)?$`)
	aceParts  = regexp.MustCompile(`\(([^()]*)\)`)
)

// OwnRights are the owner and the rights of what we make: SYSTEM and administrators alone, nothing inherited.
const OwnRights = "O:BAG:SYD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"

var trusted = []string{"BA", "SY", "S-1-5-18", "S-1-5-32-544"}

// ProveOwner reports whether the owner alone is SYSTEM, administrators or one of self.
func ProveOwner(sddl string, self ...string) bool {
	parts := sddlParts.FindStringSubmatch(sddl)
	return parts != nil && slices.Contains(slices.Concat(trusted, self), parts[1])
}

// ProveRights reports what makes a folder unfit to hold what is obeyed: an owner, or an entry of its list, that is neither
// SYSTEM nor administrators. Self are SIDs that are as good: the account that this program runs as could change everything anyway.
func ProveRights(folder, sddl string, self ...string) error {
	ours := slices.Concat(trusted, self)
	parts := sddlParts.FindStringSubmatch(sddl)
	if parts == nil || !ProveOwner(sddl, self...) {
		return fmt.Errorf("%s belongs to somebody else than SYSTEM and administrators, or its rights are unusual: refused (%s)", folder, sddl)
	}
	for _, ace := range aceParts.FindAllStringSubmatch(parts[3], -1) {
		fields := strings.Split(ace[1], ";")
		if fields[0] == "D" {
			continue
		}
		if fields[0] != "A" || len(fields) < 6 || !slices.Contains(ours, fields[5]) {
			return fmt.Errorf("%s can be used by others than SYSTEM and administrators: refused (%s)", folder, sddl)
		}
	}
	return nil
}
