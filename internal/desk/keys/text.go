package keys

import (
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/internal/prose"
)

// Text says what was read, for people.
func (s Imported) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s read, %s new, %d changed, %s sealed\n", prose.OneLine(s.Source), prose.Counted(s.Rows, "row", "rows"),
		prose.Counted(s.New, "key", "keys"), s.Changed, prose.Counted(s.Sealed, "password", "passwords"))
	fmt.Fprintf(&b, "  read as %s\n", prose.OneLine(s.ReadAs))
	if s.NoID > 0 {
		is := map[bool]string{true: "is", false: "are"}[s.NoID == 1]
		fmt.Fprintf(&b, "  %s no key ID and %s kept as UNKNOWN- with the machine's name; keys verify and media try them by machine\n", prose.Counted(s.NoID, "key has", "keys have"), is)
	}
	if s.Kept > 0 {
		fmt.Fprintf(&b, "  the vault held another password of %s under this source: it is kept beside the new one\n", prose.Counted(s.Kept, "key", "keys"))
	}
	if n := len(s.BadRows); n > 0 {
		fmt.Fprintf(&b, "  %s left out, or their passwords\n", prose.Counted(n, "row was", "rows were"))
	}
	prose.Lines(&b, "left out", s.BadRows)
	prose.Lines(&b, "remark", s.Remarks)
	return b.String()
}

// Text says what was read, for people.
func (s Synced) Text() string {
	var b strings.Builder
	how := "what is new"
	if s.Full {
		how = "all"
	}
	moved := ""
	if s.Moved > 0 {
		moved = fmt.Sprintf(", %d of renamed or moved computers", s.Moved)
	}
	fmt.Fprintf(&b, "%s: %s read (%s), %d new, %d changed%s, %d gone there\n", prose.OneLine(s.Source), prose.Counted(s.Read, "key", "keys"), how, s.Added, s.Changed, moved, s.Gone)
	if s.Missing > 0 {
		fmt.Fprintf(&b, "  %d keys were not listed, and so many that none was marked: see whether the account lost a right; --full decides\n", s.Missing)
	}
	if p := s.Passwords; p != nil {
		fmt.Fprintf(&b, "  %s sealed, %d not ours to read, %d not stored there, %d that cannot be right\n", prose.Counted(p.Sealed, "password", "passwords"), p.Denied, p.Missing, p.Invalid)
		prose.Lines(&b, "not read", p.Failed)
	}
	return b.String()
}
