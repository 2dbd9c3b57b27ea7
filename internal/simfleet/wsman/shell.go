package wsman

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"time"
)

// shell is one remote shell of one user.
type shell struct {
	id, user    string
	codePage    int
	directory   string
	environment map[string]string
	input       string
	output      string
	idle        time.Duration
	started     time.Time

	mu       sync.Mutex
	commands map[string]*command
	ended    bool
	timer    *time.Timer
	running  sync.WaitGroup // Add only under mu and while not ended
}

func newShell(id, user string, idle time.Duration, asked *shellBody) *shell {
	sh := &shell{id: id, user: user, idle: idle, commands: map[string]*command{}, started: time.Now()}
	sh.directory = strings.TrimSpace(asked.Directory)
	sh.input, sh.output = strings.TrimSpace(asked.Input), strings.TrimSpace(asked.Output)
	for _, v := range asked.Variables {
		if sh.environment == nil {
			sh.environment = map[string]string{}
		}
		sh.environment[v.Name] = v.Text
	}
	return sh
}

func (sh *shell) created() string {
	selectors := `<w:SelectorSet><w:Selector Name="ShellId">` + sh.id + `</w:Selector></w:SelectorSet>`
	return `<x:ResourceCreated><a:Address>` + anonymous + `</a:Address><a:ReferenceParameters><w:ResourceURI>` + resourceCmd +
		`</w:ResourceURI>` + selectors + `</a:ReferenceParameters></x:ResourceCreated><rsp:Shell><rsp:ShellId>` + sh.id +
		`</rsp:ShellId><rsp:ResourceUri>` + resourceCmd + `</rsp:ResourceUri><rsp:Owner>` + escape(sh.user) +
		`</rsp:Owner><rsp:ClientIP>127.0.0.1</rsp:ClientIP><rsp:IdleTimeOut>` + fmt.Sprintf("PT%.3fS", sh.idle.Seconds()) +
		`</rsp:IdleTimeOut><rsp:InputStreams>` + escape(sh.input) + `</rsp:InputStreams><rsp:OutputStreams>` + escape(sh.output) +
		`</rsp:OutputStreams><rsp:ShellRunTime>P0DT0H0M0S</rsp:ShellRunTime><rsp:ShellInactivity>P0DT0H0M0S</rsp:ShellInactivity></rsp:Shell>`
}

// expireWith arms the idle timer.
func (sh *shell) expireWith(expire func()) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.timer = time.AfterFunc(sh.idle, expire)
}

// touch restarts the idle timer.
func (sh *shell) touch() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !sh.ended && sh.timer != nil {
		sh.timer.Reset(sh.idle)
	}
}

// end stops every command of the shell.
func (sh *shell) end() {
	sh.mu.Lock()
	sh.ended = true
	if sh.timer != nil {
		sh.timer.Stop()
	}
	commands := sh.commands
	sh.commands = map[string]*command{}
	sh.mu.Unlock()
	for _, c := range commands {
		c.abort()
	}
}

func (sh *shell) count() int {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return len(sh.commands)
}

// start adds a command and runs it in a goroutine of its own.
func (sh *shell) start(id string, console bool, run func(*command)) *Fault {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.ended {
		return NewFault(CodeAborted)
	}
	if _, taken := sh.commands[id]; taken {
		return NewFault(CodeSchema)
	}
	c := newCommand(id, console)
	sh.commands[id] = c
	sh.running.Go(func() { run(c) })
	return nil
}

func (sh *shell) find(id string) (*command, *Fault) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	c, ok := sh.commands[strings.ToUpper(strings.TrimSpace(id))]
	if !ok {
		return nil, NewFault(CodeUnexpectedSelectors)
	}
	return c, nil
}

func (sh *shell) send(ctx context.Context, asked *sendBody, timeout time.Duration) (string, *Fault) {
	if asked == nil || len(asked.Streams) == 0 {
		return "", NewFault(CodeInvalidBody)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for i := range asked.Streams {
		part := &asked.Streams[i]
		c, fault := sh.find(part.Command)
		if fault != nil {
			return "", fault
		}
		if !strings.EqualFold(part.Name, "stdin") {
			return "", NewFault(CodeInvalidInputStream)
		}
		data, err := part.data()
		if err != nil {
			return "", NewFault(CodeInvalidBody)
		}
		if fault := c.feed(ctx, data, isTrue(part.End)); fault != nil {
			return "", fault
		}
	}
	return `<rsp:SendResponse/>`, nil
}

func (sh *shell) receive(ctx context.Context, asked *receiveBody, timeout time.Duration, limit int) (string, *Fault) {
	if asked == nil {
		return "", NewFault(CodeInvalidBody)
	}
	c, fault := sh.find(asked.Desired.Command)
	if fault != nil {
		return "", fault
	}
	chunks, done, exit, fault := c.take(ctx, timeout, limit)
	if fault != nil {
		return "", fault
	}
	var b strings.Builder
	b.WriteString(`<rsp:ReceiveResponse>`)
	for _, part := range chunks {
		b.WriteString(`<rsp:Stream Name="` + part.stream + `" CommandId="` + c.id + `">` + base64.StdEncoding.EncodeToString(part.data) + `</rsp:Stream>`)
	}
	if done {
		for _, name := range []string{"stdout", "stderr"} {
			b.WriteString(`<rsp:Stream Name="` + name + `" CommandId="` + c.id + `" End="true"></rsp:Stream>`)
		}
		b.WriteString(`<rsp:CommandState CommandId="` + c.id + `" State="` + stateURI + `Done"><rsp:ExitCode>` + fmt.Sprint(exit) +
			`</rsp:ExitCode></rsp:CommandState>`)
	} else {
		b.WriteString(`<rsp:CommandState CommandId="` + c.id + `" State="` + stateURI + `Running"/>`)
	}
	b.WriteString(`</rsp:ReceiveResponse>`)
	return b.String(), nil
}

func (sh *shell) signal(asked *signalBody) (string, *Fault) {
	if asked == nil {
		return "", NewFault(CodeInvalidBody)
	}
	c, fault := sh.find(asked.Command)
	if fault != nil {
		return "", fault
	}
	code, ok := strings.CutPrefix(strings.TrimSpace(asked.Code), signalURI)
	switch {
	case ok && strings.EqualFold(code, "terminate"):
		sh.mu.Lock()
		delete(sh.commands, c.id)
		sh.mu.Unlock()
		c.abort()
	case ok && (strings.EqualFold(code, "ctrl_c") || strings.EqualFold(code, "ctrl_break")):
		c.interrupt() // the command and what it has written stay until it is terminated
	default:
		return "", NewFault(CodeInvalidBody)
	}
	return `<rsp:SignalResponse/>`, nil
}
