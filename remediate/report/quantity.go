package report

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

// quantity is what differs between machines of one trouble: a time, how long, how much. A number without a unit may be a code, a version or
// a name, which makes it another trouble.
var quantity = lazyregexp.New(`\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?Z?\b|\b\d\d:\d\d:\d\d\b|\b(\d+(\.\d+)?(h|ms|m|s))+\b|` +
	`\b\d+([.,]\d+)? (ms|s|min|h|seconds|minutes|hours|days|bytes|KiB|MiB|GiB|TiB|KB|MB|GB|files|changes|times|attempts)\b`)

// gap stands in a text for a quantity; no text of ours has it.
const gap = "\x00"

// span are the quantities of a group of machines, from the least to the most of each gap.
type span struct{ least, most []string }

// apart takes the quantities out of a text: words of their own, not parts of a name.
func apart(text string) (pattern string, quantities []string) {
	var b strings.Builder
	from := 0
	for _, at := range quantity.FindAllStringSubmatchIndex(text, -1) {
		begin, end := at[0], at[1]
		after := strings.TrimLeft(text[end:], ".,;:)")
		if begin > 0 && !strings.ContainsRune(" (", rune(text[begin-1])) || after != "" && after[0] != ' ' {
			continue
		}
		quantities = append(quantities, text[begin:end])
		b.WriteString(text[from:begin] + gap)
		from = end
	}
	return b.String() + text[from:], quantities
}

func (s *span) add(quantities []string) {
	if s.least == nil {
		s.least, s.most = slices.Clone(quantities), quantities
		return
	}
	for i, q := range quantities {
		if less(q, s.least[i]) {
			s.least[i] = q
		}
		if less(s.most[i], q) {
			s.most[i] = q
		}
	}
}

// in is the text with the quantities in it again: one where all have the same, else from the least to the most.
func (s *span) in(pattern string) string {
	for i, least := range s.least {
		if s.most[i] != least {
			least += " to " + s.most[i]
		}
		pattern = strings.Replace(pattern, gap, least, 1)
	}
	return pattern
}

// less compares two quantities: times of day and dates by their texts, others by what they amount to.
func less(a, b string) bool {
	x, known := amount(a)
	y, too := amount(b)
	if known && too {
		return x < y
	}
	return a < b
}

// units are what one of them is in the least of its kind: seconds, bytes, things.
var units = map[string]float64{
	"ms": 1e-3, "s": 1, "seconds": 1, "min": 60, "minutes": 60, "h": 3600, "hours": 3600, "days": 86400,
	"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "KB": 1e3, "MB": 1e6, "GB": 1e9,
	"files": 1, "changes": 1, "times": 1, "attempts": 1,
}

func amount(text string) (float64, bool) {
	if d, err := time.ParseDuration(text); err == nil {
		return d.Seconds(), true
	}
	number, unit, found := strings.Cut(text, " ")
	n, err := strconv.ParseFloat(strings.ReplaceAll(number, ",", ""), 64)
	return n * units[unit], found && err == nil && units[unit] > 0
}
