package runs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/internal/connect"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

// launch starts a process for the run, which lives on whatever becomes of this one, and waits for its end.
func launch(ctx context.Context, d *desk.Desk, p *plan.Plan, resume string, o Options) (*journal.Run, error) {
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	if err := mayBegin(ctx, d, j, p, resume); err != nil {
		return nil, err
	}
	seen, err := prove(ctx, d, p, o)
	if err != nil {
		return nil, err
	}
	out := order{V: 1, Resume: resume, Rules: o.Rules, PasswordFile: o.PasswordFile, Answers: seen.answers, Files: seen.files}
	if resume == "" {
		if out.Plan, err = json.Marshal(p); err != nil {
			return nil, fmt.Errorf("start the runner: %w", err)
		}
	}
	child, err := detach(ctx, d, o.Runner, out)
	if err != nil {
		return nil, err
	}
	return child.carry(ctx, d, j, o)
}

// mayBegin refuses here, in words and types, what the runner would refuse.
func mayBegin(ctx context.Context, d *desk.Desk, j *journal.Journal, p *plan.Plan, resume string) error {
	if resume == "" {
		return errors.Join(p.Verify(), p.Fresh(d.Now()))
	}
	r, err := j.Run(ctx, resume)
	switch {
	case err != nil:
		return err
	case r.Status.Final():
		return r.Over()
	case r.Owner != nil:
		return hint.Wrapf(&journal.LockedError{Owner: *r.Owner}, "follow it with `fleetmend runs watch %s`, or stop it with `fleetmend runs stop %s`", r.ID, r.ID)
	}
	return nil
}

// startingLog is the name of the log of a runner that has no run yet.
const startingLog = "starting-*.log"

// child is a runner, seen from the process that started it.
type child struct {
	hello hello
	log   *os.File
	ended chan error
}

// detach starts a runner, hands it its order, and waits for its hello. The end of ctx ends a runner that says nothing.
func detach(ctx context.Context, d *desk.Desk, program []string, out order) (*child, error) {
	state, err := d.Folder()
	if err != nil {
		return nil, err
	}
	logs := filepath.Join(state, "runners")
	if err := os.MkdirAll(logs, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the runners' logs: %w", err)
	}
	log, err := makeLog(logs)
	if err != nil {
		return nil, fmt.Errorf("make the log of the runner: %w", err)
	}
	out.Log = log.Name()
	data, err := json.Marshal(out)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the runner: %w", err), log.Close())
	}
	c := &child{log: log, ended: make(chan error, 1)}
	if err := c.start(ctx, d, program, data); err != nil {
		switch {
		case c.hello.Error != "": // it did start, and said why it does not begin
		case ctx.Err() != nil:
			err = fmt.Errorf("start the runner: %w", err)
		default:
			err = hint.Wrap(fmt.Errorf("start the runner: %w", err), "--foreground carries the run out in this process")
		}
		return nil, errors.Join(err, log.Close(), os.Remove(log.Name()))
	}
	return c, nil
}

func (c *child) start(ctx context.Context, d *desk.Desk, program []string, data []byte) error {
	var cmd *exec.Cmd
	var in io.WriteCloser
	var out io.ReadCloser
	for _, attributes := range detached() { // the best first
		cmd = exec.CommandContext(context.WithoutCancel(ctx), program[0], append(program[1:len(program):len(program)], d.Same...)...) //nolint:gosec // ourselves
		cmd.Stderr, cmd.SysProcAttr = c.log, attributes.how
		var err error
		if in, err = cmd.StdinPipe(); err != nil {
			return err
		}
		if out, err = cmd.StdoutPipe(); err != nil {
			return err
		}
		err = cmd.Start()
		if err == nil {
			if attributes.remark != "" {
				d.Tell("remark: " + attributes.remark)
			}
			break
		}
		if !attributes.again(err) {
			return err
		}
	}
	type answer struct {
		line []byte
		err  error
	}
	heard := make(chan answer, 1)
	go func() {
		_, err := in.Write(data)
		clear(data)
		err = errors.Join(err, in.Close())
		line, read := io.ReadAll(io.LimitReader(out, 1<<20)) // until it lets go
		heard <- answer{line, errors.Join(err, read)}
	}()
	var line []byte
	select {
	case got := <-heard:
		if line = got.line; len(line) == 0 {
			wait := cmd.Wait()
			return errors.Join(got.err, wait, errors.New(c.said()))
		}
	case <-ctx.Done():
		err := cmd.Process.Kill()
		<-heard
		_ = cmd.Wait() //nolint:errcheck // killed
		return errors.Join(hint.Wrap(context.Cause(ctx), "`fleetmend runs list` says whether the run had begun; it can be resumed then"), err)
	}
	if err := json.Unmarshal(line, &c.hello); err != nil {
		return errors.Join(fmt.Errorf("the runner says %q: %w", line, err), cmd.Wait())
	}
	go func() { c.ended <- cmd.Wait() }()
	if c.hello.Error != "" {
		if failure := <-c.ended; failure == nil {
			return fmt.Errorf("the runner ended well after an error: %s", c.hello.Error)
		}
		return c.hello.refused()
	}
	return nil
}

// stopPatience is how long the end of a runner is awaited that was asked to stop at once.
const stopPatience = 20 * time.Second

// carry waits for the end of the run. The end of ctx asks the runner to stop at once.
func (c *child) carry(ctx context.Context, d *desk.Desk, j *journal.Journal, o Options) (*journal.Run, error) {
	defer c.log.Close() //nolint:errcheck // only read here
	id, always := c.hello.Run, context.WithoutCancel(ctx)
	var wishes sync.WaitGroup
	defer wishes.Wait()
	wish := func(kind journal.ControlKind) {
		wishes.Go(func() {
			err := j.Control(always, id, kind, d.Operator())
			over, idle := (*journal.EndedError)(nil), (*journal.IdleError)(nil)
			if err != nil && !errors.As(err, &over) && !errors.As(err, &idle) {
				d.Tell(fmt.Sprintf("the run could not be asked to stop: %v", err))
			}
		})
	}
	if o.Begun != nil {
		o.Begun(id, c.hello.First, func() { wish(journal.Stop) })
	}
	var failure error
	select {
	case failure = <-c.ended:
	case <-ctx.Done():
		wish(journal.StopNow)
		late := time.NewTimer(stopPatience)
		defer late.Stop()
		select {
		case failure = <-c.ended:
		case <-late.C:
			d.Tell(fmt.Sprintf("run %s has not stopped yet; see `fleetmend runs watch %s`", id, id))
		}
	}
	r, err := j.Run(always, id)
	if err == nil && (failure == nil || Over(r.Status)) {
		return r, context.Cause(ctx)
	}
	return r, c.died(id, failure)
}

// died says why a runner ended before its run did.
func (c *child) died(id string, failure error) error {
	text, advice := c.said(), fmt.Sprintf("`fleetmend runs resume %s` goes on: it asks each machine in flight what became of it and changes none twice", id)
	if text == "" {
		return hint.Wrap(fmt.Errorf("the process that carried out run %s ended before the run did (%w)", id, failure), advice)
	}
	var hints []string
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if h, ok := strings.CutPrefix(line, "hint: "); ok {
			hints = append(hints, h)
		} else {
			lines = append(lines, strings.TrimPrefix(line, "fleetmend: "))
		}
	}
	if len(hints) == 0 {
		hints = append(hints, advice)
	}
	said := errors.New(strings.Join(lines, "\n"))
	if folder := journal.CopiedTo(text); folder != "" {
		said = &goneError{said.Error(), &journal.GoneError{Folder: folder}}
	}
	return advised(said, hints)
}

// goneError is a journal.GoneError that a runner told in its own words.
type goneError struct {
	text string
	gone *journal.GoneError
}

func (e *goneError) Error() string { return e.text }
func (e *goneError) Unwrap() error { return e.gone }

func advised(err error, hints []string) error {
	for _, h := range slices.Backward(hints) { // the outermost is said first
		err = hint.Wrap(err, h)
	}
	return err
}

// said is the end of what a runner said for people, also where its log was deleted with the folder.
func (c *child) said() string {
	const most = 16 << 10
	info, err := c.log.Stat()
	if err != nil {
		return ""
	}
	data, err := io.ReadAll(io.NewSectionReader(c.log, max(info.Size()-most, 0), most))
	if err != nil {
		return ""
	}
	if at := bytes.LastIndex(data, []byte("fleetmend: ")); at >= 0 {
		data = data[at:]
	}
	return strings.TrimSpace(string(data))
}

// Carry is what a runner does: it reads its order, carries the run out, and tells out, once, how it began. signals is handed
// what stops the run. Nobody can be asked: what had to be was answered before.
func Carry(ctx context.Context, d *desk.Desk, in io.Reader, out io.WriteCloser, signals func(stop func())) error {
	var o order
	err := json.NewDecoder(in).Decode(&o)
	if err == nil && o.V != 1 {
		err = fmt.Errorf("the order has version %d", o.V)
	}
	if err != nil {
		return greet(out, hello{}, fmt.Errorf("read what is to be done: %w", err))
	}
	options := d.Connect.Options
	options.Ask, options.Read = answered(o.Answers), func(file string) (secret.String, string, error) {
		if handed, ok := o.Files[file]; ok {
			return secret.New(handed.Secret), "", nil
		}
		return d.Connect.Read(file)
	}
	c := connect.New(options)
	begun := false
	carried := Options{PasswordFile: o.PasswordFile, Rules: o.Rules, Begun: func(id string, first int64, stop func()) {
		begun = true
		signals(stop)
		if name := filepath.Join(filepath.Dir(o.Log), id+".log"); os.Rename(o.Log, name) == nil {
			o.Log = name
		}
		_ = greet(out, hello{Run: id, First: first}, nil) //nolint:errcheck // whoever started the run may be gone
	}}
	err = errors.Join(carryOut(ctx, d, c, o, carried), c.Close())
	if !begun {
		return greet(out, hello{}, err)
	}
	if info, failed := os.Stat(o.Log); err == nil && failed == nil && info.Size() == 0 {
		_ = os.Remove(o.Log) //nolint:errcheck // it says nothing
	}
	return err
}

func carryOut(ctx context.Context, d *desk.Desk, c *connect.Connector, o order, options Options) error {
	p, err := o.plan(ctx, d)
	if err != nil {
		return err
	}
	engine, err := engine(ctx, d, c, p, options)
	if err != nil {
		return err
	}
	if o.Resume != "" {
		_, err = engine.Resume(ctx, o.Resume)
	} else {
		_, err = engine.Start(ctx, p)
	}
	return err
}

// plan is what the run does: as it was handed over, or as the journal has it.
func (o order) plan(ctx context.Context, d *desk.Desk) (*plan.Plan, error) {
	if o.Resume == "" {
		return plan.Decode(o.Plan)
	}
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	return j.Plan(ctx, o.Resume)
}

// greet writes the hello and lets go of out; it returns err.
func greet(out io.WriteCloser, h hello, err error) error {
	if err != nil {
		h.Error, h.Hints = err.Error(), hint.Of(err)
		if locked, held := errors.AsType[*journal.LockedError](err); held {
			h.Locked = &locked.Owner
		}
	}
	line, encoded := json.Marshal(h)
	if encoded == nil {
		_, encoded = out.Write(line)
	}
	return errors.Join(err, encoded, out.Close())
}
