package plan_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

func limit(t *testing.T, text string) plan.Limit {
	t.Helper()
	l, err := plan.ParseLimit(text)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLimit(t *testing.T) {
	for _, c := range []struct {
		text        string
		bad, judged int
		passed, end bool
	}{
		{"", 99, 99, false, false}, {"none", 99, 99, false, false},
		{"0", 0, 5, false, false}, {"0", 1, 1, true, true}, {"0%", 1, 1, true, true},
		{"5", 5, 5, false, false}, {"5", 6, 600, true, true},
		{"10%", 1, 1, false, false}, {"10%", 1, 5, false, false}, // one failure proves nothing
		{"10%", 3, 3, false, false}, {"10%", 4, 4, true, true}, {"10%", 4, 6, false, false},
		{"10%", 4, 29, false, false}, {"10%", 4, 30, false, true}, {"10%", 4, 40, false, false}, {"10%", 5, 40, false, true},
		{"10%", 14, 44, true, true}, {"10%", 1200, 10000, true, true}, {"10%", 1000, 10000, false, false}, {"10%", 1001, 10000, false, true},
		{"2.5%", 1, 40, false, false}, {"2.5%", 2, 40, false, true}, {"100%", 40, 40, false, false}, {"50%", 11, 11, false, false}, {"50%", 12, 12, true, true},
	} {
		l := limit(t, c.text)
		if got := l.Passed(c.bad, c.judged); got != c.passed {
			t.Errorf("%q: %d of %d: %v", c.text, c.bad, c.judged, got)
		}
		if got := l.PassedAtEnd(c.bad, c.judged); got != c.end {
			t.Errorf("%q at the end: %d of %d: %v", c.text, c.bad, c.judged, got)
		}
		if again, err := plan.ParseLimit(l.String()); err != nil || again != l {
			t.Errorf("%q as %q: %+v %v", c.text, l, again, err)
		}
	}
	for _, text := range []string{"-1", "x", "101%", "%", "1.5", "NaN%"} {
		if l, err := plan.ParseLimit(text); err == nil || len(hint.Of(err)) == 0 {
			t.Errorf("%q: %v %v", text, l, err)
		}
	}
}

// The bound is the exact binomial one: it is compared with whole numbers.
func TestTheBoundIsExact(t *testing.T) {
	perLook := big.NewRat(3, 10000)
	for range 400 {
		percent := 1 + rand.IntN(60)
		n := 1 + rand.IntN(300)
		bad := 1 + rand.IntN(n)
		p, q := big.NewRat(int64(percent), 100), big.NewRat(int64(100-percent), 100)
		sum := new(big.Rat)
		for k := bad; k <= n; k++ {
			sum.Add(sum, new(big.Rat).Mul(new(big.Rat).SetInt(new(big.Int).Binomial(int64(n), int64(k))), new(big.Rat).Mul(power(p, k), power(q, n-k))))
		}
		want := sum.Cmp(perLook) <= 0 && bad*100 > percent*n
		if got := (plan.Limit{Percent: float64(percent), Set: true}).Passed(bad, n); got != want {
			t.Errorf("%d %%: %d of %d: %v, but the probability is %s", percent, bad, n, got, sum.FloatString(12))
		}
	}
}

func power(x *big.Rat, n int) *big.Rat {
	e := big.NewInt(int64(n))
	return new(big.Rat).SetFrac(new(big.Int).Exp(x.Num(), e, nil), new(big.Int).Exp(x.Denom(), e, nil))
}

// If all that may be at risk at once went bad, the limit would not be passed by more than one.
func TestBearable(t *testing.T) {
	for _, text := range []string{"1%", "10%", "30%", "0", "3", "100"} {
		l := limit(t, text)
		for judged := range 500 {
			for _, bad := range []int{0, 1, judged / 20} {
				if bad > judged || l.Passed(bad, judged) {
					continue
				}
				n := l.Bearable(bad, judged)
				switch {
				case n < 1:
					t.Fatalf("%s: nothing may be at risk after %d of %d", text, bad, judged)
				case l.Percent > 0 && n > 1 && l.Passed(bad+n-1, judged+n-1):
					t.Fatalf("%s: %d may be at risk after %d of %d, more than the limit bears", text, n, bad, judged)
				case l.Percent > 0 && judged > bad && n < 1<<15 && !l.Passed(bad+n+1, judged+n+1):
					t.Fatalf("%s: only %d may be at risk after %d of %d", text, n, bad, judged)
				}
			}
		}
	}
	for _, c := range []struct {
		text              string
		bad, judged, want int
	}{
		{"10%", 0, 0, 3}, {"10%", 1, 1, 2}, {"30%", 0, 0, 4}, {"10%", 3, 3, 1}, {"50%", 0, 0, 4}, {"1%", 0, 0, 1}, {"10%", 0, 11, 7}, {"10%", 0, 1000, 152},
		{"0", 0, 0, 1}, {"0", 0, 30, 10}, {"5", 0, 0, 6}, {"5", 3, 3, 3}, {"none", 50, 50, math.MaxInt}, {"100%", 50, 50, math.MaxInt},
	} {
		if got := limit(t, c.text).Bearable(c.bad, c.judged); got != c.want {
			t.Errorf("%s: %d may be at risk after %d of %d, not %d", c.text, got, c.bad, c.judged, c.want)
		}
	}
}

func TestHopelessAndJudges(t *testing.T) {
	for _, c := range []struct {
		text        string
		bad, judged int
		want        bool
	}{{"50%", 3, 3, false}, {"50%", 4, 4, true}, {"50%", 4, 5, false}, {"100%", 9, 9, false}, {"20", 9, 9, false}, {"none", 9, 9, false}} {
		if got := limit(t, c.text).Hopeless(c.bad, c.judged); got != c.want {
			t.Errorf("%s: %d of %d: %v", c.text, c.bad, c.judged, got)
		}
	}
	for text, machines := range map[string]int{"10%": 1, "50%": 12, "90%": 30, "1%": 1, "0": 1, "none": 1, "100%": 1} {
		l := limit(t, text)
		if !l.Judges(machines) || machines > 1 && l.Judges(machines-1) || !l.Judges(4) {
			t.Errorf("%s: judges from %d machines on is not so", text, machines)
		}
	}
}
