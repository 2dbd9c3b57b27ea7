package report

import (
	"math"
	"slices"
	"time"

	"github.com/fleetmend/fleetmend/remediate/journal"
)

// maxPoints bounds the burn-down: more would not be seen, on paper or on a screen.
const maxPoints = 240

// burndownOf counts, over the time of the run, the machines of the waves that have not finished. Held machines never do.
func burndownOf(run journal.Run, machines []Machine, end time.Time) []Point {
	var ends []time.Time
	left := 0
	for _, m := range machines {
		if m.Wave == 0 || m.Status == Status(journal.Skipped) {
			continue
		}
		left++
		if !m.Ended.IsZero() && m.Status != Status(journal.Held) && m.Status != Running && m.Status != Waiting {
			ends = append(ends, m.Ended)
		}
	}
	points := []Point{}
	if left == 0 || run.Started.IsZero() || !end.After(run.Started) {
		return points
	}
	slices.SortFunc(ends, time.Time.Compare)
	points = append(points, Point{run.Started, left})
	step := end.Sub(run.Started) / maxPoints
	for i := 0; i < len(ends); {
		until := ends[i].Add(step)
		at := ends[i]
		for i < len(ends) && !ends[i].After(until) {
			at = ends[i]
			left--
			i++
		}
		// A clock that was set back while the run went on must not draw a line to the left.
		at = later(points[len(points)-1].Time, at)
		points = append(points, Point{at, left})
	}
	if last := points[len(points)-1]; last.Time.Before(end) {
		points = append(points, Point{end, last.Left})
	}
	return points
}

func durationsOf(machines []Machine) Durations {
	d := Durations{Bins: []Bin{}}
	var all []time.Duration
	for _, m := range machines {
		switch m.Status {
		case Status(journal.Held), Status(journal.Skipped), Running, Waiting:
			continue
		}
		if m.Took > 0 {
			all = append(all, m.Took)
		}
	}
	if len(all) == 0 {
		return d
	}
	slices.Sort(all)
	d.Median, d.P95 = quantile(all, 0.5), quantile(all, 0.95)
	// The few slowest would squeeze everything else into one bar: beyond the 98th percentile there is one open bin.
	width := niceDuration(quantile(all, 0.98) / 10)
	count := int(quantile(all, 0.98)/width) + 1
	for i := range count {
		d.Bins = append(d.Bins, Bin{From: time.Duration(i) * width, To: time.Duration(i+1) * width})
	}
	if all[len(all)-1] >= time.Duration(count)*width {
		d.Bins = append(d.Bins, Bin{From: time.Duration(count) * width})
	}
	for _, v := range all {
		d.Bins[min(int(v/width), len(d.Bins)-1)].Machines++
	}
	return d
}

// quantile expects sorted values; nearest rank.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}

var niceSteps = []time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second,
	15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// niceDuration returns the smallest step that is easy to read and not below d.
func niceDuration(d time.Duration) time.Duration {
	for _, step := range niceSteps {
		if step >= d {
			return step
		}
	}
	const day = 24 * time.Hour
	return (d + day - 1) / day * day
}

// niceCount returns the smallest of 1, 2, 5, 10, 20, ... that is not below n.
func niceCount(n float64) int {
	for unit := 1; ; unit *= 10 {
		for _, f := range []int{1, 2, 5} {
			if float64(f*unit) >= n {
				return f * unit
			}
		}
	}
}
