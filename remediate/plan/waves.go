package plan

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Size is how far one wave goes. A count is the number of machines of that wave alone; a percentage is how much of the
// whole fleet has had its turn when the wave is over.
type Size struct {
	Text    string  // as the operator wrote it; the wave's name
	Count   int     // 0 for a percentage
	Percent float64 // 0 for a count
}

const wavesHint = "write sizes from small to large and end with the whole fleet, for example --waves 1,10,10%,100%"

// ParseWaves reads a specification like "1,10,10%,100%": one machine, then ten more, then as many as make a tenth of
// the fleet, then all the others. Unlike Ansible's serial, a percentage is cumulative, so that the numbers read as
// "how much of the fleet is at risk by now", and nothing is repeated or added silently: the last wave must be 100%.
// The empty specification is one wave with every machine.
func ParseWaves(spec string) ([]Size, error) {
	if strings.TrimSpace(spec) == "" {
		spec = "100%"
	}
	var sizes []Size
	reached := 0.0
	for part := range strings.SplitSeq(spec, ",") {
		size, err := parseSize(strings.TrimSpace(part))
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("read waves %q: %w", spec, err), wavesHint)
		}
		if size.Percent > 0 {
			if size.Percent <= reached {
				return nil, hint.Wrap(fmt.Errorf("read waves %q: %s comes after %g%% of the fleet was already reached", spec, size.Text, reached),
					"percentages count the whole fleet up to the end of the wave, so each must be larger than the one before")
			}
			reached = size.Percent
		} else if reached == 100 {
			return nil, hint.Wrap(fmt.Errorf("read waves %q: nothing is left for wave %q after 100%%", spec, size.Text), wavesHint)
		}
		sizes = append(sizes, size)
	}
	if reached != 100 {
		return nil, hint.Wrapf(fmt.Errorf("read waves %q: the last wave must be 100%%, or machines would be left out", spec),
			"add it: --waves %s,100%%; to fix only some machines, narrow the selection instead", strings.Trim(spec, ", "))
	}
	return sizes, nil
}

func parseSize(text string) (Size, error) {
	if number, ok := strings.CutSuffix(text, "%"); ok {
		percent, err := parsePercent(number)
		if err != nil || percent == 0 {
			return Size{}, fmt.Errorf("%q is not a percentage between 0 and 100", text)
		}
		return Size{Text: text, Percent: percent}, nil
	}
	count, err := strconv.Atoi(text)
	if err != nil || count < 1 {
		return Size{}, fmt.Errorf("%q is neither a number of machines nor a percentage", text)
	}
	return Size{Text: text, Count: count}, nil
}

// parsePercent accepts 0 to 100 with decimals, and none of what ParseFloat knows beyond that (NaN, Inf, hex, 1e1).
func parsePercent(number string) (float64, error) {
	number = strings.TrimSpace(number)
	if number == "" || strings.Trim(number, "0123456789.") != "" {
		return 0, strconv.ErrSyntax
	}
	percent, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, err
	}
	if percent > 100 {
		return 0, strconv.ErrRange
	}
	return percent, nil
}

// arrange sorts entries into the order they will have: canaries, then by priority (lower first), then workstations
// before servers before domain controllers, then by name and ID. A domain controller goes earlier only when somebody
// gave it a lower priority on purpose.
func arrange(entries []Entry) {
	slices.SortStableFunc(entries, func(a, b Entry) int {
		if a.Canary != b.Canary {
			if a.Canary {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(rank(a.Class), rank(b.Class)),
			cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
}

func rank(class string) int {
	switch class {
	case "dc":
		return 2
	case "server":
		return 1
	}
	return 0
}

// cut divides the arranged entries into waves. A wave that would be empty, because the fleet is small, is left out.
func cut(entries []Entry, sizes []Size) []Wave {
	var waves []Wave
	total, done := len(entries), 0
	for _, size := range sizes {
		upTo := done + size.Count
		if size.Percent > 0 {
			upTo = int(math.Ceil(size.Percent*float64(total)/100 - 1e-9))
		}
		upTo = min(upTo, total)
		if upTo <= done {
			continue
		}
		waves = append(waves, Wave{Name: size.Text, Entries: entries[done:upTo:upTo]})
		done = upTo
	}
	return waves
}
