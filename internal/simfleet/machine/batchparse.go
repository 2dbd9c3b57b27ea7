package machine

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// action is a command that was read and is ready to run, with everything inside it.
type action func(b *batch)

// parser reads the language of cmd: commands joined by &, && and ||, blocks in parentheses, if and for.
type parser struct {
	text string
	more func() (string, bool) // the next line, while a block is open
}

var errSyntax = errors.New("the syntax of the command is incorrect")

func (p *parser) skip() { p.text = strings.TrimLeft(p.text, " \t,;=") }

// keyword takes a word off that stands by itself.
func (p *parser) keyword(word string) bool {
	p.skip()
	n := len(word)
	if len(p.text) < n || !strings.EqualFold(p.text[:n], word) || len(p.text) > n && !strings.ContainsRune(" \t(/\"", rune(p.text[n])) {
		return false
	}
	p.text = p.text[n:]
	return true
}

// list reads commands to the end of the line, or of the block that it is in.
func (p *parser) list(depth int) (action, error) {
	type joined struct {
		joint string
		do    action
	}
	var all []joined
	joint := "&"
	for {
		for p.text = strings.TrimLeft(p.text, " \t@"); p.text == "" && depth > 0; p.text = strings.TrimLeft(p.text, " \t@") {
			line, ok := p.more()
			if !ok {
				return nil, errSyntax
			}
			p.text, joint = line, "&"
		}
		if p.text == "" || depth > 0 && p.text[0] == ')' {
			break
		}
		do, err := p.single(depth)
		if err != nil {
			return nil, err
		}
		all = append(all, joined{joint, do})
		p.text = strings.TrimLeft(p.text, " \t")
		for _, joint = range []string{"&&", "||", "&"} {
			if rest, ok := strings.CutPrefix(p.text, joint); ok {
				p.text = rest
				break
			}
		}
	}
	return func(b *batch) {
		for _, j := range all {
			if b.over() {
				return
			}
			if j.joint == "&&" && b.status != 0 || j.joint == "||" && b.status == 0 {
				continue
			}
			j.do(b)
		}
	}, nil
}

// single reads one command.
func (p *parser) single(depth int) (action, error) {
	switch {
	case p.text[0] == '(':
		p.text = p.text[1:]
		do, err := p.list(depth + 1)
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(p.text, ")") {
			return nil, errSyntax
		}
		p.text = p.text[1:]
		return do, nil
	case p.keyword("rem"):
		p.text = ""
		return func(*batch) {}, nil
	case p.keyword("if"):
		return p.condition(depth)
	case p.keyword("for"):
		return p.loop(depth)
	}
	end := simpleEnd(p.text, depth)
	text := p.text[:end]
	p.text = p.text[end:]
	return func(b *batch) { b.command(text) }, nil
}

// simpleEnd is where a simple command ends: at the first &, || or closing parenthesis of its block outside quotes. An & that
// belongs to 2>&1 is none.
func simpleEnd(text string, depth int) int {
	quoted := false
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ')' && depth > 0, c == '&' && (i == 0 || text[i-1] != '>'), c == '|' && strings.HasPrefix(text[i:], "||"):
			return i
		}
	}
	return len(text)
}

// operand takes one side of a comparison off: up to a blank or == outside quotes.
func (p *parser) operand() string {
	p.text = strings.TrimLeft(p.text, " \t")
	quoted := false
	for i := range len(p.text) {
		switch c := p.text[i]; {
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t' || strings.HasPrefix(p.text[i:], "==")):
			word := p.text[:i]
			p.text = p.text[i:]
			return word
		}
	}
	word := p.text
	p.text = ""
	return word
}

// condition reads what follows if.
func (p *parser) condition(depth int) (action, error) {
	fold := p.keyword("/i")
	not := p.keyword("not")
	fold = p.keyword("/i") || fold
	test, err := p.test(fold)
	if err != nil {
		return nil, err
	}
	if p.text = strings.TrimLeft(p.text, " \t"); p.text == "" {
		return nil, errSyntax
	}
	then, err := p.single(depth)
	if err != nil {
		return nil, err
	}
	otherwise := action(func(*batch) {})
	if p.keyword("else") {
		if p.text = strings.TrimLeft(p.text, " \t"); p.text == "" {
			return nil, errSyntax
		}
		if otherwise, err = p.single(depth); err != nil {
			return nil, err
		}
	}
	return func(b *batch) {
		if test(b) != not {
			then(b)
		} else {
			otherwise(b)
		}
	}, nil
}

func (p *parser) test(fold bool) (func(*batch) bool, error) {
	switch {
	case p.keyword("exist"):
		path := p.operand()
		return func(b *batch) bool {
			where := b.absolute(b.late(path))
			_, ok := b.disk.stat(where)
			return ok || b.disk.hasFolder(where)
		}, nil
	case p.keyword("defined"):
		name := p.operand()
		return func(b *batch) bool { _, ok := b.variable(b.late(name)); return ok }, nil
	case p.keyword("errorlevel"):
		n, err := strconv.Atoi(p.operand())
		return func(b *batch) bool { return int32(b.level) >= int32(n) }, err
	}
	left := p.operand()
	p.text = strings.TrimLeft(p.text, " \t")
	rest, ok := strings.CutPrefix(p.text, "==")
	if !ok {
		return nil, errSyntax
	}
	p.text = rest
	right := p.operand()
	return func(b *batch) bool {
		if fold {
			return strings.EqualFold(b.late(left), b.late(right))
		}
		return b.late(left) == b.late(right)
	}, nil
}

// loop reads what follows for: over words, or with /f over what a command prints.
func (p *parser) loop(depth int) (action, error) {
	lines := p.keyword("/f")
	pick := picker{delims: " \t", tokens: []int{1}}
	p.skip()
	if lines && strings.HasPrefix(p.text, `"`) {
		options, rest, ok := strings.Cut(p.text[1:], `"`)
		p.text = rest
		if err := pick.set(options); err != nil || !ok {
			return nil, errors.Join(errSyntax, err)
		}
	}
	if p.skip(); len(p.text) < 2 || p.text[0] != '%' {
		return nil, errSyntax
	}
	name := p.text[1]
	p.text = p.text[2:]
	if !p.keyword("in") {
		return nil, errSyntax
	}
	p.skip()
	end := simpleEnd(p.text, 1)
	if !strings.HasPrefix(p.text, "(") || end == len(p.text) || p.text[end] != ')' {
		return nil, errSyntax
	}
	set := p.text[1:end]
	p.text = p.text[end+1:]
	if !p.keyword("do") {
		return nil, errSyntax
	}
	if p.text = strings.TrimLeft(p.text, " \t@"); p.text == "" {
		return nil, errSyntax
	}
	do, err := p.single(depth)
	if err != nil {
		return nil, err
	}
	if !lines {
		return func(b *batch) {
			for _, word := range strings.FieldsFunc(b.late(set), func(r rune) bool { return strings.ContainsRune(" \t,;=", r) }) {
				b.turn(name, []string{word}, do)
			}
		}, nil
	}
	set = strings.TrimSpace(set)
	if len(set) < 2 || set[0] != '\'' || set[len(set)-1] != '\'' {
		return nil, fmt.Errorf("this simulated cmd reads the output of a command only with for /f: %s", set)
	}
	return func(b *batch) {
		for line := range strings.Lines(b.output(b.late(set[1 : len(set)-1]))) {
			if values := pick.from(strings.TrimRight(line, "\r\n")); values != nil {
				b.turn(name, values, do)
			}
		}
	}, nil
}

// turn runs the body of a loop once; further values go to the letters that follow.
func (b *batch) turn(name byte, values []string, do action) {
	if b.over() {
		return
	}
	before := map[byte]string{}
	for k, v := range b.loop {
		before[k] = v
	}
	for i, v := range values {
		b.loop[name+byte(i)] = v
	}
	do(b)
	b.loop = before
}

// output is what a command prints.
func (b *batch) output(line string) string {
	var out bounded
	inner := *b.process
	inner.stdout, inner.stderr = &out, io.Discard
	inner.line(unwrapped(line))
	return out.String()
}

// unwrapped takes the quotes off that cmd /c takes off a line as a whole.
func unwrapped(line string) string {
	line = strings.TrimSpace(line)
	if len(line) > 1 && line[0] == '"' && line[len(line)-1] == '"' {
		return line[1 : len(line)-1]
	}
	return line
}

// picker cuts a line as the options of for /f say.
type picker struct {
	delims string
	tokens []int
}

func (k *picker) set(options string) error {
	for options = strings.TrimSpace(options); options != ""; options = strings.TrimSpace(options) {
		name, value, ok := strings.Cut(options, "=")
		if !ok {
			return fmt.Errorf("for /f knows no %q here", options)
		}
		switch strings.ToLower(name) {
		case "delims": // the last one, for it may hold a blank
			k.delims, options = value, ""
		case "tokens":
			value, options, _ = strings.Cut(value, " ")
			k.tokens = nil
			for _, t := range strings.Split(value, ",") {
				n, err := strconv.Atoi(t)
				if err != nil || n < 1 {
					return fmt.Errorf("for /f knows no tokens=%s here", value)
				}
				k.tokens = append(k.tokens, n)
			}
		default:
			return fmt.Errorf("for /f knows no %q here", name)
		}
	}
	return nil
}

// from returns the tokens of a line, nil where it has not even the first of them.
func (k *picker) from(line string) []string {
	words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(k.delims, r) })
	if strings.HasPrefix(line, ";") || len(words) < slices.Min(k.tokens) {
		return nil
	}
	out := make([]string, len(k.tokens))
	for i, n := range k.tokens {
		if n <= len(words) {
			out[i] = words[n-1]
		}
	}
	return out
}
