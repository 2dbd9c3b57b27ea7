package keys

import (
	"fmt"
	"slices"

	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

var escrowPlaces = map[string]string{"ad": "AD", "entra": "Entra ID", "both": "AD and Entra ID"}

// Overview says which way each machine goes and why, and what each run will do; a line each.
func (r *Rotation) Overview() []string {
	type way struct{ way, escrow, why string }
	var order []way
	groups := map[way][]string{}
	for _, row := range r.Rows {
		w := way{row.Way, row.Escrow, row.Why}
		if groups[w] == nil {
			order = append(order, w)
		}
		groups[w] = append(groups[w], row.Name)
	}
	var lines []string
	for _, w := range order {
		title := map[string]string{WayWinRM: "over WinRM, escrowed to " + escrowPlaces[w.escrow] + " first",
			WayIntune: "by Intune, when the device next reports", "": "left out"}[w.way]
		lines = append(lines, prose.OneLine(fmt.Sprintf("%s: %s: %s (%s)", title, prose.Machines(len(groups[w])), prose.Some(groups[w]), w.why)))
	}
	for n, p := range r.Plans {
		which := "every recovery password of " + r.Volume + " is replaced by one new"
		if key := r.OnlyKey(); key != "" {
			which = "only " + string(key) + " on " + r.Volume + " is replaced"
		}
		lines = append(lines, fmt.Sprintf("run %d of %d, escrowed to %s: %s; gate: %s; %d at once", n+1, len(r.Plans), escrowPlaces[p.Parameters["escrow"]],
			which, runs.GateText(p.Options), p.Options.Forks))
		for _, wave := range runs.WaveTexts(p) {
			lines = append(lines, "  "+wave)
		}
	}
	return lines
}

// Next says what is to be done after it was carried out; a line each. The report of a run that was shown says that the new keys are
// to be read in.
func (r *Rotation) Next(reported bool) (lines []string) {
	has := func(outcome, way string) bool {
		return slices.ContainsFunc(r.Rows, func(r *Row) bool { return r.Outcome == outcome && r.Way == way })
	}
	if r.DryRun {
		return []string{"nothing was changed and Intune was not asked; without --dry-run the machines that are affected get new passwords"}
	}
	if has(string(journal.Fixed), WayWinRM) && !reported {
		lines = append(lines, "next: `fleetmend keys sync` reads the new keys in; until then `fleetmend keys find` knows the old ones only, and marks them")
	}
	if has(Asked, WayIntune) {
		lines = append(lines, "Intune was asked. When the devices have reported, `fleetmend keys sync --from entra` shows their new keys; the old ones count until then.")
	}
	if key := r.OnlyKey(); key != "" && has(string(journal.Clean), WayWinRM) {
		lines = append(lines, fmt.Sprintf("key %s does not open %s of %s: it was replaced before, or it belongs to another volume (--volume D:)", key, r.Volume, r.Rows[0].Name))
	}
	return lines
}

// IntuneFailed reports whether Intune refused a machine.
func (r *Rotation) IntuneFailed() bool {
	return slices.ContainsFunc(r.Rows, func(row *Row) bool { return row.Way == WayIntune && row.Outcome == string(journal.Failed) })
}
