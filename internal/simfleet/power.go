package simfleet

import (
	"time"
)

// bootTime is how long this machine is off when it restarts. One that went down hard before takes longer, for its disk is
// checked: so the restart stands out from the few seconds for which such a machine has been up, and can be told from
// outside, where uptimes are whole seconds.
func (h *host) bootTime() time.Duration {
	o := &h.fleet.options
	if h.info.Kind == CrashLoop {
		return o.DiskCheck + o.BootMin + time.Duration(h.drawn*float64(o.BootMax-o.BootMin))
	}
	return o.BootMin + time.Duration(h.drawn*float64(o.BootMax-o.BootMin))
}

// after arms the machine's one timer; a restart that is asked for takes the place of the next crash.
func (h *host) after(d time.Duration, do func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	if h.timer != nil {
		h.timer.Stop()
	}
	h.timer = time.AfterFunc(d, func() {
		if h.fleet.enter() {
			defer h.fleet.running.Done()
			do()
		}
	})
}

// restartIn restarts the machine after a delay.
func (h *host) restartIn(delay time.Duration) { h.after(delay, func() { h.powerCycle(h.bootTime()) }) }

// powerCycle switches the machine off and, after a time, on again.
func (h *host) powerCycle(off time.Duration) {
	h.down()
	h.after(off, h.powerOn)
}

// powerOn brings the machine up: its uptime begins anew. When the port cannot be had yet it is tried again.
func (h *host) powerOn() {
	now := time.Now()
	h.mu.Lock()
	h.started = now
	h.boots++
	windows := h.windows
	h.mu.Unlock()
	if windows != nil {
		windows.Started(now)
	}
	h.listenSoon()
}

func (h *host) listenSoon() {
	if err := h.up(); err != nil {
		h.after(50*time.Millisecond, h.listenSoon)
		return
	}
	if h.info.Kind == CrashLoop {
		h.after(h.crashTime(h.fleet.options.CrashUpMin, h.fleet.options.CrashUpMax), h.crash)
	}
}

// crashTime draws from a window; it changes from start to start, but only by the machine's own seed.
func (h *host) crashTime(from, to time.Duration) time.Duration {
	h.mu.Lock()
	n := uint64(h.boots)
	h.mu.Unlock()
	x := (h.seed + n*0x9E3779B97F4A7C15) >> 11
	return from + time.Duration(float64(to-from)*float64(x%1000)/1000)
}

// crash is the stop error of an affected machine, unless somebody has fixed it meanwhile.
func (h *host) crash() {
	windows, _ := h.inside()
	if !windows.Crashes() {
		return
	}
	h.powerCycle(h.crashTime(h.fleet.options.CrashDownMin, h.fleet.options.CrashDownMax))
}
