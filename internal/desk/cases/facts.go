package cases

import (
	"errors"
	"runtime"
	"strings"
	"sync"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/coverage"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/casefile"
)

// facts are what is known of a machine outside of every incident.
func (b *Book) facts(m *inventory.Machine) casefile.Facts {
	f := casefile.Facts{
		ID: m.ID, Name: m.Name, Site: m.Site, Class: string(m.Class), Disabled: !m.Enabled, Gone: m.Gone, Encrypted: m.Encrypted,
		LastSeen: m.LastSeen, Keys: b.keyOf(m.ID), Exposed: b.exposed[m.ID], Routes: b.routes,
	}
	said, reason := m.Health, m.HealthReason
	if m.Case != nil { // what stands there is our own word
		said, reason = m.Case.Said, m.Case.SaidReason
	}
	if said != inventory.HealthUnknown {
		f.Said, f.SaidReason = string(said), reason
	}
	if f.Keys == "" {
		f.Keys = casefile.NoKey
	}
	if p := m.Probe; p != nil {
		f.Probe = &casefile.Probed{At: p.At, Open: p.Open, WinRM: p.WinRM}
	}
	return f
}

func (v *view) judge(b *Book, m *inventory.Machine) casefile.Case {
	return v.judgeFacts(b, b.facts(m))
}

// judgeFacts judges a machine by what is known of it outside of the incident, and in it.
func (v *view) judgeFacts(b *Book, f casefile.Facts) casefile.Case {
	if c, ok := v.of(f.ID); ok {
		if a := c.Answer; a.Word != "" {
			f.Answer = &casefile.Answer{Word: string(a.Word), Run: a.Run, Route: a.Route, At: a.At, Number: a.Number}
			if a.Number == c.Tried.Number {
				f.Answer.Reason = c.Tried.Reason
			}
		}
		if t := c.Tried; t.Word != "" {
			f.Tried = &casefile.Tried{Word: t.Word, Class: string(t.Class), Reason: t.Reason, Run: t.Run, Route: t.Route, At: t.At, Number: t.Number}
		}
		if k := c.Mark; k.Word != "" {
			f.Mark = &casefile.Mark{Word: string(k.Word), Reason: k.Reason, By: k.By, At: k.At, Number: k.Number}
		}
	}
	if w, ok := v.work[f.ID]; ok {
		f.Work = &w
	}
	return casefile.Judge(casefile.Window{Start: v.incident.Start, End: v.incident.End}, f, b.now)
}

// states says of each machine, in their order, what is known of its recovery key, from all machines and all references.
func states(machines []coverage.Machine, list *bitlocker.KeyList) ([]casefile.Keys, error) {
	workers := runtime.GOMAXPROCS(0)
	parts := coverage.Gather(machines, workers, list.Len())
	sealed, failed := make([][]bitlocker.KeyID, workers), make([]error, workers)
	var wg sync.WaitGroup
	for n, part := range list.Parts(workers) {
		wg.Go(func() {
			sealed[n] = make([]bitlocker.KeyID, 0, part.Len())
			failed[n] = part.Each(func(m *bitlocker.Match) error {
				parts[n].Add(m)
				if m.State == bitlocker.StateSealed {
					sealed[n] = append(sealed[n], m.ID)
				}
				return nil
			})
		})
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		return nil, err
	}
	held := sync.OnceValue(func() map[bitlocker.KeyID]bool { // by a reference of another machine too, or of none
		all := map[bitlocker.KeyID]bool{}
		for _, ids := range sealed {
			for _, id := range ids {
				all[id] = true
			}
		}
		return all
	})
	lines, out := coverage.Join(parts), make([]casefile.Keys, len(machines))
	for n := range workers {
		wg.Go(func() {
			lines.Each(n*len(machines)/workers, (n+1)*len(machines)/workers, func(i int, line *coverage.Line, sealed bool) {
				out[i] = keyState(line, sealed, held)
			})
		})
	}
	wg.Wait()
	return out, nil
}

func keyState(line *coverage.Line, sealed bool, held func() map[bitlocker.KeyID]bool) casefile.Keys {
	switch line.Verdict {
	case coverage.OK:
		if sealed || held()[line.Newest] {
			return casefile.HeldKey
		}
		return casefile.KnownKey
	case coverage.Several:
		return casefile.SeveralKey
	case coverage.Unreadable:
		return casefile.DeniedKey
	case coverage.Invalid:
		return casefile.WrongKey
	}
	return casefile.NoKey
}

// Covered is what the report of recovery keys has to know of a machine, but its group and whether it is left out.
func Covered(m *inventory.Machine) coverage.Machine {
	out := coverage.Machine{ID: m.ID, Name: m.Name, FQDN: m.FQDN, Serial: m.Serial, Reimaged: m.Installed, NoDrive: m.Encrypted == "no"}
	if strings.Contains(strings.ToUpper(m.OU), "DC=") {
		out.DN = "CN=" + m.Name + "," + m.OU
	}
	out.GUID = m.Claims.ObjectGUID
	if id := m.Claims.EntraDeviceID; id != "" {
		out.DeviceIDs = []string{id}
	}
	return out
}
