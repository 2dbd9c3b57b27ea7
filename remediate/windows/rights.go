package windows

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

// Rights are written as Windows writes them, in SDDL ([MS-DTYP] section 2.5.1): the same in every language. agent.ps1 has the same
// rule in Assert-Own.
var (
	sddlParts = lazyregexp.New(`^O:(BA|SY|S-1-[0-9-]+|[A-Z]{2})(G:[A-Z0-9-]+?)?D:[A-Z]*((\([^()]*\))+)(S:.*)?$`)
	aceParts  = lazyregexp.New(`\(([^()]*)\)`)
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

// marks are a file's, as far as the machine knows any.
func (r *run) marks(place string) (Marks, error) {
	marker, ok := r.Files.(Marker)
	if !ok {
		return Marks{}, nil
	}
	marks, err := marker.Marks(place)
	if err != nil {
		return Marks{}, fmt.Errorf("read the rights of %s: %w", place, err)
	}
	return marks, nil
}

// mark gives a file that came from our folder the marks of what stood there, or is kept, by its record; where nothing did, those that
// its folder gives. A file that has them already is left alone, and so is one of whose marks the record says nothing.
func (r *run) mark(place string, u undoRecord) error {
	marker, ok := r.Files.(Marker)
	if !ok || u.Kept != "" && u.SDDL == "" {
		return nil
	}
	now, err := r.marks(place)
	if err != nil || now.SDDL == "" {
		return err
	}
	want := Marks{u.SDDL, now.Attributes}
	if u.Marks != nil {
		want.Attributes = *u.Marks
	}
	if want.SDDL != "" && sameRights(now.SDDL, want.SDDL) && now.Attributes == want.Attributes {
		return nil
	}
	if err := marker.Mark(place, want); err != nil {
		return fmt.Errorf("give %s its rights: %w", place, err)
	}
	now, err = r.marks(place)
	if err == nil && want.SDDL != "" && !sameRights(now.SDDL, want.SDDL) {
		r.remarks = append(r.remarks, fmt.Sprintf("the rights of %s are not those that it had", place))
	}
	return err
}

var rightsHead = lazyregexp.New(`^(O:[A-Z0-9-]+?)?(?:G:[A-Z0-9-]+?)?D:(P?)[A-Z]*`)

// sameRights compares owner and entries: the group is nobody's business, and neither are marks of inheritance.
func sameRights(one, two string) bool {
	return rightsHead.ReplaceAllString(one, "${1}D:$2") == rightsHead.ReplaceAllString(two, "${1}D:$2")
}

var sddlTail = lazyregexp.New(`D:.*$`)

// splitRights cuts SDDL into its owner and its entries ("D:...").
func splitRights(sddl string) (owner, list string) {
	if parts := sddlParts.FindStringSubmatch(sddl); parts != nil {
		owner = parts[1]
	}
	return owner, sddlTail.FindString(sddl)
}

// handedDown are the entries that a folder's hand down to what is in it.
func handedDown(sddl string, toFolder bool) string {
	var all strings.Builder
	_, list := splitRights(sddl)
	for _, ace := range aceParts.FindAllStringSubmatch(list, -1) {
		fields := strings.Split(ace[1], ";")
		if len(fields) < 2 {
			continue
		}
		var flags []string // of two letters each
		for pair := range slices.Chunk([]byte(fields[1]), 2) {
			flags = append(flags, string(pair))
		}
		switch {
		case toFolder && slices.Contains(flags, "CI"):
			flags = slices.DeleteFunc(flags, func(f string) bool { return f == "IO" || f == "ID" })
			fields[1] = strings.Join(flags, "") + "ID"
		case !toFolder && slices.Contains(flags, "OI"):
			fields[1] = "ID"
		default:
			continue
		}
		all.WriteString("(" + strings.Join(fields, ";") + ")")
	}
	return all.String()
}
