package journal_test

import (
	"maps"
	"path/filepath"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// The newest answer of a machine counts; one that was not reached said nothing.
func TestKept(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	answer := func(kept ...string) {
		t.Helper()
		s := create(t, j, testPlan(t, 3), nil)
		for i, hash := range kept {
			must(t, s.Lease(id(i)))
			if hash == "silent" {
				must(t, s.Finish(id(i), journal.End{Outcome: journal.Unreachable, Reason: "off"}))
				continue
			}
			must(t, s.Begin(id(i), 1), s.Finish(id(i), journal.End{Outcome: journal.Fixed, Result: &agent.Result{Outcome: agent.Fixed, Kept: hash}}))
		}
		must(t, s.End(journal.RunDone, ""), s.Close())
	}
	want := func(ids ...int) {
		t.Helper()
		got, err := j.Kept(t.Context(), "abc")
		must(t, err)
		all := map[string]bool{}
		for _, i := range ids {
			all[id(i)] = true
		}
		if !maps.Equal(got, all) {
			t.Errorf("%v, not %v", got, all)
		}
	}
	want()
	answer("abc", "abcd", "abc")
	want(0, 2)
	answer("silent", "abc", "")
	want(0, 1)
}
