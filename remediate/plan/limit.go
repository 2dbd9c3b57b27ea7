package plan

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Limit is how many machines may be bad before a run stops: a count, or a percentage of those that are judged. The zero
// Limit never trips.
//
// A count is what it says. A percentage is a claim about the fleet, and a few machines prove little: while machines are
// out, it trips only when so many bad ones are, at that limit, as good as impossible ([Limit.Passed]); at the end of a
// wave the plain percentage counts too, once enough machines stand behind it ([Limit.PassedAtEnd]).
type Limit struct {
	Count   int     `json:"count,omitempty"`
	Percent float64 `json:"percent,omitempty"`
	Set     bool    `json:"set"` // tells "0" (nothing may fail) from no limit
}

// perLook is how likely one look at a fleet of which exactly the limit fails may stop it. A run looks after every machine; all looks
// of a run together come to less than half a percent (test/bench/gate prints it), for they look at almost the same machines.
const perLook = 0.0003

// EnoughForShare is how many machines must stand behind a plain percentage.
const EnoughForShare = 30

// alone is how many machines in a row, and no other, may fail under a percentage: the first and three more.
const alone = 4

// ParseLimit reads "5" (machines) or "10%" (of the machines that are judged). The empty text and "none" are no limit; "0"
// allows not a single one.
func ParseLimit(text string) (Limit, error) {
	text = strings.TrimSpace(text)
	if text == "" || text == "none" {
		return Limit{}, nil
	}
	if number, ok := strings.CutSuffix(text, "%"); ok {
		if percent, err := parsePercent(number); err == nil {
			return Limit{Percent: percent, Set: true}, nil
		}
	} else if count, err := strconv.Atoi(text); err == nil && count >= 0 {
		return Limit{Count: count, Set: true}, nil
	}
	return Limit{}, hint.Wrap(fmt.Errorf("read limit %q: neither a number of machines nor a percentage between 0 and 100", text),
		"for example 5 (machines), 10% (of those that were treated), 0 (not one) or none")
}

// String gives the limit as ParseLimit reads it.
func (l Limit) String() string {
	switch {
	case !l.Set:
		return "none"
	case l.Percent > 0:
		return strconv.FormatFloat(l.Percent, 'f', -1, 64) + "%"
	}
	return strconv.Itoa(l.Count)
}

// Passed reports whether bad machines of begun, those still out counted as good, are more than the limit allows. Counting
// all that were begun is what makes it fair: a failure answers in moments, a fix with a restart in minutes. A percentage
// is judged by the exact binomial bound, so that no few machines prove anything and no machine is judged twice.
func (l Limit) Passed(bad, begun int) bool {
	switch {
	case !l.Set || bad <= 0:
		return false
	case l.Percent > 0:
		return float64(bad)*100 > l.Percent*float64(begun) && rare(bad, begun, l.Percent/100)
	}
	return bad > l.Count
}

// PassedAtEnd is Passed where nobody is out any more: the plain percentage counts too, of [EnoughForShare] machines at
// least. It is exact: 10% of 40 allows 4.
func (l Limit) PassedAtEnd(bad, judged int) bool {
	return l.Passed(bad, judged) || l.Set && l.Percent > 0 && judged >= EnoughForShare && float64(bad)*100 > l.Percent*float64(judged)
}

// Hopeless reports whether nothing but failures came of the machines that were judged, so often that no more are tried. A
// count allows what it says.
func (l Limit) Hopeless(bad, judged int) bool {
	return l.Set && l.Percent > 0 && l.Percent < 100 && bad == judged && bad >= alone
}

// Bearable is how many machines more may be at risk at once: if all of them went bad, the limit would not have been passed by
// more than the one that shows it. It grows with every machine that went well; at least one, so that a run goes on. No limit
// bears everything: math.MaxInt.
func (l Limit) Bearable(bad, judged int) int {
	good := judged - bad
	switch {
	case !l.Set || l.Percent >= 100:
		return math.MaxInt
	case l.Percent == 0: // of machines like these, one in good/3 may fail and not have shown itself, with 95 % certainty
		return max(l.Count+1-bad, 1) * max(good/3, 1)
	}
	within := 0 // more machines that the limit bears
	for step := 1 << 16; step > 0; step >>= 1 {
		if !l.Passed(bad+within+step, judged+within+step) {
			within += step
		}
	}
	if good == 0 {
		within = min(within, alone-bad)
	}
	return max(within, 1)
}

// Judges reports whether the limit can be judged at all on so many machines: else even all of them failing would not be
// more than chance allows. That the first ones fail one and all is always seen ([Limit.Hopeless]); where there are no more
// than those, nothing could be held anyway.
func (l Limit) Judges(machines int) bool {
	return !l.Set || l.Percent == 0 || l.Percent >= 100 || machines <= alone || l.PassedAtEnd(machines, machines)
}

// rare reports whether at least bad failures among n machines that fail with probability p each are as improbable as perLook
// says: exact up to rounding, for bad above the expected number.
func rare(bad, n int, p float64) bool {
	if p >= 1 {
		return false
	}
	logGamma := func(x int) float64 { v, _ := math.Lgamma(float64(x)); return v }
	term := math.Exp(logGamma(n+1) - logGamma(bad+1) - logGamma(n-bad+1) + float64(bad)*math.Log(p) + float64(n-bad)*math.Log1p(-p))
	sum, odds := 0.0, p/(1-p)
	for k := bad; k <= n && term > sum*1e-12 && sum <= perLook; k++ {
		sum += term
		term *= float64(n-k) / float64(k+1) * odds
	}
	return sum <= perLook
}
