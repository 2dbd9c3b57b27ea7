package casefile

import (
	"fmt"
	"strconv"
	"time"
)

// retiredAfter is how long before the incident a machine must have been silent to count as retired. AD notes a logon
// only every 9 to 14 days and a machine changes its password every 30, so less says nothing.
const retiredAfter = 45 * 24 * time.Hour

// verdict says where the machine stands, from what a run or a person found, whether it answers now, and when it was last
// alive. One that was in use when the incident began and is silent now is suspect, however the sources look: that is what
// a boot loop looks like from outside. That a machine answers does not make it healthy; only an examination does.
func verdict(w Window, f *Facts) (v Verdict, because string, since time.Time) {
	answer := f.Answer
	if answer != nil && !w.Start.IsZero() && seen(f).Before(w.Start) {
		answer = nil // it was asked before there was harm
	}
	if m := f.Mark; m != nil && (answer == nil || m.Number > answer.Number || m.Word == "fixed" && answer.Word == "clean") {
		switch m.Word {
		case "fixed":
			return Fixed, withReason("marked as fixed by "+m.By+" "+stamp(m.At), m.Reason), m.At
		case "suspect":
			return Suspect, m.Reason + ", and not examined since", m.At
		}
	}
	if answer != nil {
		return answered(f, answer)
	}
	if t := f.Tried; t != nil && t.Word == "unknown" {
		return Unknown, withReason("the connection was lost "+stamp(t.At)+" after the work may have begun", t.Reason), t.At
	}
	if v, ok := healths[f.Said]; ok {
		return v, withReason("says a source of the inventory", f.SaidReason), time.Time{}
	}
	return unanswered(w, f)
}

// healths are the words of the inventory's field health.
var healths = map[string]Verdict{"healthy": Clean, "affected": Affected, "suspect": Suspect, "unknown": Unknown}

// seen is when the newest answer was given, or confirmed: what was fixed stays fixed when a later look finds it clean.
func seen(f *Facts) time.Time {
	if t := f.Tried; f.Answer.Word == "fixed" && t != nil && t.Word == "clean" && t.Number > f.Answer.Number {
		return t.At
	}
	return f.Answer.At
}

// FixedByHand reports whether a person fixed the machine: it was marked so, and no answer since says anything else.
func (f *Facts) FixedByHand() bool {
	return f.Mark != nil && f.Mark.Word == "fixed" && (f.Answer == nil || f.Mark.Number > f.Answer.Number || f.Answer.Word == "clean")
}

func answered(f *Facts, a *Answer) (Verdict, string, time.Time) {
	by := "a run"
	if a.Route == Medium {
		by = "a medium"
	}
	at := stamp(a.At)
	switch a.Word {
	case "fixed", "clean":
		if p := f.Probe; p != nil && !p.Open && p.At.After(seen(f)) {
			return Suspect, fmt.Sprintf("found %s %s, but does not answer since %s", a.Word, at, stamp(p.At)), p.At
		}
		if a.Word == "fixed" {
			return Fixed, by + " fixed it " + at, a.At
		}
		return Clean, by + " found it clean " + at, a.At
	case "failed":
		return Affected, withReason(by+" could not fix it "+at, a.Reason), a.At
	case "undone":
		return Undone, "its fix was undone " + at, a.At
	}
	return Affected, by + " found it affected " + at, a.At
}

func unanswered(w Window, f *Facts) (Verdict, string, time.Time) {
	switch {
	case f.Gone:
		return Unknown, "no source lists it any more", time.Time{}
	case f.Disabled:
		return Unknown, "its account is disabled", time.Time{}
	case f.Probe != nil && !f.Probe.At.Before(w.Start):
		return probed(w, f)
	case w.Start.IsZero():
		return Unknown, "neither examined nor probed", time.Time{}
	case f.LastSeen.IsZero():
		return Unknown, "never seen, and not probed since the incident", time.Time{}
	case w.holds(f.LastSeen):
		return Suspect, fmt.Sprintf("was on during the incident (%s), and not probed since", stamp(f.LastSeen)), f.LastSeen
	}
	return Unknown, "not probed since the incident", time.Time{}
}

func probed(w Window, f *Facts) (Verdict, string, time.Time) {
	at := f.Probe.At
	if f.Probe.Open {
		return Unknown, fmt.Sprintf("answers (%s), but was not examined yet", stamp(at)), at
	}
	began := w.Start
	if began.IsZero() {
		began = at
	}
	switch {
	case f.LastSeen.IsZero():
		return Unknown, fmt.Sprintf("silent (%s), and never seen before", stamp(at)), at
	case f.LastSeen.Before(began.Add(-retiredAfter)):
		return Unknown, fmt.Sprintf("silent (%s), and long before the incident: last seen %s", stamp(at), stamp(f.LastSeen)), at
	case w.holds(f.LastSeen):
		return Suspect, fmt.Sprintf("was on during the incident (%s) and is silent now (%s)", stamp(f.LastSeen), stamp(at)), at
	}
	return Suspect, fmt.Sprintf("was in use (last seen %s) and is silent now (%s)", stamp(f.LastSeen), stamp(at)), at
}

// holds says whether t lies in the window.
func (w Window) holds(t time.Time) bool {
	return !w.Start.IsZero() && !t.Before(w.Start) && (w.End.IsZero() || !t.After(w.End))
}

// stamp is the minute of a time, as Format writes it. It is in a sentence of nearly every machine, so it is written by hand.
func stamp(t time.Time) string {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, _ := t.Clock()
	if year < 1000 || year > 9999 {
		return t.Format("2006-01-02 15:04") + " UTC"
	}
	b := strconv.AppendInt(make([]byte, 0, 20), int64(year), 10)
	for _, part := range [...]struct {
		before byte
		n      int
	}{{'-', int(month)}, {'-', day}, {' ', hour}, {':', minute}} {
		b = append(b, part.before, byte('0'+part.n/10), byte('0'+part.n%10)) //nolint:gosec // below 60
	}
	return string(append(b, " UTC"...))
}

func withReason(text, reason string) string {
	if reason == "" {
		return text
	}
	return text + ": " + reason
}
