package usb

import (
	"sync"
	"time"
)

// serial lets one goroutine at a time call f.
func serial(f func(Progress)) func(Progress) {
	if f == nil {
		return func(Progress) {}
	}
	var mu sync.Mutex
	return func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		f(p)
	}
}

// meter turns byte counts into rate and time left, and reports at most four times a second and at both ends of a phase.
type meter struct {
	report func(Progress)
	p      Progress
	after  int64 // bytes of the phases that follow
	start  time.Time
	last   time.Time
}

func newMeter(path string, report func(Progress)) *meter {
	return &meter{report: report, p: Progress{Path: path}}
}

// begin starts a phase of total bytes, after which phases with after bytes follow.
func (m *meter) begin(phase Phase, total, after int64) {
	m.p.Phase, m.p.Done, m.p.Total, m.p.Rate, m.p.Left = phase, 0, total, 0, 0
	m.after, m.start = after, time.Now()
	m.last = m.start
	m.report(m.p)
}

func (m *meter) at(done int64) {
	now := time.Now()
	m.p.Done = done
	if spent := now.Sub(m.start); spent > 0 {
		m.p.Rate = int64(float64(done) / spent.Seconds())
	}
	if m.p.Rate > 0 {
		m.p.Left = time.Duration(float64(m.p.Total-done+m.after) / float64(m.p.Rate) * float64(time.Second)).Round(time.Second)
	}
	if done < m.p.Total && now.Sub(m.last) < 250*time.Millisecond {
		return
	}
	m.last = now
	m.report(m.p)
}
