package cases_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// TestAKeyThatWasShownIsReplacedNext shows keys before and during an incident: only what was shown during it, to somebody or onto a
// medium, is to be replaced, once its machine runs again, and no more when the machine or Intune has replaced it.
func TestAKeyThatWasShownIsReplacedNext(t *testing.T) {
	b := newBench(t, 6)
	vault, err := b.Vault(t.Context())
	b.must(err)
	log, err := b.Audit(t.Context())
	b.must(err)
	ids := []bitlocker.KeyID{
		"00000000-0000-4000-8000-00000000AAA0", "00000000-0000-4000-8000-00000000AAA1", "00000000-0000-4000-8000-00000000AAA2",
		"00000000-0000-4000-8000-00000000AAA3", "00000000-0000-4000-8000-00000000AAA4", "00000000-0000-4000-8000-00000000AAA5",
	}
	ref := func(i int, id bitlocker.KeyID, created time.Time) bitlocker.KeyRef {
		name := "WS00" + string(rune('0'+i))
		return bitlocker.KeyRef{ID: id, Source: "ad:fleet.test", SourceKey: string(id), Created: created, Machine: bitlocker.Machine{Name: name, Serial: "S" + name}}
	}
	for i, id := range ids {
		b.must(vault.Add(t.Context(), ref(i, id, time.Now().Add(-time.Hour))))
	}
	show := func(action audit.Action, i int) {
		t.Helper()
		_, err := log.Append(t.Context(), audit.Entry{Action: action, KeyID: string(ids[i]), Reason: "test"})
		b.must(err)
	}
	show(audit.Reveal, 0)
	for shown := time.Now(); time.Since(shown) <= time.Millisecond; { // stores keep milliseconds: that was before
		runtime.Gosched()
	}
	_, err = cases.Open(t.Context(), b.Desk, cases.Opening{ID: trouble, Playbook: b.cure.Name})
	b.must(err)
	b.run(trouble, agent.Fix, "", journal.Fixed, journal.Fixed, journal.Fixed, journal.Affected, journal.Clean, journal.Fixed)
	want := func(names string) {
		t.Helper()
		if got := b.names(`case.next == "rotate"`); got != names {
			t.Errorf("the keys of %q are to be replaced, want %q", got, names)
		}
	}
	want("")
	show(audit.Reveal, 1)
	show(audit.Sheet, 2)
	show(audit.Media, 3) // affected: it is fixed first
	show(audit.Media, 4)
	show(audit.Fetch, 5) // from the source into the vault: nobody saw it
	want("WS001 WS002 WS004")
	if next := b.status().Next; len(next) != 2 || next[1].Commands[0] != `fleetmend keys rotate --on 'case.next == "rotate"' --incident `+trouble {
		t.Errorf("%+v", next)
	}
	_, err = vault.Fold(t.Context(), "run", 1, bitlocker.Rotated{Machine: "WS001", At: time.Now(), Keys: ids[1:2]})
	b.must(err)
	want("WS002 WS004")
	b.must(vault.MarkRotationAsked(t.Context(), time.Now(), ref(2, ids[2], time.Time{})))
	want("WS002 WS004") // asked, and not done
	b.must(vault.Add(t.Context(), ref(2, "00000000-0000-4000-8000-00000000BBB2", time.Now().Add(time.Minute))))
	want("WS004")
	b.run(trouble, agent.Fix, "", "", "", "", journal.Fixed)
	want("WS003 WS004")

	// One of two keys is replaced, and the other is still in use; then all are, and one that was of another volume is no matter.
	show(audit.Reveal, 5)
	want("WS003 WS004 WS005")
	rotated := func(run, planned string) {
		t.Helper()
		_, err := log.Append(t.Context(), audit.Entry{Action: audit.Rotate, Machine: "WS005", KeyID: planned, Reason: "test"},
			audit.Entry{Action: audit.Rotate, Machine: "WS005", KeyID: "00000000-0000-4000-8000-00000000CCC5", Run: run, Reason: "test"})
		b.must(err)
	}
	rotated("r1", "00000000-0000-4000-8000-00000000CCC5")
	want("WS003 WS004 WS005")
	rotated("r2", "")
	want("WS003 WS004")
	show(audit.Sheet, 5) // it is given away again: whoever has it has one more
	want("WS003 WS004 WS005")
}
