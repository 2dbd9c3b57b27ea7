// Package wsman is the WinRM service of a simulated machine: WS-Management shells (MS-WSMV) over a command runner.
//
// [New] makes the service of one machine, [Service.Handle] answers one envelope. Create, Command, Send, Receive, Signal,
// Delete and Identify are served with Windows' own quotas, time-outs and fault codes. The package knows nothing of HTTP,
// authentication or encryption, and runs nothing itself: a [Runner] does.
package wsman

import (
	"context"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Command is what a client asked to be run.
type Command struct {
	User        string
	Line        string // the command and its arguments, joined as cmd.exe would see them
	SkipShell   bool   // WINRS_SKIP_CMD_SHELL
	Console     bool   // stdin is a console; else a pipe that ends with the client's End
	CodePage    int    // WINRS_CODEPAGE of the shell; 0 where the client asked for none
	Directory   string
	Environment map[string]string
	Stdin       io.Reader
	Stdout      io.Writer // holds back small writes until the command ends; both are bounded and block when nobody reads
	Stderr      io.Writer
}

// Runner runs commands on a machine. It returns the exit code; it must return soon after ctx is done.
type Runner interface {
	Run(ctx context.Context, command Command) (exit uint32)
}

// Config is a service's configuration. The zero value of a field means the default of a current Windows.
type Config struct {
	Machine          string        // name in faults
	OSVersion        string        // for Identify, e.g. 10.0.22631
	MaxShellsPerUser int           // 30
	MaxOperations    int           // 1500 commands at a time per user
	MaxProcesses     int           // 25 commands at a time per shell
	MaxEnvelope      int           // 500 KiB, requests as well as replies
	MaxTimeout       time.Duration // 60 s: a longer OperationTimeout is cut to this
	IdleTimeout      time.Duration // 2 h: of a shell that asks for none
	Chunk            int           // 32 KiB of output in one Receive
	// Before is asked before each operation (create, command, send, receive, signal, delete) and may refuse it. It may
	// block to simulate a slow service; it must honour ctx.
	Before func(ctx context.Context, operation, user string) *Fault
}

func (c *Config) setDefaults() {
	setInt := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	setInt(&c.MaxShellsPerUser, 30)
	setInt(&c.MaxOperations, 1500)
	setInt(&c.MaxProcesses, 25)
	setInt(&c.MaxEnvelope, 500<<10)
	setInt(&c.Chunk, 32<<10)
	if c.MaxTimeout <= 0 {
		c.MaxTimeout = time.Minute
	}
	if c.IdleTimeout <= 0 {
		c.IdleTimeout = 2 * time.Hour
	}
}

// Reply is an HTTP status and an envelope.
type Reply struct {
	Status int
	Body   []byte
}

// Service is one machine's WinRM service. It is safe for concurrent use.
type Service struct {
	config Config
	runner Runner

	mu     sync.Mutex
	shells map[string]*shell
	closed bool
}

// New makes a service. Close ends it.
func New(config Config, runner Runner) *Service {
	config.setDefaults()
	return &Service{config: config, runner: runner, shells: map[string]*shell{}}
}

// MaxEnvelope returns the largest request in bytes that is read at all.
func (s *Service) MaxEnvelope() int { return s.config.MaxEnvelope }

// Shells returns the number of open shells.
func (s *Service) Shells() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.shells)
}

// Reset ends every shell and command at once, as a power cut does, and waits until they are gone. The service goes on.
func (s *Service) Reset() {
	s.mu.Lock()
	shells := s.shells
	s.shells = map[string]*shell{}
	s.mu.Unlock()
	for _, sh := range shells {
		sh.end()
	}
	for _, sh := range shells {
		sh.running.Wait()
	}
}

// Close ends the service: every later request is answered with a fault.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.Reset()
}

// Handle answers one request of an authenticated user. ctx is the request's: it ends when the connection is lost.
func (s *Service) Handle(ctx context.Context, user string, raw []byte) Reply {
	if len(raw) > s.config.MaxEnvelope {
		return s.fault("", NewFault(CodeEnvelopeTooLarge))
	}
	e, err := parse(raw)
	if err != nil {
		f := NewFault(CodeInvalidXML)
		f.Reason += err.Error()
		return s.fault("", f)
	}
	if e.Body.Identify != nil {
		return Reply{200, identify(s.config.OSVersion)}
	}
	action, body, fault := s.operate(ctx, user, e)
	if fault != nil {
		return s.fault(e.Header.MessageID, fault)
	}
	return Reply{200, reply(action, newID(), e.Header.MessageID, body)}
}

// Anonymous answers an Identify request that comes without credentials; ok is false for any other request.
func (s *Service) Anonymous(raw []byte) (r Reply, ok bool) {
	e, err := parse(raw)
	if err != nil || e.Body.Identify == nil {
		return Reply{}, false
	}
	return Reply{200, identify("0.0.0")}, true
}

// FaultReply is the reply that carries f without relating to a request.
func (s *Service) FaultReply(f *Fault) Reply { return s.fault("", f) }

func (s *Service) fault(relatesTo string, f *Fault) Reply {
	return Reply{500, reply(actionFault, newID(), relatesTo, f.body(s.config.Machine))}
}

func identify(version string) []byte {
	return []byte(`<s:Envelope xml:lang="en-US" xmlns:s="` + nsSOAP + `"><s:Header/><s:Body><wsmid:IdentifyResponse xmlns:wsmid="` + nsIdentify +
		`"><wsmid:ProtocolVersion>http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd</wsmid:ProtocolVersion><wsmid:ProductVendor>Microsoft Corporation` +
		`</wsmid:ProductVendor><wsmid:ProductVersion>OS: ` + escape(version) + ` SP: 0.0 Stack: 3.0</wsmid:ProductVersion></wsmid:IdentifyResponse></s:Body></s:Envelope>`)
}

var operations = map[string]string{
	actionCreate: "create", actionCommand: "command", actionSend: "send", actionReceive: "receive", actionSignal: "signal", actionDelete: "delete",
}

func (s *Service) operate(ctx context.Context, user string, e *envelope) (action, body string, fault *Fault) {
	operation, ok := operations[strings.TrimSpace(e.Header.Action)]
	if !ok {
		return "", "", NewFault(CodeInvalidAction)
	}
	if strings.TrimSpace(e.Header.MessageID) == "" {
		return "", "", NewFault(CodeInvalidHeader)
	}
	if !strings.EqualFold(strings.TrimSpace(e.Header.Resource), resourceCmd) {
		return "", "", NewFault(CodeInvalidResource)
	}
	timeout, fault := s.timeout(e)
	if fault != nil {
		return "", "", fault
	}
	if s.config.Before != nil {
		if fault := s.config.Before(ctx, operation, user); fault != nil {
			return "", "", fault
		}
	}
	action = strings.TrimSpace(e.Header.Action) + "Response"
	if operation == "create" {
		body, fault = s.create(user, e)
		return action, body, fault
	}
	sh, fault := s.find(user, &e.Header)
	if fault != nil {
		return "", "", fault
	}
	sh.touch()
	defer sh.touch()
	switch operation {
	case "command":
		body, fault = s.command(sh, e)
	case "send":
		body, fault = sh.send(ctx, e.Body.Send, timeout)
	case "receive":
		body, fault = sh.receive(ctx, e.Body.Receive, timeout, s.chunk(&e.Header))
	case "signal":
		body, fault = sh.signal(e.Body.Signal)
	case "delete":
		s.remove(sh)
		body = ""
	}
	return action, body, fault
}

func (s *Service) timeout(e *envelope) (time.Duration, *Fault) {
	if strings.TrimSpace(e.Header.Timeout) == "" {
		return s.config.MaxTimeout, nil
	}
	d, err := duration(e.Header.Timeout)
	if err != nil || d <= 0 {
		return 0, NewFault(CodeInvalidOperationTime)
	}
	return min(d, s.config.MaxTimeout), nil
}

// chunk is how many bytes of output one Receive may carry: in base64 it must fit the client's and our own envelope.
func (s *Service) chunk(h *header) int {
	limit := s.config.MaxEnvelope
	if n, err := strconv.Atoi(strings.TrimSpace(h.MaxSize)); err == nil && n > 0 {
		limit = min(limit, n)
	}
	return max(min(s.config.Chunk, (limit-4096)/4*3), 512)
}

func (s *Service) find(user string, h *header) (*shell, *Fault) {
	id := ""
	for _, selector := range h.Selectors {
		if strings.EqualFold(selector.Name, "ShellId") {
			id = strings.ToUpper(strings.TrimSpace(selector.Text))
		}
	}
	s.mu.Lock()
	sh, ok := s.shells[id]
	s.mu.Unlock()
	if !ok {
		return nil, NewFault(CodeUnexpectedSelectors)
	}
	if !strings.EqualFold(sh.user, user) {
		return nil, NewFault(CodeAccessDenied)
	}
	return sh, nil
}

func (s *Service) create(user string, e *envelope) (string, *Fault) {
	asked := e.Body.Shell
	if asked == nil {
		return "", NewFault(CodeInvalidBody)
	}
	idle := s.config.IdleTimeout
	if strings.TrimSpace(asked.Idle) != "" {
		d, err := duration(asked.Idle)
		if err != nil || d < time.Second {
			return "", NewFault(CodeSchema)
		}
		idle = d
	}
	id := strings.ToUpper(strings.TrimSpace(asked.ID))
	if _, err := uuid.Parse(id); err != nil {
		id = newID()
	}
	sh := newShell(id, user, idle, asked)
	sh.codePage, _ = strconv.Atoi(e.Header.option("WINRS_CODEPAGE")) // 0, the machine's own, for what is no number
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", NewFault(CodeQuotaLimit)
	}
	mine := 0
	for _, other := range s.shells {
		if strings.EqualFold(other.user, user) {
			mine++
		}
	}
	if _, taken := s.shells[id]; taken {
		return "", NewFault(CodeSchema)
	}
	if mine >= s.config.MaxShellsPerUser {
		return "", NewFault(CodeQuotaMaxShells)
	}
	s.shells[id] = sh
	sh.expireWith(func() { s.remove(sh) })
	return sh.created(), nil
}

// remove takes a shell out of the table and ends it; removing it twice does no harm.
func (s *Service) remove(sh *shell) {
	s.mu.Lock()
	if s.shells[sh.id] == sh {
		delete(s.shells, sh.id)
	}
	s.mu.Unlock()
	sh.end()
}

func (s *Service) command(sh *shell, e *envelope) (string, *Fault) {
	asked := e.Body.Command
	if asked == nil || strings.TrimSpace(asked.Command) == "" {
		return "", NewFault(CodeInvalidBody)
	}
	skip := isTrue(e.Header.option("WINRS_SKIP_CMD_SHELL"))
	console := e.Header.option("WINRS_CONSOLEMODE_STDIN")
	line := asked.Command
	for _, argument := range asked.Arguments {
		line += " " + argument
	}
	if !skip && len(line) > 8191 || len(line) > 32767 {
		return "", NewFault(CodeCommandLineTooLong)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	operations := 0
	for _, other := range s.shells {
		if strings.EqualFold(other.user, sh.user) {
			operations += other.count()
		}
	}
	if operations >= s.config.MaxOperations || sh.count() >= s.config.MaxProcesses {
		return "", NewFault(CodeQuotaMaxOperations)
	}
	id := strings.ToUpper(strings.TrimSpace(asked.ID))
	if _, err := uuid.Parse(id); err != nil {
		id = newID()
	}
	fault := sh.start(id, isTrue(console), func(c *command) {
		stdout, stderr := &stream{c, "stdout", nil}, &stream{c, "stderr", nil}
		exit := s.runner.Run(c.ctx, Command{
			User: sh.user, Line: line, SkipShell: skip, Console: c.console, CodePage: sh.codePage, Directory: sh.directory, Environment: sh.environment,
			Stdin: c, Stdout: stdout, Stderr: stderr,
		})
		_ = stdout.Flush() // fails only when nobody will ever read it
		_ = stderr.Flush()
		c.finish(exit)
	})
	if fault != nil {
		return "", fault
	}
	return `<rsp:CommandResponse><rsp:CommandId>` + id + `</rsp:CommandId></rsp:CommandResponse>`, nil
}

func newID() string { return strings.ToUpper(uuid.NewString()) }
