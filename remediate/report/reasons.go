package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// reasonsOf groups the machines that need attention by status, class and text; a text that differs in quantities alone is one. One machine
// alone has its own text, with its name and address.
func reasonsOf(all []Machine, run journal.Run, undoable bool) []Reason {
	type key struct {
		status Status
		class  route.Class
		text   string
	}
	type machines struct {
		names []string
		own   string
		span
	}
	groups := map[key]*machines{}
	held := heldFor(all)
	for _, m := range all {
		if !needsAttention(m.Status) || m.Status == Waiting || m.Status == Running || m.Status == Status(journal.Affected) {
			continue
		}
		class, text := m.Error, general(m)
		if m.Status == Status(journal.Held) {
			class, text = "", held
		}
		pattern, quantities := apart(text)
		k := key{m.Status, class, pattern}
		if groups[k] == nil {
			groups[k] = &machines{own: said(m)}
		}
		groups[k].names = append(groups[k].names, m.Name)
		groups[k].add(quantities)
	}
	reasons := make([]Reason, 0, len(groups))
	for k, group := range groups {
		slices.Sort(group.names)
		text := group.in(k.text)
		if len(group.names) == 1 {
			text = group.own
		}
		what := advice(k.status, k.class, text, run, undoable)
		if k.status == Status(journal.Held) || k.class == route.Auth {
			what = cmp.Or(untilThen(k.status, run, held), what)
		}
		if !run.Status.Final() && strings.Contains(what, "etry") {
			what += " A retry is for when this run is over."
		}
		reasons = append(reasons, Reason{k.status, k.class, text, what, group.names})
	}
	slices.SortFunc(reasons, func(a, b Reason) int {
		if d := group(a.Status) - group(b.Status); d != 0 {
			return d
		}
		if d := len(b.Machines) - len(a.Machines); d != 0 {
			return d
		}
		if d := strings.Compare(string(a.Status)+string(a.Class), string(b.Status)+string(b.Class)); d != 0 {
			return d
		}
		return strings.Compare(a.Text, b.Text)
	})
	return reasons
}

// untilThen is the advice for machines which an account kept out that is not sent for some time yet, or has to be put right first; "" where
// neither is known.
func untilThen(status Status, run journal.Run, held string) string {
	first := "See that user and password are right before anything else: every further attempt brings the account closer to a lockout."
	if strings.HasSuffix(run.Reason, journal.ElseDone) {
		first = "The domain of these machines does not take an account that another one takes: see whether it trusts that one, and lets the account in."
	}
	if status == Status(journal.Held) {
		first = "Nothing was sent to these machines. " + first
	}
	at := sentAgain(run.Reason, held)
	switch {
	case at == "" && (status != Status(journal.Held) || !wrongPassword(run) || !rejection.MatchString(held)):
		return ""
	case at == "":
		return first + " Then retry: another machine is asked first."
	}
	text := first + " Nothing more is sent there before " + at
	if strings.Contains(run.Reason+held, "--sign-ins ") {
		text += ", unless with the number for --sign-ins that the reason of the run names"
	}
	return text + "; retry after that."
}

// heldFor is the reason why machines were held: the one that most of them have. What was not begun was stopped by one thing, and
// one advice is for all of it.
func heldFor(all []Machine) string {
	counts := map[string]int{}
	for _, m := range all {
		if m.Status == Status(journal.Held) {
			counts[general(m)]++
		}
	}
	most := ""
	for text, n := range counts {
		if n > counts[most] || n == counts[most] && text < most {
			most = text
		}
	}
	return most
}

// group sorts what somebody must look into before what merely was not done.
func group(status Status) int {
	if status == Status(journal.Held) || status == Status(journal.Skipped) {
		return 1
	}
	return 0
}

var address = lazyregexp.New(`\b\d{1,3}(\.\d{1,3}){3}(:\d{1,5})?\b|\[[0-9A-Fa-f:.]+(%[\w.-]+)?\](:\d{1,5})?`)

// general takes out of a reason what differs from machine to machine, so that equal troubles come together.
func general(m Machine) string {
	text := strings.TrimPrefix(prose.Short(m.Reason, 0), m.Name+": ")
	host, _, _ := strings.Cut(m.Address, ":")
	for _, own := range []string{m.Address, host, m.Name} {
		if len(own) >= 3 {
			text = replaceWord(text, own, "(machine)")
		}
	}
	text = strings.TrimPrefix(anyone.Replace(" "+text), " ")
	return cut(cmp.Or(address.ReplaceAllString(text, "(address)"), unsaid), longest)
}

// said is the reason of one machine as it was recorded.
func said(m Machine) string {
	return cut(cmp.Or(strings.TrimPrefix(prose.Short(m.Reason, 0), m.Name+": "), unsaid), longest)
}

const (
	unsaid  = "no reason was recorded"
	longest = 300 // runes of a reason
)

// anyone puts what stands for the name of each of several machines into words, but within a path.
var anyone = strings.NewReplacer(` the name "(machine)"`, " its name", ` "(machine)"`, " the machine", " (machine)", " the machine")

// replaceWord replaces own where it stands alone, in any case: PC1 must not be found in PC10.
func replaceWord(text, own, with string) string {
	lower, low := strings.ToLower(text), strings.ToLower(own)
	if len(lower) != len(text) || len(low) != len(own) { // folding changed lengths; offsets would not fit
		return text
	}
	var out strings.Builder
	from := 0
	for {
		i := strings.Index(lower[from:], low)
		if i < 0 {
			return out.String() + text[from:]
		}
		begin, end := from+i, from+i+len(low)
		out.WriteString(text[from:begin])
		if begin > 0 && wordByte(text[begin-1]) || end < len(text) && wordByte(text[end]) {
			out.WriteString(text[begin:end])
		} else {
			out.WriteString(with)
		}
		from = end
	}
}

func wordByte(c byte) bool {
	return c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
