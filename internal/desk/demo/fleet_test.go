package demo

import (
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/simfleet"
)

func usual() Rehearsal {
	return Rehearsal{Fleet: Fleet{Machines: 200, Seed: 1, Broken: -1, Silent: -1}, Domains: 1, Lockout: 10}
}

func TestRehearsalOfExactNumbers(t *testing.T) {
	r := usual()
	r.Machines, r.Kinds, r.Cut = 0, map[string]string{"clean": "165", "broken": "14"}, 2
	o, err := r.options()
	if err != nil {
		t.Fatal(err)
	}
	if o.Machines != 181 || o.Exactly[simfleet.Broken] != 14 || o.Exactly[simfleet.Clean] != 165 || o.Exactly[simfleet.CutLogon] != 2 || *o.Mix != (simfleet.Mix{}) {
		t.Errorf("%+v", o)
	}
	r = usual()
	r.Plain, r.Reject, r.Domains, r.Distrust, r.Lockout = true, 5, 2, true, 0
	r.CrashUp, r.CrashDown = 700*time.Millisecond, 14*time.Second
	if o, err = r.options(); err != nil {
		t.Fatal(err)
	}
	if o.Machines != 200 || o.Exactly[simfleet.Rejecting] != 5 || o.Mix.Affected != 0.6 || o.Mix.Broken != 0 || o.Domains != 2 || !o.Distrust || o.Lockout >= 0 ||
		o.CrashUpMax != 700*time.Millisecond || o.CrashDownMin != 14*time.Second {
		t.Errorf("%+v", o)
	}
}

func TestEveryMachineBroken(t *testing.T) {
	r := usual()
	r.Broken, r.Silent = 1, 0
	o, err := r.options()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := simfleet.New(o); err != nil {
		t.Error(err)
	}
}

func TestRehearsalsThatCannotBe(t *testing.T) {
	for want, change := range map[string]func(*Rehearsal){
		`no kind of machine is called "odd"`: func(r *Rehearsal) { r.Kinds = map[string]string{"odd": "1"} },
		"--mix: clean=many is no number":     func(r *Rehearsal) { r.Kinds = map[string]string{"clean": "many"} },
		"and so do --plain":                  func(r *Rehearsal) { r.Kinds, r.Plain = map[string]string{"clean": "1"}, true },
		"-1 broken machines are less":        func(r *Rehearsal) { r.Kinds = map[string]string{"broken": "-1", "clean": "2"} },
		"-2 rejecting machines are less":     func(r *Rehearsal) { r.Reject = -2 },
		"--domains 0":                        func(r *Rehearsal) { r.Domains = 0 },
		"--crash-up and --crash-down":        func(r *Rehearsal) { r.CrashUp = -time.Second },
		"--machines 0: a fleet has at least": func(r *Rehearsal) { r.Machines = 0 },
	} {
		r := usual()
		change(&r)
		if _, err := r.options(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}
