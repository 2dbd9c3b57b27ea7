package casefile_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/casefile"
)

var (
	start  = time.Date(2024, 7, 19, 4, 9, 0, 0, time.UTC)
	window = casefile.Window{Start: start, End: start.Add(78 * time.Minute)}
	now    = start.Add(8 * time.Hour)
)

const day = 24 * time.Hour

func probe(at time.Time, open, winrm bool) *casefile.Probed {
	return &casefile.Probed{At: at, Open: open, WinRM: winrm}
}

func said(word string, at time.Time) *casefile.Answer {
	return &casefile.Answer{Word: word, Run: "r1", Route: casefile.WinRM, At: at, Number: 10}
}

func tried(word, class string, at time.Time) *casefile.Tried {
	return &casefile.Tried{Word: word, Class: class, Run: "r2", Route: casefile.WinRM, At: at, Number: 20}
}

func onMedium(at time.Time) *casefile.Tried {
	t := tried("held", "", at)
	t.Route = casefile.Medium
	return t
}

func mark(word string, number int64) *casefile.Mark {
	return &casefile.Mark{Word: word, Reason: "new disk", By: "ada", At: start.Add(2 * time.Hour), Number: number}
}

func TestJudge(t *testing.T) {
	silent := probe(start.Add(6*time.Hour), false, false)
	answers := probe(start.Add(6*time.Hour), true, true)
	deaf := probe(start.Add(6*time.Hour), true, false)
	for _, c := range []struct {
		name    string
		f       casefile.Facts
		verdict casefile.Verdict
		because string
		route   string
		next    casefile.Verb
		out     string
	}{
		// Nobody has examined it.
		{"boot loop, logon noted 10 days before", casefile.Facts{LastSeen: start.Add(-10 * day), Probe: silent}, "suspect", "silent now", "winrm", "fix", ""},
		{"boot loop, on during the incident", casefile.Facts{LastSeen: start.Add(20 * time.Minute), Probe: silent}, "suspect", "during the incident", "winrm", "fix", ""},
		{"on during the incident, not probed", casefile.Facts{LastSeen: start.Add(20 * time.Minute)}, "suspect", "not probed", "winrm", "probe", ""},
		{"retired", casefile.Facts{LastSeen: start.Add(-100 * day), Probe: silent}, "unknown", "long before", "winrm", "hand", ""},
		{"edge of retired", casefile.Facts{LastSeen: start.Add(-45 * day), Probe: silent}, "suspect", "silent now", "winrm", "fix", ""},
		{"never seen", casefile.Facts{Probe: silent}, "unknown", "never seen", "winrm", "hand", ""},
		{"answers", casefile.Facts{LastSeen: start.Add(-day), Probe: answers}, "unknown", "not examined", "winrm", "fix", ""},
		{"probe from before", casefile.Facts{LastSeen: start.Add(-day), Probe: probe(start.Add(-day), false, false)}, "unknown", "not probed since", "winrm", "probe", ""},
		{"no probe, no record", casefile.Facts{LastSeen: start.Add(-day)}, "unknown", "not probed", "winrm", "probe", ""},
		{"something else answers", casefile.Facts{Probe: deaf}, "unknown", "not examined", "medium", "medium", ""},
		{"gone", casefile.Facts{Gone: true, LastSeen: start.Add(-day), Probe: silent}, "unknown", "no source", "winrm", "none", "gone"},
		{"disabled", casefile.Facts{Disabled: true, Probe: answers}, "unknown", "disabled", "winrm", "none", "disabled"},
		// A run has.
		{"found affected", casefile.Facts{Probe: answers, Answer: said("affected", start.Add(time.Hour))}, "affected", "affected", "winrm", "fix", ""},
		{"fix failed", casefile.Facts{Probe: answers, Answer: said("failed", start.Add(time.Hour))}, "affected", "could not fix", "winrm", "retry", ""},
		{"fixed", casefile.Facts{Probe: answers, Answer: said("fixed", start.Add(time.Hour))}, "fixed", "fixed", "winrm", "none", ""},
		{"fixed, and it is gone from its source", casefile.Facts{Gone: true, Answer: said("fixed", start.Add(time.Hour))}, "fixed", "fixed", "winrm", "none", ""},
		{"fixed, its key was shown", casefile.Facts{Exposed: true, Answer: said("fixed", start.Add(time.Hour))}, "fixed", "fixed", "winrm", "rotate", ""},
		{"clean", casefile.Facts{Answer: said("clean", start.Add(time.Hour))}, "clean", "clean", "winrm", "none", ""},
		{"fixed, then silent", casefile.Facts{Probe: silent, Answer: said("fixed", start.Add(time.Hour))}, "suspect", "does not answer since", "winrm", "fix", ""},
		{"fixed, then silent, then found clean", casefile.Facts{Probe: silent, Answer: said("fixed", start.Add(time.Hour)), Tried: tried("clean", "", start.Add(7*time.Hour))}, "fixed", "fixed", "winrm", "none", ""},
		{"clean before the incident", casefile.Facts{LastSeen: start.Add(-day), Probe: silent, Answer: said("clean", start.Add(-day))}, "suspect", "silent now", "winrm", "fix", ""},
		{"undone", casefile.Facts{Answer: said("undone", start.Add(time.Hour))}, "undone", "undone", "winrm", "fix", ""},
		// An attempt gave no answer.
		{"silent in a run", casefile.Facts{LastSeen: start.Add(-day), Tried: tried("unreachable", "unreachable", start.Add(7*time.Hour))}, "unknown", "not probed", "winrm", "probe", ""},
		{"silent in a run and when probed", casefile.Facts{LastSeen: start.Add(-day), Probe: silent, Tried: tried("unreachable", "unreachable", start.Add(7*time.Hour))}, "suspect", "silent now", "medium", "medium", ""},
		{"affected, then silent twice", casefile.Facts{Answer: said("affected", start.Add(time.Hour)), Probe: silent, Tried: tried("unreachable", "unreachable", start.Add(7*time.Hour))}, "affected", "affected", "medium", "medium", ""},
		{"answers again after a run in vain", casefile.Facts{LastSeen: start.Add(-day), Probe: answers, Tried: tried("unreachable", "unreachable", start.Add(5*time.Hour))}, "unknown", "not examined", "winrm", "fix", ""},
		{"silence of the day before yesterday", casefile.Facts{LastSeen: start.Add(-10 * day), Probe: probe(now.Add(-2*day), false, false), Answer: said("affected", start), Tried: tried("unreachable", "", now.Add(-2*day))}, "affected", "affected", "winrm", "fix", ""},
		{"denied", casefile.Facts{Tried: tried("unreachable", "denied", start.Add(time.Hour))}, "unknown", "not probed", "hand", "hand", ""},
		{"certificate", casefile.Facts{Tried: tried("unreachable", "untrusted", start.Add(time.Hour))}, "unknown", "not probed", "hand", "hand", ""},
		{"password rejected", casefile.Facts{Probe: answers, Tried: tried("unreachable", "auth", start.Add(7*time.Hour))}, "unknown", "not examined", "winrm", "retry", ""},
		{"lost in the middle", casefile.Facts{Probe: answers, Tried: tried("unknown", "unknown", start.Add(7*time.Hour))}, "unknown", "may have begun", "winrm", "retry", ""},
		{"affected, then lost in the middle", casefile.Facts{Probe: answers, Answer: said("affected", start), Tried: tried("unknown", "unknown", start.Add(7*time.Hour))}, "affected", "affected", "winrm", "retry", ""},
		{"held back", casefile.Facts{Probe: answers, Answer: said("affected", start), Tried: tried("held", "", start.Add(7*time.Hour))}, "affected", "affected", "winrm", "fix", ""},
		{"its medium is on its way", casefile.Facts{Answer: said("affected", start), Tried: onMedium(now.Add(-time.Hour))}, "affected", "affected", "medium", "wait", ""},
		{"its medium did not come back", casefile.Facts{Answer: said("affected", start), Probe: silent, Tried: onMedium(now.Add(-80 * time.Hour))}, "affected", "affected", "medium", "medium", ""},
		{"came back without its medium", casefile.Facts{Answer: said("affected", start), Probe: probe(now, true, true), Tried: onMedium(now.Add(-time.Hour))}, "affected", "affected", "winrm", "fix", ""},
		// A run has it in its hands.
		{"at work", casefile.Facts{Answer: said("affected", start), Work: &casefile.Work{Run: "r3", Live: true}}, "affected", "affected", "winrm", "wait", ""},
		{"run stopped", casefile.Facts{Answer: said("affected", start), Work: &casefile.Work{Run: "r3"}}, "affected", "affected", "winrm", "resume", ""},
		{"fixed by another run before its turn", casefile.Facts{Answer: said("fixed", start.Add(time.Hour)), Work: &casefile.Work{Run: "r3"}}, "fixed", "fixed", "winrm", "none", ""},
		{"fixed, and in flight again when the run stopped", casefile.Facts{Answer: said("fixed", start.Add(time.Hour)), Work: &casefile.Work{Run: "r3", Begun: true}}, "fixed", "fixed", "winrm", "resume", ""},
		{"fixed, and in flight again", casefile.Facts{Answer: said("fixed", start.Add(time.Hour)), Work: &casefile.Work{Run: "r3", Live: true, Begun: true}}, "fixed", "fixed", "winrm", "wait", ""},
		// People have judged.
		{"marked fixed", casefile.Facts{Answer: said("affected", start), Mark: mark("fixed", 30)}, "fixed", "by ada", "winrm", "none", ""},
		{"marked fixed, found affected afterwards", casefile.Facts{Answer: said("affected", now), Mark: mark("fixed", 5)}, "affected", "found it affected", "winrm", "fix", ""},
		{"marked fixed, found clean afterwards", casefile.Facts{Answer: said("clean", now), Mark: mark("fixed", 5)}, "fixed", "by ada", "winrm", "none", ""},
		{"replaced", casefile.Facts{Answer: said("affected", start), Mark: mark("replaced", 5)}, "affected", "marked as replaced by ada", "winrm", "none", "replaced"},
		{"excluded", casefile.Facts{Mark: mark("excluded", 5)}, "unknown", "marked as excluded by ada", "winrm", "none", "excluded"},
		{"carried over", casefile.Facts{Mark: mark("suspect", 5)}, "suspect", "not examined since", "winrm", "probe", ""},
		{"carried over and examined", casefile.Facts{Answer: said("clean", now), Mark: mark("suspect", 5)}, "clean", "clean", "winrm", "none", ""},
		{"a source has an opinion", casefile.Facts{Said: "affected", SaidReason: "sensor of the vendor", Probe: answers}, "affected", "sensor", "winrm", "fix", ""},
		{"a source has an opinion, a run the answer", casefile.Facts{Said: "affected", Answer: said("clean", start)}, "clean", "found it clean", "winrm", "none", ""},
	} {
		c.f.Routes = []string{casefile.WinRM}
		got := casefile.Judge(window, c.f, now)
		if got.Verdict != c.verdict || !strings.Contains(got.Because, c.because) || got.Route.Name != c.route || got.Next.Verb != c.next || got.Out != c.out {
			t.Errorf("%s: %s (%s), route %s (%s), next %s (%s), out %q", c.name, got.Verdict, got.Because, got.Route.Name, got.Route.Why, got.Next.Verb, got.Next.Why, got.Out)
		}
		if !slices.Contains(casefile.Verdicts(), got.Verdict) || !slices.Contains(casefile.Routes(), got.Route.Name) || !slices.Contains(casefile.Verbs(), got.Next.Verb) ||
			got.Because == "" || got.Route.Why == "" || got.Next.Why == "" || strings.HasSuffix(got.Because+got.Route.Why+got.Next.Why, ".") {
			t.Errorf("%s: a word is missing: %+v", c.name, got)
		}
	}
	if got := casefile.Judge(casefile.Window{}, casefile.Facts{LastSeen: start, Probe: silent}, now); got.Verdict != casefile.Suspect {
		t.Error("without a window:", got.Verdict)
	}
	if got := casefile.Judge(casefile.Window{}, casefile.Facts{LastSeen: start, Probe: silent, Gone: true}, now); got.Verdict != casefile.Unknown {
		t.Error("gone, without a window:", got.Verdict)
	}
}

func TestAMediumNeedsItsKeyFirst(t *testing.T) {
	for _, c := range []struct {
		encrypted string
		keys      casefile.Keys
		want      casefile.Verb
	}{
		{"yes", casefile.NoKey, casefile.GetKey}, {"yes", casefile.DeniedKey, casefile.GetKey}, {"yes", casefile.WrongKey, casefile.GetKey},
		{"yes", casefile.KnownKey, casefile.Start}, {"yes", casefile.HeldKey, casefile.Start}, {"yes", casefile.SeveralKey, casefile.Start},
		{"no", casefile.NoKey, casefile.Start}, {"no", casefile.DeniedKey, casefile.Start},
		{"", casefile.NoKey, casefile.Start}, {"", casefile.DeniedKey, casefile.GetKey},
	} {
		f := casefile.Facts{Encrypted: c.encrypted, Keys: c.keys, Routes: []string{casefile.WinRM}, LastSeen: start,
			Probe: probe(now.Add(-time.Hour), false, false), Tried: tried("unreachable", "unreachable", now.Add(-2*time.Hour))}
		if got := casefile.Judge(window, f, now); got.Next.Verb != c.want || got.Route.Name != casefile.Medium {
			t.Errorf("%q, %s: %s (%s), route %s", c.encrypted, c.keys, got.Next.Verb, got.Next.Why, got.Route.Name)
		}
	}
}

func TestAnotherWayIsTakenWhereItIsSetUp(t *testing.T) {
	silentTwice := casefile.Facts{LastSeen: start, Probe: probe(now.Add(-time.Hour), false, false), Tried: tried("unreachable", "unreachable", now.Add(-2*time.Hour))}
	for _, c := range []struct {
		name   string
		routes []string
		f      casefile.Facts
		want   string
		ok     bool
	}{
		{"silent twice, Azure", []string{casefile.WinRM, casefile.AzureRun}, silentTwice, casefile.AzureRun, true},
		{"not probed, Azure", []string{casefile.WinRM, casefile.AzureRun}, casefile.Facts{}, casefile.WinRM, true},
		{"denied, SMB", []string{casefile.WinRM, casefile.SMB}, casefile.Facts{Tried: tried("unreachable", "denied", now)}, casefile.SMB, true},
		{"no WinRM here", []string{casefile.IntuneRun}, casefile.Facts{}, casefile.IntuneRun, true},
		{"nothing here", nil, casefile.Facts{}, casefile.WinRM, false},
		{"nothing here, silent twice", nil, silentTwice, casefile.Medium, true},
	} {
		c.f.Routes = c.routes
		got := casefile.Choose(c.f, now)
		if got.Name != c.want || got.OK != c.ok || got.Why == "" {
			t.Errorf("%s: %+v", c.name, got)
		}
		if !c.ok {
			if j := casefile.Judge(window, c.f, now); j.Next.Verb != casefile.ByHand || !strings.Contains(j.Next.Why, "not set up") {
				t.Errorf("%s: next %+v", c.name, j.Next)
			}
		}
	}
}

func TestHealth(t *testing.T) {
	for v, want := range map[casefile.Verdict]string{casefile.Clean: "healthy", casefile.Fixed: "healthy", casefile.Affected: "affected",
		casefile.Undone: "affected", casefile.Suspect: "suspect", casefile.Unknown: "unknown"} {
		if v.Health() != want {
			t.Errorf("%s: %s", v, v.Health())
		}
	}
}

// Times are written by hand, and as Format writes them.
func TestTimesOfSentences(t *testing.T) {
	zone := time.FixedZone("", -9000)
	for _, at := range []time.Time{{}, start, time.Date(999, 12, 31, 23, 59, 0, 0, time.UTC), time.Date(1000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, zone), time.Date(2026, 11, 9, 7, 5, 59, 0, zone)} {
		f := casefile.Facts{Answer: &casefile.Answer{Word: "affected", At: at}}
		if got, want := casefile.Judge(casefile.Window{}, f, now).Because, at.UTC().Format("2006-01-02 15:04")+" UTC"; !strings.HasSuffix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
