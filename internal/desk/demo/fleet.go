package demo

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/internal/simfleet/ntlm"
)

// Fleet says which simulated fleet is wanted.
type Fleet struct {
	Machines int
	Seed     uint64 // same seed, same fleet
	Latency  time.Duration
	Broken   float64 // share on which the fix fails; negative: a few
	Silent   float64 // share that does not answer; negative: some
}

// Options are those of the fleet. One that cannot be is a mistake (package hint).
func (f Fleet) Options() (simfleet.Options, error) {
	switch {
	case f.Machines < 1:
		return simfleet.Options{}, hint.Mistake(fmt.Errorf("--machines %d: a fleet has at least one", f.Machines), "leave it out for what is usual")
	case f.Latency < 0:
		return simfleet.Options{}, hint.Mistake(fmt.Errorf("--latency %s is less than nothing", f.Latency), "0 means none")
	}
	mix, err := f.mix()
	return simfleet.Options{Machines: f.Machines, Seed: f.Seed, Latency: f.Latency, Mix: &mix, AllowBasic: true}, err
}

// mix is the default mix with the given shares of broken and unreachable machines; the others keep their proportions.
func (f Fleet) mix() (simfleet.Mix, error) {
	mix := simfleet.DefaultMix()
	if f.Broken > 1 || f.Silent > 1 || max(f.Broken, 0)+max(f.Silent, 0) > 1 {
		return mix, hint.Mistake(errors.New("the shares of broken and unreachable machines are more than all"), "give numbers from 0 to 1 that add up to 1 at most")
	}
	rest := 1.0
	if f.Broken >= 0 {
		rest -= f.Broken - mix.Broken
		mix.Broken = f.Broken
	}
	if f.Silent >= 0 {
		rest -= f.Silent - mix.Refused - mix.BlackHole - mix.Denied
		mix.Refused, mix.BlackHole, mix.Denied = f.Silent/2, f.Silent/2, 0
	}
	others := []*float64{&mix.Affected, &mix.Slow, &mix.DropBefore, &mix.DropAfter, &mix.CrashLoop, &mix.Busy}
	sum := 0.0
	for _, share := range others {
		sum += *share
	}
	left := 1 - mix.Broken - mix.Refused - mix.BlackHole - mix.Denied
	for _, share := range others {
		*share *= min(max(rest, 0), max(left, 0)/sum)
	}
	return mix, nil
}

// start starts a fleet and writes its settings and machines into a folder. The caller closes it.
func start(ctx context.Context, o simfleet.Options, dir string) (*simfleet.Fleet, error) {
	fleet, err := simfleet.New(o)
	if err != nil {
		return nil, &hint.MistakeError{Err: err}
	}
	if err = fleet.Start(ctx); err == nil {
		err = fleet.Write(dir)
	}
	if err != nil {
		fleet.Close()
		return nil, err
	}
	return fleet, nil
}

// Rehearsal is a fleet that is served until somebody has enough of it.
type Rehearsal struct {
	Fleet
	Dir         string // for settings and machines
	PowerShell  string // runs the real agent on the machines; "": it is simulated
	Plain       bool   // every machine answers and can be fixed
	Unencrypted bool   // accept requests in the clear over HTTP
	Strict      bool   // refuse NTLM over HTTPS without a channel binding token
	Chunk       int    // bytes of output in one answer; 0: 32 KiB

	Kinds    map[string]string // so many machines of these kinds, the others are clean; they make the fleet where Machines is 0
	Reject   int               // so many machines answer 401 to the good account
	Cut      int               // so many cut the line after the third message of NTLM
	Domains  int               // to how many domains the machines belong
	Distrust bool              // the last domain rejects the account
	Lockout  int               // wrong passwords in a row that lock an account; less than 1: none do

	CrashUp, CrashDown time.Duration // how long a machine that crashes again and again is up, and down; 0: as it comes
}

// options are those of the fleet that is served.
func (r Rehearsal) options() (simfleet.Options, error) {
	exactly, err := r.exactly()
	if err != nil {
		return simfleet.Options{}, err
	}
	if r.Machines == 0 && len(r.Kinds) > 0 {
		for _, n := range exactly {
			r.Machines += n
		}
	}
	o, err := r.Fleet.Options()
	if err != nil {
		return o, err
	}
	switch {
	case r.Domains < 1:
		return o, hint.Mistake(fmt.Errorf("--domains %d: every machine belongs to one", r.Domains), "leave it out for what is usual")
	case r.CrashUp < 0 || r.CrashDown < 0:
		return o, hint.Mistake(errors.New("--crash-up and --crash-down are spans of time, not less than nothing"), "leave them out for what is usual")
	case len(r.Kinds) > 0:
		o.Mix = &simfleet.Mix{}
	case r.Plain:
		o.Mix = &simfleet.Mix{Affected: 0.6}
	}
	o.Exactly, o.Domains, o.Distrust, o.Lockout = exactly, r.Domains, r.Distrust, max(r.Lockout, 0)
	if o.Lockout == 0 {
		o.Lockout = -1
	}
	if o.PowerShell = r.PowerShell; r.PowerShell != "" { // how fast this computer is must not decide who is fixed
		o.Mix.Affected, o.Mix.CrashLoop = o.Mix.Affected+o.Mix.CrashLoop, 0
	}
	o.AllowUnencrypted, o.CBT, o.Chunk = r.Unencrypted, ntlm.Relaxed, r.Chunk
	if r.Strict {
		o.CBT = ntlm.Strict
	}
	o.CrashUpMin, o.CrashUpMax, o.CrashDownMin, o.CrashDownMax = r.CrashUp, r.CrashUp, r.CrashDown, r.CrashDown
	return o, nil
}

// exactly are the kinds of which an exact number was asked for.
func (r Rehearsal) exactly() (map[simfleet.Kind]int, error) {
	out := map[simfleet.Kind]int{}
	for name, text := range r.Kinds {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, hint.Mistake(fmt.Errorf("--mix: %s=%s is no number of machines", name, text), "for example affected=165,broken=14")
		}
		if !slices.Contains(simfleet.Kinds(), simfleet.Kind(name)) {
			return nil, hint.Mistake(fmt.Errorf("--mix: no kind of machine is called %q", name), "there are %s", kinds())
		}
		out[simfleet.Kind(name)] = n
	}
	if len(r.Kinds) > 0 && (r.Plain || r.Broken >= 0 || r.Silent >= 0) {
		return nil, hint.Mistake(errors.New("--mix says which machines there are, and so do --plain, --broken and --unreachable"), "leave one of them out")
	}
	out[simfleet.Rejecting] += r.Reject
	out[simfleet.CutLogon] += r.Cut
	for kind, n := range out {
		if n < 0 {
			return nil, hint.Mistake(fmt.Errorf("%d %s machines are less than none", n, kind), "give a number from 0 on")
		}
	}
	return out, nil
}

func kinds() string {
	var names []string
	for _, k := range simfleet.Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// Serve serves a fleet until ctx ends; up is called when it is there.
func Serve(ctx context.Context, r Rehearsal, up func(*simfleet.Fleet) error) error {
	if r.Dir == "" {
		return hint.Mistake(errors.New("no folder to write settings and machines into"), "give one with --dir")
	}
	options, err := r.options()
	if err != nil {
		return err
	}
	debug.SetGCPercent(50) // ten thousand machines are mostly memory
	fleet, err := start(ctx, options, r.Dir)
	if err != nil {
		return err
	}
	defer fleet.Close()
	if err := up(fleet); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
