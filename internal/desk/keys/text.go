package keys

import (
	"fmt"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/fve"
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

// PasswordText says where the password of a key is.
func PasswordText(s bitlocker.State) string {
	switch s {
	case bitlocker.StateSealed:
		return "in the vault"
	case bitlocker.StateMissing:
		return "not stored there"
	case bitlocker.StateDenied:
		return "not ours to read"
	case bitlocker.StateInvalid:
		return "cannot be right"
	case bitlocker.StateUnknown:
	}
	return "at the source"
}

// Remark says what has to be known of a key. What one of several places says names that place.
func (k Key) Remark() string {
	var words []string
	if named := k.Machines(); len(named) > 1 {
		words = append(words, "the places name different machines: "+strings.Join(named, ", "))
	}
	for _, source := range k.Sources() {
		if n := k.times(source); n > 1 {
			words = append(words, fmt.Sprintf("%s has it %d times, perhaps with different passwords", source, n))
		}
	}
	for _, p := range k.Places {
		at := ""
		if len(k.Places) > 1 {
			at = p.Source + ": "
		}
		if p.Deleted {
			words = append(words, at+"deleted there")
		}
		if p.Stale {
			words = append(words, at+strings.TrimSuffix("replaced: "+p.StaleCause, ": "))
		}
		if p.Note != "" {
			words = append(words, at+p.Note)
		}
	}
	if !k.Rotated.IsZero() {
		words = append(words, "rotated "+prose.Minute(k.Rotated))
	} else if !k.RotationAsked.IsZero() {
		words = append(words, "rotation asked of Intune "+prose.Minute(k.RotationAsked))
	}
	return strings.Join(words, "; ")
}

// Head says of which machine the key is, from where, and what has to be known of it; the password is not in it.
func (key Revealed) Head() string {
	var b strings.Builder
	fmt.Fprintf(&b, "machine    %s\n", prose.OneLine(key.Machine.Label()))
	fmt.Fprintf(&b, "key ID     %s\n", key.ID)
	if !key.Created.IsZero() {
		fmt.Fprintf(&b, "escrowed   %s\n", prose.Minute(key.Created))
	}
	fmt.Fprintf(&b, "source     %s\n", prose.OneLine(key.Source))
	if len(key.Agree) > 1 {
		fmt.Fprintf(&b, "agreed     %s hold the same password\n", prose.OneLine(strings.Join(key.Agree, ", ")))
	}
	if len(key.Unasked) > 0 {
		fmt.Fprintf(&b, "not asked  %s\n", prose.OneLine(strings.Join(key.Unasked, ", ")))
	}
	if text := (Key{Places: []Place{{Match: bitlocker.Match{KeyRef: key.KeyRef}}}}).Remark(); text != "" {
		fmt.Fprintf(&b, "remark     %s\n", prose.OneLine(text))
	}
	return b.String()
}

// StatusText says what the vault holds, from where, how old it is now, and what unlocks it.
func StatusText(s bitlocker.Status, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s known, %s sealed in the vault\n", prose.Counted(s.Refs, "key", "keys"), prose.Counted(s.Passwords, "password", "passwords"))
	for _, source := range s.Sources {
		seen := "never read as a whole"
		if !source.Synced.IsZero() {
			seen = "read " + prose.Ago(source.Synced, now)
		}
		fmt.Fprintf(&b, "  %s%s, %s\n", prose.Pad(prose.OneLine(source.Source), 28), prose.Counted(source.Refs, "key", "keys"), seen)
	}
	if len(s.Slots) == 0 {
		fmt.Fprintln(&b, "It has no passphrase yet: `fleetmend keys protect`")
	}
	for _, slot := range s.Slots {
		fmt.Fprintf(&b, "unlocked by %s%s since %s\n", prose.Pad(string(slot.Kind), 12), prose.OneLine(slot.Label), prose.Second(slot.Created))
	}
	return b.String()
}

// VolumesText says of each volume what is known, what opens it or why nothing does.
func VolumesText(results []Verified) string {
	var b strings.Builder
	for i, r := range results {
		if i > 0 {
			b.WriteByte('\n')
		}
		if r.Partition.Number > 0 {
			fmt.Fprintf(&b, "partition  %d, %d bytes at byte %d\n", r.Partition.Number, r.Partition.Size, r.Partition.Start)
		}
		if r.Volume != nil {
			writeVolume(&b, r.Volume, r.Partition.Size)
		}
		for _, id := range r.Known {
			fmt.Fprintf(&b, "known      %s\n", id)
		}
		switch {
		case r.OpenedBy != nil:
			fmt.Fprintf(&b, "opened by  %s\n", r.OpenedBy.ID)
			if !r.OpenedBy.Genuine {
				fmt.Fprintln(&b, "remark     the metadata could not be confirmed as Windows wrote them")
			}
		case r.NeedsNone && r.Volume.Suspended():
			fmt.Fprintln(&b, "It needs no key: protection is suspended.")
		case r.NeedsNone:
			fmt.Fprintln(&b, "It needs no key: nothing is encrypted.")
		default:
			fmt.Fprintf(&b, "not opened %s\n", prose.OneLine(r.Error))
		}
	}
	return b.String()
}

// writeVolume says of a volume what its JSON knows.
func writeVolume(b *strings.Builder, v *fve.Volume, size int64) {
	fmt.Fprintf(b, "volume     %s\nmetadata   %s, %s", prose.OneLine(v.Description), v.ID, v.Layout)
	if !v.Created.IsZero() {
		fmt.Fprintf(b, ", made %s", minute(v.Created))
	}
	fmt.Fprintf(b, "\nstate      %s, %s\n", v.State, v.Method)
	if v.State.Converting() {
		fmt.Fprintf(b, "converted  up to byte %d of %d\n", v.Converted, size)
	}
	if v.Suspended() {
		fmt.Fprintln(b, "protection SUSPENDED: the key of what is encrypted lies open on the volume")
	}
	for _, p := range v.Protectors {
		words := []string{string(p.Kind)}
		if p.Kind == fve.Unknown {
			words = append(words, fmt.Sprintf("(flags %#04x)", p.Flags))
		}
		if p.Name != "" {
			words = append(words, prose.OneLine(p.Name))
		}
		if !p.Changed.IsZero() {
			words = append(words, "of "+minute(p.Changed))
		}
		fmt.Fprintf(b, "protector  %s  %s\n", p.ID, strings.Join(words, " "))
	}
	for i, c := range v.Copies {
		switch {
		case c.Damage != "":
			fmt.Fprintf(b, "DAMAGED    copy %d of %d of the metadata, at byte %d: %s\n", i+1, len(v.Copies), c.Offset, prose.OneLine(c.Damage))
		case !c.Checked:
			fmt.Fprintf(b, "remark     copy %d of %d of the metadata, at byte %d, has no checksum\n", i+1, len(v.Copies), c.Offset)
		}
	}
}

// minute is a time of the metadata, which Windows keeps in UTC.
func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
