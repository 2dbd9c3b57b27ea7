package cases_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/casefile"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// TestTheReportSaysWhatTheStatusSays has one machine fixed by a run, one from a medium and one by hand: report and status, taken at one
// number of the feed, have the same numbers, the page shows them, and a later look at what was fixed takes nothing away.
func TestTheReportSaysWhatTheStatusSays(t *testing.T) {
	b := newBench(t, 6)
	_, err := cases.Open(t.Context(), b.Desk, cases.Opening{ID: trouble, Playbook: b.cure.Name})
	b.must(err)
	b.run(trouble, agent.Fix, "", journal.Fixed, journal.Unreachable, journal.Affected, journal.Affected, journal.Clean)
	stick := journal.NewRunID()
	b.must(cases.Await(t.Context(), b.Desk, stick, &journal.Incident{ID: trouble}, b.cure, b.pick("WS001")))
	for range 2 { // the stick is read twice, and counts once
		_, err = b.journal.RecordByMedium(t.Context(), stick, []journal.ByMedium{{Machine: b.ids[1], Digest: strings.Repeat("a", 64), Result: agent.Result{Outcome: agent.Fixed, Changed: 1}}})
		b.must(err)
	}
	mark := func(selector, as string) {
		t.Helper()
		parsed, err := cases.Parse(selector, nil)
		b.must(err)
		_, err = cases.Mark(t.Context(), b.Desk, "", parsed, as, "list of the site")
		b.must(err)
	}
	mark("WS002", "fixed")
	mark("WS005", "replaced")
	same := func() (*cases.Report, string) {
		t.Helper()
		s := b.status()
		r, err := cases.Tell(t.Context(), b.Desk, "", inventory.Selector{})
		b.must(err)
		told := r.Status
		told.At = s.At
		for i := range told.Ages {
			told.Ages[i].At = s.Ages[i].At
		}
		one, err := json.Marshal(s)
		b.must(err)
		two, err := json.Marshal(told)
		b.must(err)
		if s.Number == 0 || !bytes.Equal(one, two) {
			t.Errorf("the status says\n%s\nthe report\n%s", one, two)
		}
		var page bytes.Buffer
		b.must(r.WriteHTML(&page))
		return r, page.String()
	}
	check := func() {
		t.Helper()
		r, page := same()
		if fmt.Sprint(r.By) != "map[hand:1 medium:1 run:1]" || r.Left != 1 || r.Machines != 5 || r.Verdicts[casefile.Fixed] != 3 || r.Out["replaced"] != 1 {
			t.Errorf("%+v", r.Status)
		}
		for _, text := range []string{
			`<b id="left">1</b> of 5 left`, "Fixed: 1 by hand, 1 from a boot medium, 1 by a run.", "Not counted: 1 replaced.", fmt.Sprintf("event %d.", r.Number),
			"fixed (by a run)", "fixed (from a boot medium)", "fixed (by hand)", "marked as replaced by",
		} {
			if !strings.Contains(page, text) {
				t.Errorf("the page does not say %q", text)
			}
		}
		left, done, _ := strings.Cut(page, "Machines that are done")
		if strings.Count(left, "<td class=\"name\">") != 1 || strings.Count(done, "<td class=\"name\">") != 5 {
			t.Errorf("the page does not tell the machines that are left from those that are done:\n%s", page)
		}
	}
	check()
	b.run(trouble, agent.Detect, "", journal.Clean, journal.Clean, journal.Clean) // somebody looks again
	check()
	if said := b.pick("WS000")[0].Case; said.Since.After(time.Now()) || !strings.Contains(said.Because, "a run fixed it") {
		t.Errorf("%+v", said)
	}
	rebuilt := b.status()
	b.must(b.journal.RebuildCases(t.Context()))
	if again := b.status(); fmt.Sprint(again.By, again.Verdicts) != fmt.Sprint(rebuilt.By, rebuilt.Verdicts) {
		t.Errorf("rebuilt %v %v, were %v %v", again.By, again.Verdicts, rebuilt.By, rebuilt.Verdicts)
	}
	b.run(trouble, agent.Detect, "", journal.Affected) // it is there again
	if said := b.pick("WS000")[0].Case; said.Verdict != string(casefile.Affected) {
		t.Errorf("%+v", said)
	}
}
