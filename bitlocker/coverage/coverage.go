// Package coverage says before the crisis whose recovery key is missing: per OU or site, which machines have a key, none,
// several, only stale ones, one that cannot be right, or one that may not be read.
//
// [Build] is a pure function over machine facts and key references; [Report.Text], [Report.CSV] and [Report.HTML] write
// what it found. The package reads no password and knows no directory.
package coverage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
)

// Machine is what the report needs to know of a machine.
type Machine struct {
	ID        string // of the inventory
	Name      string
	FQDN      string
	Serial    string
	DN        string    // distinguished name in AD
	DeviceIDs []string  // Entra device IDs, of all records of the machine
	GUID      string    // objectGUID of its computer object in AD
	Group     string    // OU or site, as the caller wants the report divided
	Reimaged  time.Time // when it was last set up, as far as a source says: Windows installed, account created, enrolled
	NoDrive   bool      // known not to be encrypted: no key is expected
	LeftOut   string    // why nobody expects a key of it: "gone", "disabled"; it is counted, and its keys are no orphans
}

// Verdict is the finding about a machine.
type Verdict string

// The verdicts, the worst first.
const (
	None       Verdict = "none"        // no key is known
	Invalid    Verdict = "invalid"     // every key that was read cannot be right
	Unreadable Verdict = "unreadable"  // keys are listed, and we may read none of them
	Stale      Verdict = "stale"       // every key was escrowed before the last re-image, or replaced, or deleted
	Several    Verdict = "several"     // more than one key for the system volume that may be current: the key ID decides
	OK         Verdict = "ok"          // one
	Exempt     Verdict = "unencrypted" // known not to be encrypted
)

// Verdicts lists them, the worst first.
func Verdicts() []Verdict { return []Verdict{None, Invalid, Unreadable, Stale, Several, OK, Exempt} }

// Advice is what to do about a verdict, in one sentence.
func (v Verdict) Advice() string {
	switch v {
	case None:
		return "Escrow a key: manage-bde -protectors -adbackup, or the policy of Intune or ConfigMgr; look for the machine in other sources first."
	case Invalid:
		return "What is stored cannot be a recovery password; escrow the key again while the machine runs."
	case Unreadable:
		return "Ask for the right to read these keys (AD: CONTROL_ACCESS on msFVE-RecoveryPassword; Entra: BitlockerKey.Read.All)."
	case Stale:
		return "Only keys from before the last re-image are stored; escrow the present one."
	case Several:
		return "Normal after rotation; compare the key ID on the recovery screen."
	case OK, Exempt:
	}
	return ""
}

// Line is one machine of the report.
type Line struct {
	Machine Machine         `json:"machine"`
	Verdict Verdict         `json:"verdict"`
	Keys    int             `json:"keys"`            // references, all of them
	Usable  int             `json:"usable"`          // neither stale nor invalid nor unreadable
	Newest  bitlocker.KeyID `json:"newest,omitzero"` // the newest usable one, or else the newest
	Created time.Time       `json:"created,omitzero"`
	Sources []string        `json:"sources,omitempty"`
	Why     string          `json:"why,omitempty"` // one sentence, where the verdict alone does not say it
}

// Sum counts the machines of a group.
type Sum struct {
	Group  string          `json:"group"`
	Total  int             `json:"total"`
	Counts map[Verdict]int `json:"counts"`
}

// Covered is the share of machines, of those that need a key, that have a usable one: 0 to 1; 1 where none needs one.
func (s Sum) Covered() float64 {
	need := s.Total - s.Counts[Exempt]
	if need == 0 {
		return 1
	}
	return float64(s.Counts[OK]+s.Counts[Several]) / float64(need)
}

// Report is the coverage of a fleet.
type Report struct {
	At      time.Time         `json:"at"`
	Total   Sum               `json:"total"`
	LeftOut map[string]int    `json:"left_out,omitempty"` // reason -> machines that are in no sum
	Groups  []Sum             `json:"groups"`             // by name
	Lines   []Line            `json:"lines"`              // by group, worst first, then by name
	Orphans []bitlocker.Match `json:"orphans"`            // keys of no machine we know: re-imaged, renamed or deleted ones
}

// Build matches keys with machines and judges each. Keys are matched by the computer's GUID or a device ID, then DN, FQDN,
// serial number, and by short name only where it is one machine's and nothing else contradicts: a device ID, an FQDN, or a DN
// of another domain. A key whose computer has another GUID than a machine is never that machine's. A key that fits several
// machines is counted with none.
func Build(at time.Time, machines []Machine, keys []bitlocker.Match) Report {
	r := Report{At: at, Total: Sum{Group: "all", Counts: map[Verdict]int{}}}
	index := newIndex(machines)
	of := make([][]bitlocker.Match, len(machines))
	for _, k := range keys {
		if i, ok := index.find(k.Machine); ok {
			of[i] = append(of[i], k)
			continue
		}
		r.Orphans = append(r.Orphans, k)
	}
	sums := map[string]*Sum{}
	for i := range machines {
		m := &machines[i]
		if m.LeftOut != "" {
			if r.LeftOut == nil {
				r.LeftOut = map[string]int{}
			}
			r.LeftOut[m.LeftOut]++
			continue
		}
		line := judge(m, of[i])
		r.Lines = append(r.Lines, line)
		s := sums[m.Group]
		if s == nil {
			s = &Sum{Group: m.Group, Counts: map[Verdict]int{}}
			sums[m.Group] = s
		}
		for _, s := range []*Sum{s, &r.Total} {
			s.Total++
			s.Counts[line.Verdict]++
		}
	}
	for _, s := range sums {
		r.Groups = append(r.Groups, *s)
	}
	slices.SortFunc(r.Groups, func(a, b Sum) int { return cmp.Compare(a.Group, b.Group) })
	worst := Verdicts()
	slices.SortStableFunc(r.Lines, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Machine.Group, b.Machine.Group), slices.Index(worst, a.Verdict)-slices.Index(worst, b.Verdict), cmp.Compare(a.Machine.Name, b.Machine.Name))
	})
	slices.SortStableFunc(r.Orphans, func(a, b bitlocker.Match) int { return b.Created.Compare(a.Created) })
	return r
}

func judge(m *Machine, keys []bitlocker.Match) Line {
	line := Line{Machine: *m, Keys: len(keys)}
	slices.SortStableFunc(keys, func(a, b bitlocker.Match) int { return b.Created.Compare(a.Created) })
	var stale, invalid, denied, missing int
	current := map[bitlocker.KeyID]bool{}
	for _, k := range keys {
		if !slices.Contains(line.Sources, k.Source) {
			line.Sources = append(line.Sources, k.Source)
		}
		if line.Newest == "" {
			line.Newest, line.Created = k.ID, k.Created
		}
		switch {
		case k.State == bitlocker.StateInvalid:
			invalid++
			line.Why = k.Note
		case k.State == bitlocker.StateDenied:
			denied++
		case k.State == bitlocker.StateMissing:
			missing++
		case k.Deleted, k.Stale, !k.Rotated.IsZero(), before(k, m):
			stale++
		default:
			if line.Usable == 0 {
				line.Newest, line.Created = k.ID, k.Created
			}
			line.Usable++
			if k.Volume == bitlocker.VolumeOS || k.Volume == bitlocker.VolumeUnknown {
				current[k.ID] = true // one key escrowed in two places is one key
			}
		}
	}
	slices.Sort(line.Sources)
	switch {
	case len(current) > 1:
		line.Verdict, line.Why = Several, fmt.Sprintf("%d different keys", len(current))
	case len(current) == 1:
		line.Verdict, line.Why = OK, ""
	case m.NoDrive:
		line.Verdict, line.Why = Exempt, ""
	case line.Usable > 0:
		line.Verdict, line.Why = None, "keys of data volumes only"
	case denied > 0:
		line.Verdict, line.Why = Unreadable, ""
	case invalid > 0:
		line.Verdict = Invalid
	case stale > 0:
		line.Verdict, line.Why = Stale, whyStale(m, keys)
	case missing > 0:
		line.Verdict, line.Why = None, "references without a password"
	default:
		line.Verdict = None
	}
	return line
}

// whyStale names the reasons that keys of a machine have, each once.
func whyStale(m *Machine, keys []bitlocker.Match) string {
	var why []string
	for _, k := range keys {
		reason := ""
		switch {
		case k.Deleted:
			reason = "deleted in " + k.Source
		case k.Stale:
			reason = "replaced, says " + k.Source
		case !k.Rotated.IsZero():
			reason = "rotated on " + day(k.Rotated) + ", and the new one was not read yet"
		case before(k, m):
			reason = "escrowed before the machine was set up on " + day(m.Reimaged)
		}
		if reason != "" && !slices.Contains(why, reason) {
			why = append(why, reason)
		}
	}
	return strings.Join(why, "; ")
}

func before(k bitlocker.Match, m *Machine) bool {
	return !m.Reimaged.IsZero() && !k.Created.IsZero() && k.Created.Before(m.Reimaged)
}
