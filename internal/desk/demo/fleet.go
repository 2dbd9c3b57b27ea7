package demo

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
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
	for _, share := range others {
		*share *= max(rest, 0)
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
}

// Serve serves a fleet until ctx ends; up is called when it is there.
func Serve(ctx context.Context, r Rehearsal, up func(*simfleet.Fleet) error) error {
	if r.Dir == "" {
		return hint.Mistake(errors.New("no folder to write settings and machines into"), "give one with --dir")
	}
	options, err := r.Options()
	if err != nil {
		return err
	}
	if r.Plain {
		options.Mix = &simfleet.Mix{Affected: 0.6}
	}
	if options.PowerShell = r.PowerShell; r.PowerShell != "" { // how fast this computer is must not decide who is fixed
		options.Mix.Affected, options.Mix.CrashLoop = options.Mix.Affected+options.Mix.CrashLoop, 0
	}
	options.AllowUnencrypted, options.CBT, options.Chunk = r.Unencrypted, ntlm.Relaxed, r.Chunk
	if r.Strict {
		options.CBT = ntlm.Strict
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
