package machine

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetmend/fleetmend/internal/simfleet/wsman"
)

// process is one command with everything it may touch.
type process struct {
	*Machine
	ctx    context.Context
	user   string
	dir    string
	env    map[string]string // by name in upper case
	names  map[string]string // the names as they are shown
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	page   *page // the console's code page
	ended  bool  // by exit

	psError  io.Writer // where PowerShell reports errors
	lastExit uint32    // LASTEXITCODE
}

func (m *Machine) process(ctx context.Context, c wsman.Command) *process {
	p := &process{Machine: m, ctx: ctx, user: c.User, dir: `C:\Users\` + c.User[strings.IndexByte(c.User, '\\')+1:],
		env: map[string]string{}, names: map[string]string{}, stdin: c.Stdin, page: newPage(c.CodePage)}
	p.stdout, p.stderr = console{c.Stdout, p.page}, console{c.Stderr, p.page}
	if c.Directory != "" {
		p.dir = c.Directory
	}
	for _, v := range m.variables(c.User) {
		name, value, _ := strings.Cut(v, "=")
		p.set(name, value)
	}
	for name, value := range c.Environment {
		p.set(name, value)
	}
	return p
}

func (p *process) set(name, value string) {
	p.env[strings.ToUpper(name)], p.names[strings.ToUpper(name)] = value, name
}

func (p *process) out(format string, args ...any) { _, _ = fmt.Fprintf(p.stdout, format, args...) }
func (p *process) fail(exit uint32, format string, args ...any) uint32 {
	_, _ = fmt.Fprintf(p.stderr, format, args...)
	return exit
}

// Run implements wsman.Runner.
func (m *Machine) Run(ctx context.Context, c wsman.Command) uint32 {
	if exit, ok := m.agent(ctx, c); ok {
		return exit
	}
	return m.process(ctx, c).line(c.Line)
}

// redirect takes the redirections that need no file off a command.
func (p *process) redirect(line string) (rest string, q process, ok bool) {
	q = *p
	for _, r := range []struct {
		text string
		do   func()
	}{
		{"2>&1", func() { q.stderr = p.stdout }}, {"1>&2", func() { q.stdout = p.stderr }}, {">&2", func() { q.stdout = p.stderr }},
		{"2>nul", func() { q.stderr = io.Discard }}, {"1>nul", func() { q.stdout = io.Discard }}, {">nul", func() { q.stdout = io.Discard }},
		{"> nul", func() { q.stdout = io.Discard }}, {"<nul", func() { q.stdin = strings.NewReader("") }},
	} {
		if i := strings.Index(strings.ToLower(line), r.text); i >= 0 && strings.Count(line[:i], `"`)%2 == 0 {
			r.do()
			line = line[:i] + line[i+len(r.text):]
		}
	}
	outside := ""
	for i, piece := range strings.Split(line, `"`) {
		if i%2 == 0 {
			outside += piece
		}
	}
	return strings.TrimLeft(line, " \t"), q, !strings.ContainsAny(outside, "<>|")
}

// one runs a single command.
func (p *process) one(line string) uint32 {
	line, q, ok := p.redirect(strings.TrimPrefix(line, "@"))
	if !ok {
		return p.fail(1, "This simulated machine has no pipes and no redirection into files.\r\n")
	}
	word, rest := firstWord(line)
	name := strings.ToLower(strings.TrimSuffix(strings.ToLower(base(strings.ReplaceAll(word, "/", `\`))), ".exe"))
	name = strings.TrimSuffix(name, ".com")
	defer func() { p.dir, p.ended = q.dir, p.ended || q.ended }()
	if dot, text, ok := strings.Cut(word, "."); ok && strings.EqualFold(dot, "echo") {
		name, rest = "echo", text+rest
	}
	if run, ok := commands[name]; ok {
		return run(&q, rest)
	}
	return q.fail(1, "'%s' is not recognized as an internal or external command,\r\noperable program or batch file.\r\n", word)
}

// firstWord splits a command from its arguments; the arguments keep their form.
func firstWord(line string) (word, rest string) {
	line = strings.TrimLeft(line, " \t\r\n")
	if quoted, ok := strings.CutPrefix(line, `"`); ok {
		word, rest, _ = strings.Cut(quoted, `"`)
		return word, rest
	}
	if i := strings.IndexAny(line, " \t"); i >= 0 {
		return line[:i], line[i:]
	}
	return line, ""
}

// arguments splits as the C runtime does, without its finer points about backslashes before quotes.
func arguments(rest string) []string {
	var out []string
	var b strings.Builder
	quoted, any := false, false
	for _, c := range rest {
		switch {
		case c == '"':
			quoted, any = !quoted, true
		case !quoted && (c == ' ' || c == '\t'):
			if any {
				out = append(out, b.String())
				b.Reset()
				any = false
			}
		default:
			b.WriteRune(c)
			any = true
		}
	}
	if any {
		out = append(out, b.String())
	}
	return out
}

// absolute brings a path to drive letter and backslashes.
func (p *process) absolute(path string) string {
	path = strings.ReplaceAll(strings.Trim(path, `"`), "/", `\`)
	switch {
	case len(path) >= 2 && path[1] == ':':
		if len(path) == 2 {
			path += `\`
		}
	case strings.HasPrefix(path, `\`):
		path = p.dir[:2] + path
	default:
		path = strings.TrimRight(p.dir, `\`) + `\` + path
	}
	var parts []string
	for _, part := range strings.Split(path, `\`) {
		switch {
		case part == "." || part == "" && len(parts) > 0:
		case part == "..":
			parts = parts[:max(len(parts)-1, 1)]
		default:
			parts = append(parts, part)
		}
	}
	if len(parts) == 1 {
		return parts[0] + `\`
	}
	return strings.Join(parts, `\`)
}

type runnable func(p *process, rest string) uint32

func (p *process) showSet(rest string) uint32 {
	rest = strings.TrimSpace(rest)
	if sum, ok := strings.CutPrefix(strings.ToLower(rest), "/a "); ok {
		return p.calculate(strings.Trim(strings.TrimSpace(sum), `"`))
	}
	if strings.HasPrefix(rest, `"`) { // what follows the last quote is dropped
		rest = rest[1:max(strings.LastIndexByte(rest, '"'), 1)]
	}
	prefix := strings.ToUpper(rest)
	if name, value, ok := strings.Cut(rest, "="); ok {
		if value == "" {
			delete(p.env, strings.ToUpper(name))
			return 0
		}
		p.set(name, value)
		return 0
	}
	found := false
	for _, name := range slices.Sorted(maps.Keys(p.env)) {
		if strings.HasPrefix(name, prefix) {
			p.out("%s=%s\r\n", p.names[name], p.env[name])
			found = true
		}
	}
	if !found {
		return p.fail(1, "Environment variable %s not defined\r\n", rest)
	}
	return 0
}

// calculate is set /a: a number, or one added to or taken from a variable.
func (p *process) calculate(sum string) uint32 {
	name, value, ok := strings.Cut(sum, "=")
	n, err := strconv.Atoi(value)
	if !ok || err != nil {
		return p.fail(1, "This simulated cmd calculates NAME=N, NAME+=N and NAME-=N only.\r\n")
	}
	plain := strings.TrimRight(name, "+-")
	old, _ := strconv.Atoi(p.env[strings.ToUpper(plain)]) // what is no number counts as 0
	switch name[len(plain):] {
	case "+":
		n += old
	case "-":
		n = old - n
	}
	p.set(plain, strconv.Itoa(n))
	return 0
}
