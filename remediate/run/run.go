// Package run executes plans: machine by machine, wave by wave, behind gates, with every step in the journal before it is
// taken.
//
// [New] makes an [Engine]; its Start executes a plan and returns when the run is over, its Resume goes on with a run that
// was interrupted, also by a kill. [RetryPlan] and [UndoPlan] make the plans that come after a run. The package speaks to
// machines only through [route.Route], tells the world only through an [Observer], and never acts on what it could not
// record. It knows time only by the time package, so that a testing/synctest bubble can hold it.
package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// Observer is told what happens, in order, after it was committed. It is called from the goroutine that writes the
// journal: an observer that blocks holds the whole run, so a slow one folds events (see Progress) or drops them. It must
// not call the engine.
type Observer interface{ Observe(journal.Event) }

// Wave tells an approver what is over and what would come.
type Wave struct {
	Run      string
	Number   int    // of the wave that is over, from 1
	Name     string // "1", "10%"
	Counts   map[journal.Outcome]int
	Next     string // name of the next wave
	Machines int    // in the next wave
}

// Options are what an engine works with. Journal and Routes are required.
type Options struct {
	Journal  *journal.Journal
	Routes   map[string]route.Route // by the name that the plan's entries have
	Observer Observer               // may be nil

	// Approve is asked between waves when the plan wants approval; the answer may also come from another process
	// (journal.Approve), whichever is first. It must return when ctx ends. Nil: only the journal is asked.
	Approve func(ctx context.Context, wave Wave) (bool, error)

	// Rules gives the rules of this life of the run in place of those of the plan; nil: those of the plan.
	Rules func(plan.Options) (plan.Options, error)

	Logger *slog.Logger   // nil: nothing is logged
	Rand   func() float64 // jitter, uniform in [0,1), safe for concurrent use; nil: math/rand/v2
}

// Engine executes one run. Start or Resume is called once; Stop may be called at any time, from any goroutine.
type Engine struct {
	options Options
	stop    chan struct{}
	once    sync.Once
	used    sync.Mutex
}

// New makes an engine for one run.
func New(options Options) (*Engine, error) {
	if options.Journal == nil || len(options.Routes) == 0 {
		return nil, errors.New("make engine: a journal and at least one route are needed")
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.Rand == nil {
		options.Rand = rand.Float64
	}
	return &Engine{options: options, stop: make(chan struct{})}, nil
}

// Stop is the first Ctrl-C: no new machines are started, those in flight end, and the run is marked interrupted, to be
// resumed. Cancelling the context of Start is the second: everything ends at once, and machines in flight stay running
// in the journal until a Resume asks them what became of them.
func (e *Engine) Stop() { e.once.Do(func() { close(e.stop) }) }

// Start executes a plan and returns when the run is over, with the run as the journal has it. How it ended is in its
// Status: a gate, rejected credentials or an operator are no errors. Errors are an expired or changed plan (*plan.ExpiredError, *plan.EditedError), an
// unknown route, another engine at work (*journal.LockedError), a journal that cannot be written (*journal.WriteError;
// the run stops and can be resumed), another store that failed (*route.StoreError; the same) and the end of ctx.
func (e *Engine) Start(ctx context.Context, p *plan.Plan) (*journal.Run, error) {
	if err := errors.Join(p.Verify(), p.Fresh(time.Now())); err != nil {
		return nil, err
	}
	return e.execute(ctx, p, func(observe func(journal.Event)) (*journal.Session, error) {
		return e.options.Journal.Create(ctx, p, observe)
	}, journal.RunStarted)
}

// Resume goes on with a run that was interrupted or whose process died. Machines in flight then are asked again under
// the same run ID and answer from their own record. Errors are those of Start, *journal.NotFoundError, and
// *journal.EndedError for a run that is over. The time limit of the run begins anew.
func (e *Engine) Resume(ctx context.Context, runID string) (*journal.Run, error) {
	p, err := e.options.Journal.Plan(ctx, runID)
	if err != nil {
		return nil, err
	}
	return e.execute(ctx, p, func(observe func(journal.Event)) (*journal.Session, error) {
		return e.options.Journal.Resume(ctx, runID, observe)
	}, journal.RunResumed)
}

func (e *Engine) execute(ctx context.Context, p *plan.Plan, open func(func(journal.Event)) (*journal.Session, error), kind journal.Kind) (*journal.Run, error) {
	if !e.used.TryLock() {
		return nil, errors.New("start run: an engine executes one run only")
	}
	if err := e.routesFor(p); err != nil {
		return nil, err
	}
	rules := p.Options
	if e.options.Rules != nil {
		var err error
		if rules, err = e.options.Rules(rules); err != nil {
			return nil, err
		}
	}
	var observe func(journal.Event)
	if e.options.Observer != nil {
		observe = e.options.Observer.Observe
	}
	s, err := open(observe)
	if err != nil {
		return nil, fmt.Errorf("start run: %w", err)
	}
	x := newExecution(e, s, &rules)
	// Only a hint, which saves bytes: without it the agent is sent.
	if kept, err := e.options.Journal.Kept(ctx, agent.Digest()); err == nil {
		x.crew.Kept = kept
	}
	failure := x.explain(x.all(ctx, kind))
	closed := s.Close()
	run, err := e.options.Journal.Run(context.WithoutCancel(ctx), s.ID())
	return run, errors.Join(failure, closed, err)
}

func (e *Engine) routesFor(p *plan.Plan) error {
	for _, w := range p.Waves {
		for i := range w.Entries {
			if e.options.Routes[w.Entries[i].Route] == nil {
				return hint.Wrap(fmt.Errorf("start run: machine %s goes by route %q, which is not set up", w.Entries[i].Name, w.Entries[i].Route),
					"set the route up in the configuration, or make a new plan")
			}
		}
	}
	return nil
}
