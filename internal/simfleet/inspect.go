package simfleet

import (
	"fmt"
	"time"

	"github.com/fleetmend/fleetmend/internal/simfleet/machine"
)

// State is a machine seen from inside, for tests and for the control endpoint.
type State struct {
	Info
	Files        []machine.File          `json:"files"`
	Registry     []machine.RegistryValue `json:"registry"`
	BCD          map[string]string       `json:"bcd"`
	Protectors   []Protector             `json:"protectors"` // recovery passwords by their IDs
	Crashes      bool                    `json:"crashes"`    // the bad channel file is in place
	Changes      int64                   `json:"changes"`    // answers of the agent in whose course the machine changed
	Answers      int64                   `json:"answers"`    // requests the agent answered
	Boots        int                     `json:"boots"`      // starts since the fleet was made
	Booted       time.Time               `json:"booted"`
	Up           bool                    `json:"up"`
	Shells       int                     `json:"shells"`
	Requests     int64                   `json:"requests"`
	Logons       int64                   `json:"logons"`
	FailedLogons int64                   `json:"failed_logons"`
	Drops        int64                   `json:"drops"` // connections cut on purpose
	Connections  int                     `json:"connections"`
}

// Machine looks into a machine.
func (f *Fleet) Machine(name string) (State, error) {
	h, ok := f.byName[name]
	if !ok {
		return State{}, fmt.Errorf("no simulated machine %q", name)
	}
	windows, service := h.inside()
	s := h.brief()
	s.Files, s.Registry, s.BCD = windows.Files(), windows.Registry(), windows.BCD()
	s.Protectors = protectors(windows)
	s.Crashes, s.Shells = windows.Crashes(), service.Shells()
	return s, nil
}

// brief is the part of a state that costs nothing.
func (h *host) brief() State {
	s := State{
		Info: h.describe(), Requests: h.requests.Load(), Logons: h.logons.Load(), FailedLogons: h.failedLogons.Load(),
		Drops: h.drops.Load(), Connections: h.open(),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Boots, s.Booted, s.Up = h.boots, h.started.UTC(), h.listener != nil
	if h.windows != nil {
		s.Changes, s.Answers = h.windows.Changes(), h.windows.Answers()
	}
	return s
}

// Stats are the totals of a fleet.
type Stats struct {
	Machines        int          `json:"machines"`
	Kinds           map[Kind]int `json:"kinds"`
	Up              int          `json:"up"`
	Connections     int          `json:"connections"`      // open now
	ConnectionsEver int64        `json:"connections_ever"` // accepted since the start
	Requests        int64        `json:"requests"`
	Received        int64        `json:"received"` // bytes that came to the machines
	Written         int64        `json:"written"`  // bytes that they answered
	Logons          int64        `json:"logons"`
	FailedLogons    int64        `json:"failed_logons"`
	AccountFailures int          `json:"account_failures"` // failed logons of the account in a row
	AccountLocked   bool         `json:"account_locked"`
	Accounts        []Account    `json:"accounts"` // the two numbers before are of the first of them
	Answers         int64        `json:"answers"`
	Changes         int64        `json:"changes"`
	Boots           int          `json:"boots"`
	Shells          int          `json:"shells"`
}

// Stats adds up the fleet.
func (f *Fleet) Stats() Stats {
	s := Stats{Machines: len(f.hosts), Kinds: map[Kind]int{}, ConnectionsEver: f.opened.Load(), Requests: f.requests.Load(), Received: f.received.Load(), Written: f.written.Load()}
	first := f.account.state()
	s.AccountFailures, s.AccountLocked, s.Accounts = first.InARow, first.Locked, f.Accounts()
	for _, h := range f.hosts {
		one := h.brief()
		s.Kinds[one.Kind]++
		s.Connections += one.Connections
		s.Logons += one.Logons
		s.FailedLogons += one.FailedLogons
		s.Answers += one.Answers
		s.Changes += one.Changes
		s.Boots += one.Boots
		if one.Up {
			s.Up++
		}
		if h.touched() != nil {
			_, service := h.inside()
			s.Shells += service.Shells()
		}
	}
	return s
}
