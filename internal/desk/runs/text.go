package runs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/run"
)

// ChangeText says in one line what carrying out a plan changes, before somebody agrees to it.
func ChangeText(p *plan.Plan) string {
	if p.Mode != agent.Fix {
		return prose.Machines(p.Machines()) + " will be changed."
	}
	text := prose.Machines(p.Machines()) + " will be changed, where they are affected."
	if n := len(p.Playbook.Permanent()); n > 0 {
		text += fmt.Sprintf(" %s of %d cannot be undone.", prose.Counted(n, "step", "steps"), len(p.Playbook.Fix))
	}
	return text
}

// PlanText says in plain words what a plan will do, for whoever has to agree to it.
func PlanText(p *plan.Plan, width int) string {
	var b strings.Builder
	verb := map[agent.Mode]string{agent.Fix: "fix", agent.Detect: "look only, nothing is changed", agent.Undo: "take back what run " + p.Undoes + " changed"}[p.Mode]
	fmt.Fprintf(&b, "%s on %s: %s\n", p.Playbook.Name, prose.Machines(p.Machines()), verb)
	if p.Mode == agent.Fix {
		for _, line := range playbook.Describe(p.Playbook) {
			fmt.Fprintln(&b, prose.Wrapped("  "+prose.OneLine(line), width))
		}
	}
	if n := len(p.Playbook.Permanent()); p.Mode == agent.Fix && n > 0 {
		fmt.Fprintf(&b, "permanent: %s of %d cannot be undone\n", prose.Counted(n, "step", "steps"), len(p.Playbook.Fix))
	}
	if p.Mode == agent.Undo {
		for _, step := range p.Playbook.Permanent() {
			fmt.Fprintln(&b, prose.Hanging("not taken back: "+prose.OneLine(step), width))
		}
	}
	for _, line := range WaveTexts(p) {
		fmt.Fprintln(&b, prose.Hanging(line, width))
	}
	for _, line := range leftOutTexts(p.Skipped) {
		fmt.Fprintln(&b, prose.Hanging(line, width))
	}
	fmt.Fprintf(&b, "gate: %s; %d at once\n", GateText(p.Options), p.Options.Forks)
	if text := SignInsText(p.Options); text != "" {
		fmt.Fprintln(&b, prose.Hanging("account: "+text, width))
	}
	if p.Options.Approval && len(p.Waves) > 1 {
		b.WriteString("approval: each wave after the first waits until somebody agrees, at this keyboard or from another terminal\n")
	}
	if remark := gateRemark(p); remark != "" {
		fmt.Fprintln(&b, prose.Wrapped("remark: "+remark, width))
	}
	return b.String()
}

// WaveTexts are "wave 1 (1): 1 machine: WS1", a line for each wave of a plan.
func WaveTexts(p *plan.Plan) []string {
	lines := make([]string, len(p.Waves))
	for i, wave := range p.Waves {
		names := make([]string, len(wave.Entries))
		for n, e := range wave.Entries {
			names[n] = e.Name
		}
		lines[i] = fmt.Sprintf("wave %d (%s): %s: %s", i+1, wave.Name, prose.Machines(len(names)), prose.OneLine(prose.Some(names)))
	}
	return lines
}

// leftOutTexts say who is left out and why: each one, or by their reasons where they are many.
func leftOutTexts(skipped []plan.Skip) (lines []string) {
	const few, kinds = 10, 10
	if len(skipped) <= few {
		for _, s := range skipped {
			lines = append(lines, fmt.Sprintf("left out: %s, %s", prose.OneLine(s.Name), prose.OneLine(s.Reason)))
		}
		return lines
	}
	var reasons []string
	names := map[string][]string{}
	for _, s := range skipped {
		if names[s.Reason] == nil {
			reasons = append(reasons, s.Reason)
		}
		names[s.Reason] = append(names[s.Reason], s.Name)
	}
	slices.SortStableFunc(reasons, func(a, b string) int { return cmp.Compare(len(names[b]), len(names[a])) })
	told := 0
	for i, reason := range reasons {
		if i == kinds {
			return append(lines, fmt.Sprintf("left out: and %d more, for other reasons; -o json lists all", len(skipped)-told))
		}
		told += len(names[reason])
		lines = append(lines, fmt.Sprintf("left out: %s, %s: %s", prose.Machines(len(names[reason])), prose.OneLine(reason), prose.OneLine(prose.Some(names[reason]))))
	}
	return lines
}

// GateText is the gate of a plan in words.
func GateText(o plan.Options) string {
	var parts []string
	for _, gate := range []struct {
		limit plan.Limit
		may   string
	}{{o.MaxFail, "of the treated machines may fail"}, {o.MaxUnreach, "may be unreachable"}, {o.MaxDenied, "may refuse us"}} {
		if gate.limit.Set {
			parts = append(parts, "at most "+gate.limit.String()+" "+gate.may)
		}
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// gateRemark says what a gate means that may surprise; empty where it does not.
func gateRemark(p *plan.Plan) string {
	limit, all := p.Options.MaxFail, prose.Machines(p.Machines())
	switch {
	case p.Mode != agent.Fix || !limit.Set:
	case limit.String() == "0":
		return "the first failure stops the run, and no more machines are at work at once than as many successes bear"
	case !limit.Judges(p.Machines()):
		return fmt.Sprintf("%s cannot be judged on %s, where all might fail by chance: the run stops only when the first ones fail one and all", limit, all)
	}
	return ""
}

// EventText is the line of an event; empty for those that are steps on the way.
func EventText(e journal.Event) string {
	if e.Machine == "" {
		return prose.OneLine(e.Text)
	}
	if e.Outcome == "" || e.Outcome == journal.Held {
		return ""
	}
	line := prose.Pad(e.Machine, 15) + string(e.Outcome)
	if e.Text != "" {
		line += ": " + e.Text
	}
	return prose.OneLine(line)
}

// Calm reports whether an event is one that nobody has to look at: a step on the way, or a machine that went well.
func Calm(e journal.Event) bool {
	switch e.Outcome {
	case "", journal.Clean, journal.Fixed, journal.Held, journal.Undone:
		return e.Machine != ""
	}
	return false
}

// FiguresText is "wave 2/4  87/200  fixed 40  clean 45  failed 2  12.3/s  3 min left".
func FiguresText(g run.Snapshot) string {
	parts := []string{fmt.Sprintf("wave %d/%d", g.Wave, len(g.Waves)), fmt.Sprintf("%d/%d", g.Done, g.Machines)}
	for _, outcome := range Outcomes {
		if n := g.Outcomes[outcome]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", outcome, n))
		}
	}
	if n := g.States[journal.Running] + g.States[journal.Leased]; n > 0 {
		parts = append(parts, fmt.Sprintf("in flight %d", n))
	}
	if n := g.States[journal.Rebooting]; n > 0 {
		parts = append(parts, fmt.Sprintf("restarting %d", n))
	}
	if g.Rate > 0 {
		parts = append(parts, fmt.Sprintf("%.1f/s", g.Rate))
	}
	if g.ETA > 0 {
		parts = append(parts, prose.Span(g.ETA)+" left")
	}
	return strings.Join(parts, "  ")
}

// StatusText is the status of a run; one that is not over and that nobody works on can be resumed.
func StatusText(r journal.Run) string {
	if Stopped(&r) {
		return string(r.Status) + ", nobody works on it"
	}
	return string(r.Status)
}

// Stopped reports whether a run is not over and nobody works on it.
func Stopped(r *journal.Run) bool { return r.Idle() && !Over(r.Status) }

// StateText is where a machine of a run stands: its outcome, or the state on its way there.
func StateText(m journal.Machine) string {
	if m.State == journal.Done {
		return string(m.Outcome)
	}
	return string(m.State)
}

// FailedStep is the last step that was begun on a machine that failed: its number among those of the playbook, and what it does.
func FailedStep(m journal.Machine) string {
	if m.Outcome != journal.Failed || m.Result == nil || len(m.Result.Steps) == 0 {
		return ""
	}
	n := len(m.Result.Steps)
	return fmt.Sprintf("%d %s", n, m.Result.Steps[n-1].Action)
}

// TookText is how long a machine took; empty where it was not begun or has not ended.
func TookText(m journal.Machine) string {
	if m.Started.IsZero() || m.Ended.IsZero() {
		return ""
	}
	return prose.Span(m.Ended.Sub(m.Started))
}

// States are the words of [StateText].
func States() []string {
	var words []string
	for _, o := range Outcomes {
		words = append(words, string(o))
	}
	for _, s := range []journal.State{journal.Pending, journal.Leased, journal.Running, journal.Rebooting} {
		words = append(words, string(s))
	}
	return words
}

// Machines are the machines of a run that stand where one of the words says; without words all of them. A word that no machine of
// any run can have is a mistake: it would show an empty list.
func Machines(ctx context.Context, d *desk.Desk, id string, words []string) ([]journal.Machine, error) {
	if err := knownWords(words); err != nil {
		return nil, err
	}
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	machines, err := j.Machines(ctx, id)
	if len(words) > 0 {
		machines = slices.DeleteFunc(machines, func(m journal.Machine) bool { return !slices.Contains(words, StateText(m)) })
	}
	return machines, err
}

func knownWords(words []string) error {
	known := States()
	for _, word := range words {
		if slices.Contains(known, word) {
			continue
		}
		err := fmt.Errorf("--outcome %q is none of %s", word, strings.Join(known, ", "))
		if near := hint.Nearest(word, known); near != "" {
			return hint.Mistake(err, "did you mean %s?", near)
		}
		return hint.Mistake(err, "take one of them, or several with commas between")
	}
	return nil
}
