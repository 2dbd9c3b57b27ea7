package plan

import (
	"slices"
	"testing"
)

// TestAPercentageIsRoundedUp: a wave of a few percent of a small fleet is one machine, not none, and waves count all reached by then.
func TestAPercentageIsRoundedUp(t *testing.T) {
	for _, c := range []struct {
		machines int
		waves    string
		want     []int
	}{
		{5, "10%,100%", []int{1, 4}},
		{19, "1,10%,50%,100%", []int{1, 1, 8, 9}},
		{1000, "1,10,10%,100%", []int{1, 10, 89, 900}},
		{3, "33.4%,100%", []int{2, 1}},
	} {
		sizes, err := ParseWaves(c.waves)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, w := range cut(make([]Entry, c.machines), sizes) {
			got = append(got, len(w.Entries))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%d machines in %s: %v, want %v", c.machines, c.waves, got, c.want)
		}
	}
}
