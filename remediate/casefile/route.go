package casefile

import (
	"fmt"
	"slices"
	"time"
)

// fresh is how long a look at a machine says something about now.
const fresh = 24 * time.Hour

// quiet is what is known of a machine's silence.
type quiet struct {
	probed bool // the newest probe found nothing there, within a day
	tried  bool // the newest attempt was in vain, within a day, and nothing answered since
	stale  bool // there was a look, and it is older
}

func silence(f *Facts, now time.Time) (q quiet) {
	p, t := f.Probe, f.Tried
	if p != nil && !p.Open {
		q.probed = now.Sub(p.At) < fresh
		q.stale = !q.probed
	}
	if t != nil && t.Word == "unreachable" && (t.Class == "" || t.Class == "unreachable") && (p == nil || !p.Open || p.At.Before(t.At)) {
		q.tried = now.Sub(t.At) < fresh
		q.stale = q.stale || !q.tried
	}
	if t != nil && t.Word == "held" && t.Route == Medium && (p == nil || !p.Open || p.At.Before(t.At)) {
		q.tried = true // it was put on a medium because it was silent, and has not come back
	}
	if q.probed || q.tried {
		q.stale = false
	}
	return q
}

// mediumReturns is how long a boot medium is waited for before another is proposed.
const mediumReturns = 72 * time.Hour

// awaited reports whether a boot medium is on its way to the machine, and it has not answered meanwhile.
func awaited(f *Facts, now time.Time) bool {
	t, p := f.Tried, f.Probe
	return t != nil && t.Word == "held" && t.Route == Medium && now.Sub(t.At) < mediumReturns && (p == nil || !p.WinRM || p.At.Before(t.At))
}

// refused are the classes of errors that the same way gives again, each time.
var refused = map[string]string{
	"denied":    "we may not do this there",
	"untrusted": "its certificate or sealing was not acceptable",
	"refused":   "what answers there does not do what we ask",
}

// Choose says how a machine is reached, and why. A machine that was silent when it was probed is knocked at all the same,
// until a run has knocked in vain, too: then another way is taken, a boot medium where none is set up. Silence that was
// seen more than a day ago says nothing about now.
func Choose(f Facts, now time.Time) Route {
	another := ""
	if n := slices.IndexFunc(f.Routes, func(r string) bool { return r != WinRM && r != Medium && r != Hand }); n >= 0 {
		another = f.Routes[n]
	}
	other := func(why string) Route {
		if another != "" {
			return Route{another, why, true}
		}
		return Route{Medium, why, true}
	}
	if t := f.Tried; awaited(&f, now) {
		return Route{Medium, "run " + t.Run + " put it on a boot medium", true}
	}
	q := silence(&f, now)
	if f.Tried != nil && f.Tried.Route == WinRM && f.Tried.Word == "unreachable" {
		if why, ok := refused[f.Tried.Class]; ok {
			if another != "" {
				return Route{another, "WinRM: " + why, true}
			}
			return Route{Hand, "WinRM: " + why, true}
		}
	}
	why := "not probed; WinRM is tried"
	switch p := f.Probe; {
	case q.probed && q.tried:
		return other(fmt.Sprintf("was silent when probed (%s) and in run %s", stamp(f.Probe.At), f.Tried.Run))
	case q.probed:
		why = "was silent when probed; WinRM is tried all the same"
	case q.tried:
		why = "was silent in run " + f.Tried.Run + "; WinRM is tried again"
	case p != nil && p.Open && !p.WinRM && now.Sub(p.At) < fresh:
		return other("something answers there that is not WinRM (" + stamp(p.At) + ")")
	case q.stale:
		why = "was silent more than a day ago; WinRM is tried again"
	case p != nil && p.WinRM:
		why = "answered WinRM when probed"
	case f.Answer != nil && f.Answer.Route == WinRM:
		why = "answered by WinRM in run " + f.Answer.Run
	}
	if slices.Contains(f.Routes, WinRM) {
		return Route{WinRM, why, true}
	}
	if another != "" {
		return Route{another, "WinRM is not set up here", true}
	}
	return Route{WinRM, "WinRM is not set up here", false}
}
