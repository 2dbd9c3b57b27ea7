package winrm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// session is one machine's shell over one link.
type session struct {
	route  *Route
	target route.Target
	link   *link
	values values
	out    output
	large  bool // it has one of the places for large outputs
}

// exchange sends the envelope of op and returns the machine's answer to exactly this request.
func (s *session) exchange(ctx context.Context, op string, envelope *template, action string) (*reply, error) {
	s.values.messageID = newMessageID()
	a, err := s.send(ctx, op, envelope)
	if err != nil {
		return nil, err
	}
	defer a.release()
	if err := s.route.judge(ctx, s.target, s.link, op, a); err != nil {
		return nil, err
	}
	message, err := s.message(op, a)
	if err != nil {
		return nil, err
	}
	r, err := parseReply(message, &s.out)
	if errors.Is(err, errTooMuch) {
		return nil, err
	}
	if err != nil {
		return nil, s.garbage(op, a.status, err)
	}
	// A machine that could not read a request at all faults without relating to it.
	if !strings.EqualFold(r.relatesTo, s.values.messageID) && (r.fault == nil || r.relatesTo != "") {
		return nil, s.garbage(op, a.status, fmt.Errorf("the answer belongs to another request (%q)", clip(r.relatesTo, 60)))
	}
	if r.fault != nil {
		return nil, faultError(s.target.Name, op, a.status, r.fault)
	}
	if a.status != http.StatusOK || r.action != action+"Response" {
		return nil, s.garbage(op, a.status, fmt.Errorf("an unexpected answer (%q)", clip(r.action, 100)))
	}
	return r, nil
}

// send posts a request and waits for its answer. Nothing of the request is held while it waits.
func (s *session) send(ctx context.Context, op string, envelope *template) (*answer, error) {
	if err := s.write(ctx, op, envelope); err != nil {
		return nil, err
	}
	a, err := s.link.await(ctx)
	if err != nil {
		return nil, ioFailure(ctx, s.target.Name, op, err)
	}
	return a, nil
}

// write builds a request, seals it where that is due, and writes it.
func (s *session) write(ctx context.Context, op string, envelope *template) error {
	buffer := buffers.Get().(*[]byte)
	defer putBuffer(buffer)
	*buffer = envelope.fill((*buffer)[:0], &s.values)
	body, contentType := *buffer, contentSOAP
	if s.link.sealer != nil {
		sealing := buffers.Get().(*[]byte)
		defer putBuffer(sealing)
		signature, sealed, err := s.link.sealer.seal(body)
		if err != nil {
			return &route.Error{Class: route.Refused, Op: op, Target: s.target.Name, Err: fmt.Errorf("seal a message: %w", err)}
		}
		*sealing = appendSealed((*sealing)[:0], len(body), signature, sealed)
		body, contentType = *sealing, sealedType
	}
	if err := s.link.write(ctx, contentType, "", body); err != nil {
		return ioFailure(ctx, s.target.Name, op, err)
	}
	return nil
}

// message returns the SOAP text of an answer, unsealed where we sealed.
func (s *session) message(op string, a *answer) ([]byte, error) {
	soap := strings.HasPrefix(a.contentType, "application/soap+xml")
	sealed := strings.HasPrefix(a.contentType, "multipart/encrypted")
	if a.status != http.StatusOK && (len(a.body) == 0 || !soap && !sealed) {
		return nil, statusError(s.target.Name, op, a)
	}
	if s.link.sealer == nil {
		if !soap {
			return nil, s.garbage(op, a.status, fmt.Errorf("%w but %q", errNotSOAP, clip(a.contentType, 80)))
		}
		return a.body, nil
	}
	parts, err := parseSealed(a.contentType, a.body)
	if err != nil {
		return nil, s.unsealed(op, a.status, err)
	}
	var message []byte
	for _, part := range parts {
		clear, err := s.link.sealer.unseal(part)
		if err != nil {
			return nil, s.unsealed(op, a.status, err)
		}
		if message == nil {
			message = clear
		} else {
			message = append(message, clear...)
		}
	}
	if l := s.link; l.trial != nil && !l.settled { // who seals has the key
		l.settled = true
		l.trial.Accepted()
	}
	return message, nil
}

// unsealed refuses an answer whose seal is missing or broken.
func (s *session) unsealed(op string, status int, err error) error {
	e := s.garbage(op, status, hint.Wrap(err, "someone may be changing the traffic, or a proxy is between; nothing from this answer is used"))
	if e.Class == route.Refused {
		e.Class = route.Untrusted
	}
	return e
}

// garbage is an answer that is not the one to our request.
func (s *session) garbage(op string, status int, err error) *route.Error {
	e := &route.Error{Class: route.Refused, Op: op, Target: s.target.Name, Status: status, Err: err}
	switch op {
	case opCommand, opSend, opReceive:
		e.Class = route.Unknown
	default:
		if errors.Is(err, errNotSOAP) {
			e.Err = hint.Wrap(err, "something other than WinRM answers at this address and path")
		}
	}
	return e
}

// start creates the shell, starts the command and feeds it.
func (s *session) start(ctx context.Context, commandLine string, write input) error {
	e := shellEnvelopes()
	s.values = values{to: s.link.url, commandLine: commandLine, timeout: s.route.operationTimeout}
	r, err := s.exchange(ctx, opCreate, e.create, actionCreate)
	if err != nil {
		return err
	}
	if s.values.shellID = r.shellID; r.shellID == "" {
		return s.garbage(opCreate, http.StatusOK, errors.New("the answer names no shell"))
	}
	if r, err = s.exchange(ctx, opCommand, e.command, actionCommand); err != nil {
		return err
	}
	if s.values.commandID = r.commandID; r.commandID == "" {
		return s.garbage(opCommand, http.StatusOK, errors.New("the answer names no command"))
	}
	buffer := buffers.Get().(*[]byte)
	defer putBuffer(buffer)
	if *buffer, err = write((*buffer)[:0]); err != nil { // the command has read nothing, and does nothing without
		return refused(s.target.Name, err)
	}
	stdin := *buffer
	defer func() { s.values.stdin = nil }()
	for len(stdin) > 0 {
		envelope := e.send
		if len(stdin) <= sendLimit {
			envelope = e.sendEnd
		}
		s.values.stdin, stdin = stdin[:min(len(stdin), sendLimit)], stdin[min(len(stdin), sendLimit):]
		if _, err = s.exchange(ctx, opSend, envelope, actionSend); err != nil {
			return err
		}
	}
	return nil
}

// The pause between answers that bring nothing: a machine holds Receive until there is output, so these come from one
// that does not. Answers that come at once and bring little are asked for less and less often as well.
const (
	firstPause   = 10 * time.Millisecond
	lastPause    = time.Second
	lastTrickle  = 250 * time.Millisecond
	little       = 4 << 10   // bytes in one answer
	smallOutput  = 256 << 10 // bytes that any machine may send; the answers of the agent are far smaller
	largeOutputs = 6         // machines that may send more at the same time, so that all together are bounded
)

// receive collects the command's output until the machine says that it is done.
func (s *session) receive(ctx context.Context) error {
	e, pause := shellEnvelopes(), firstPause
	for {
		asked, before := time.Now(), s.out.size()
		r, err := s.exchange(ctx, opReceive, e.receive, actionReceive)
		failure, _ := errors.AsType[*route.Error](err)
		switch {
		case errors.Is(err, errTooMuch):
			return s.tooMuch()
		case failure != nil && failure.Code == codeOperationTimeout:
		case err != nil:
			return err
		case r.done && !r.hasExit:
			return s.garbage(opReceive, http.StatusOK, errors.New("the command ended without an exit code"))
		case r.done:
			s.out.ExitCode, s.out.Done = r.exitCode, true
			return nil
		case !s.mayGrow(ctx):
			return ioFailure(ctx, s.target.Name, opReceive, context.Cause(ctx))
		case r.streams > 0 && s.out.size()-before >= little:
			pause = firstPause
			continue
		}
		most := lastPause
		if failure == nil && r.streams > 0 {
			most = lastTrickle
		}
		if took := time.Since(asked); took >= most {
			pause = firstPause
			continue
		}
		if !sleep(ctx, pause) {
			return ioFailure(ctx, s.target.Name, opReceive, context.Cause(ctx))
		}
		pause = min(2*pause, most)
	}
}

// mayGrow waits for a place among the machines that may send much, where this one does. False: ctx has ended.
func (s *session) mayGrow(ctx context.Context) bool {
	if s.large || s.out.size() <= smallOutput {
		return true
	}
	select {
	case s.route.large <- struct{}{}:
		s.large = true
		return true
	case <-ctx.Done():
		return false
	}
}

// shrink gives the place back.
func (s *session) shrink() {
	if s.large {
		s.large = false
		<-s.route.large
	}
}

func (s *session) tooMuch() error {
	return &route.Error{Class: route.Overflow, Op: opReceive, Target: s.target.Name,
		Err: hint.Wrap(fmt.Errorf("%w of %.1f MiB: %.1f MiB came and no end of it, and the command was stopped", errTooMuch, float64(s.out.limit)/(1<<20), float64(s.out.came)/(1<<20)),
			"let the script write less, or to a file on the machine; a profile of PowerShell or a policy there may write as well")}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// delete removes the shell, and with it the command if it still runs. It outlives ctx by Config.CleanupTimeout at most.
// When ctx ended amid a request the connection is of no use, and a second one does it. A shell that cannot be deleted
// goes away by its own idle timeout. Run closes the connection, whichever it is.
func (s *session) delete(ctx context.Context) {
	if s.values.shellID == "" {
		return
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.route.config.CleanupTimeout)
	defer cancel()
	defer func() {
		if ctx.Err() == nil {
			s.link.watch(ctx)
		}
	}()
	if !s.link.usable() {
		if ctx.Err() == nil {
			return // the machine went away by itself
		}
		s.link.close()
		l, err := s.route.connect(cleanup, s.target)
		if err != nil {
			s.log("shell not deleted", err)
			return
		}
		s.link, s.out = l, output{limit: s.out.limit, Output: s.out.Output}
	}
	s.link.watch(cleanup)
	if _, err := s.exchange(cleanup, opDelete, shellEnvelopes().delete, actionDelete); err != nil {
		s.log("shell not deleted", err)
	}
}

func (s *session) log(message string, err error) {
	s.route.config.Logger.Debug(message, slog.String("machine", s.target.Name), slog.Any("err", err))
}
