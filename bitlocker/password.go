package bitlocker

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/fleetmend/fleetmend/internal/secret"
)

// Groups of a recovery password, and digits of a group.
const (
	GroupCount = 8
	GroupSize  = 6
)

// Password is a recovery password: 48 digits in 8 groups of 6. Each group is a 16-bit number times 11, so that every
// single wrong digit and every swap of two neighbours inside a group is noticed. It prints as dots in every formatter,
// encoder and log. The zero value is no password; every other one has passed [ParsePassword]. It is immutable and safe
// for concurrent use; compare with [Password.Equal].
type Password struct{ digits secret.String }

// ParsePassword reads a recovery password with hyphens, other dashes, blanks or nothing between the groups, and checks
// every group. The error is a [*PasswordError]; it names the wrong groups by position and repeats no digit.
func ParsePassword(s string) (Password, error) {
	groups, err := splitGroups(s)
	if err != nil {
		return Password{}, err
	}
	var wrong []GroupError
	for i, g := range groups {
		if reason := checkGroup(g); reason != "" {
			wrong = append(wrong, GroupError{Group: i + 1, Reason: reason})
		}
	}
	if len(groups) != GroupCount {
		return Password{}, &PasswordError{Reason: fmt.Sprintf("it has %d groups instead of 8", len(groups)), Groups: wrong}
	}
	if len(wrong) > 0 {
		return Password{}, &PasswordError{Groups: wrong}
	}
	return Password{secret.New(strings.Join(groups, "-"))}, nil
}

// PasswordFromNumbers gives the password whose groups are the numbers times 11. It is how the password is stored in a
// volume, and how one is made from 16 random bytes.
func PasswordFromNumbers(n [GroupCount]uint16) Password {
	groups := make([]string, GroupCount)
	for i, v := range n {
		groups[i] = fmt.Sprintf("%06d", int(v)*11)
	}
	return Password{secret.New(strings.Join(groups, "-"))}
}

// CheckGroup checks one group while it is typed. It returns nil or a [GroupError] with the given position (from 1).
func CheckGroup(position int, group string) error {
	if reason := checkGroup(group); reason != "" {
		return GroupError{Group: position, Reason: reason}
	}
	return nil
}

// checkGroup says what is wrong with a group, without repeating it.
func checkGroup(g string) string {
	n := 0
	for _, r := range g {
		if r < '0' || r > '9' {
			return "contains something other than digits"
		}
	}
	if len(g) != GroupSize {
		return fmt.Sprintf("has %d digits instead of 6", len(g))
	}
	for _, r := range g {
		n = n*10 + int(r-'0')
	}
	switch {
	case n%11 != 0:
		return "is mistyped (its check does not come out)"
	case n/11 > 0xffff:
		return "is too large for a recovery password (mistyped)"
	}
	return ""
}

// splitGroups cuts at whatever stands between groups, or every 6 digits where nothing does.
func splitGroups(s string) ([]string, error) {
	s = strings.TrimFunc(s, func(r rune) bool { return isBlank(r) || strings.ContainsRune("'\"`.,;", r) })
	if s == "" {
		return nil, &PasswordError{Reason: "it is empty"}
	}
	if len(s) > 512 {
		return nil, &PasswordError{Reason: "it is far too long"}
	}
	groups := strings.FieldsFunc(s, func(r rune) bool { return isDash(r) || isBlank(r) })
	if len(groups) != 1 {
		return groups, nil
	}
	run := groups[0]
	groups = nil
	for rest := run; rest != ""; {
		n := min(GroupSize, len(rest))
		groups = append(groups, rest[:n])
		rest = rest[n:]
	}
	if len(run) == GroupCount*GroupSize {
		return groups, nil
	}
	err := &PasswordError{Reason: fmt.Sprintf("it has %d characters instead of 48 digits", len(run))}
	for i, g := range groups { // what follows the first wrong group is shifted and says nothing
		if reason := checkGroup(g); reason != "" {
			err.Groups = []GroupError{{Group: i + 1, Reason: reason}}
			break
		}
	}
	return nil, err
}

func isBlank(r rune) bool {
	return r == ' ' || r == '\t' || r == '\r' || r == '\n' || r == '\u00a0' || r == '\ufeff' || r == '\u202f'
}

// PasswordError says why something is no recovery password. It repeats nothing of it.
type PasswordError struct {
	Reason string       // about the whole; empty where only groups are wrong
	Groups []GroupError // in order of position
}

func (e *PasswordError) Error() string {
	var parts []string
	if e.Reason != "" {
		parts = append(parts, e.Reason)
	}
	for _, g := range e.Groups {
		parts = append(parts, g.Error())
	}
	return "recovery password: " + strings.Join(parts, "; ")
}

// GroupError names a wrong group.
type GroupError struct {
	Group  int    // position, 1 to 8
	Reason string // "is mistyped (its check does not come out)"
}

func (e GroupError) Error() string { return fmt.Sprintf("group %d %s", e.Group, e.Reason) }

// IsZero reports whether there is no password.
func (p Password) IsZero() bool { return p.digits.IsZero() }

// Equal compares in constant time.
func (p Password) Equal(other Password) bool { return p.digits.Equal(other.digits) }

// Reveal returns the password as manage-bde takes it: 8 groups of 6 digits with hyphens. Call it where the value is used.
func (p Password) Reveal() string { return p.digits.Reveal() }

// Digits returns the 48 digits without hyphens, as a scanner types them at the recovery prompt.
func (p Password) Digits() string { return strings.ReplaceAll(p.digits.Reveal(), "-", "") }

// Groups returns the 8 groups of 6 digits. Of the zero value all are empty.
func (p Password) Groups() (groups [GroupCount]string) {
	copy(groups[:], strings.Split(p.digits.Reveal(), "-"))
	return groups
}

// Numbers returns the groups divided by 11, as the key derivation of a volume takes them (16 bytes, little endian).
func (p Password) Numbers() (n [GroupCount]uint16) {
	for i, g := range p.Groups() {
		v := 0
		for _, r := range g {
			v = v*10 + int(r-'0')
		}
		n[i] = uint16(v / 11)
	}
	return n
}

// Format prints dots for every verb and flag.
func (p Password) Format(f fmt.State, verb rune) { p.digits.Format(f, verb) }

// String prints dots.
func (p Password) String() string { return p.digits.String() }

// MarshalText encodes dots.
func (p Password) MarshalText() ([]byte, error) { return p.digits.MarshalText() }

// MarshalJSON encodes dots.
func (p Password) MarshalJSON() ([]byte, error) { return p.digits.MarshalJSON() }

// MarshalYAML encodes dots.
func (p Password) MarshalYAML() (any, error) { return p.digits.MarshalYAML() }

// LogValue logs dots.
func (p Password) LogValue() slog.Value { return p.digits.LogValue() }
