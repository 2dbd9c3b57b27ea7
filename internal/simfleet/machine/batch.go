package machine

import (
	"strconv"
	"strings"
)

// batch runs command lines and batch files as cmd.exe does: what a file says is read line by line, %NAME% is replaced when a
// line (with all of its blocks) is read, !NAME! and the variables of for when a command runs.
type batch struct {
	*process
	lines   []string // of a file; nil for a command line
	at      int      // the next line
	args    []string // %1, %2, ... of a file or of a called label
	loop    map[byte]string
	delayed bool
	level   uint32 // ERRORLEVEL
	status  uint32 // of the last command, for && and ||
	jump    string // a label to go on at
	left    bool   // by exit /b
	deep    int    // calls within calls
}

// line runs what cmd.exe /c would, and returns the code of the last command.
func (p *process) line(line string) uint32 {
	if len(line) > 8191 {
		return p.fail(1, "The command line is too long.\r\n")
	}
	b := &batch{process: p, loop: map[byte]string{}}
	b.read(line)
	return b.status
}

// file runs a batch file and returns its ERRORLEVEL.
func (p *process) file(body string, args []string) uint32 {
	b := &batch{process: p, lines: strings.Split(strings.ReplaceAll(body, "\r\n", "\n"), "\n"), args: args, loop: map[byte]string{}}
	b.proceed()
	return b.level
}

// proceed runs the lines from b.at on, until the file or a called label ends.
func (b *batch) proceed() {
	for b.at < len(b.lines) && !b.ended && !b.left && b.ctx.Err() == nil {
		line := b.lines[b.at]
		b.at++
		if strings.HasPrefix(strings.TrimSpace(line), ":") {
			continue
		}
		b.read(line)
		if b.jump != "" {
			b.land()
		}
	}
}

// land goes to the label that goto named.
func (b *batch) land() {
	label := b.jump
	b.jump = ""
	if strings.EqualFold(label, "eof") {
		b.left = true
		return
	}
	for i, line := range b.lines {
		word, _ := firstWord(strings.TrimSpace(line))
		if strings.EqualFold(word, ":"+label) {
			b.at = i + 1
			return
		}
	}
	b.ended, b.level = true, b.fail(1, "The system cannot find the batch label specified - %s\r\n", label)
}

// read parses a line, with the lines that its blocks go on in, and runs it.
func (b *batch) read(line string) {
	parser := parser{text: b.percent(line), more: func() (string, bool) {
		if b.at >= len(b.lines) {
			return "", false
		}
		b.at++
		return b.percent(b.lines[b.at-1]), true
	}}
	do, err := parser.list(0)
	if err != nil {
		b.ended, b.status = true, b.fail(255, "%v\r\n", err)
		b.level = b.status
		return
	}
	do(b)
}

// over reports whether the rest of a line is not to be run.
func (b *batch) over() bool { return b.ended || b.left || b.jump != "" || b.ctx.Err() != nil }

// variable is the value of a name in any case, with ERRORLEVEL among them.
func (b *batch) variable(name string) (string, bool) {
	if strings.EqualFold(name, "ERRORLEVEL") {
		return strconv.Itoa(int(int32(b.level))), true
	}
	value, ok := b.env[strings.ToUpper(name)]
	return value, ok
}

// percent replaces %NAME%, and in a file %1 and %%. What is not set stays as it is on a command line, and is nothing in a file.
func (b *batch) percent(line string) string {
	var out strings.Builder
	file := b.lines != nil
	for {
		before, rest, ok := strings.Cut(line, "%")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		if file && rest != "" {
			if n := strings.IndexByte("0123456789", rest[0]); n >= 0 {
				if n > 0 && n <= len(b.args) {
					out.WriteString(b.args[n-1])
				}
				line = rest[1:]
				continue
			}
			if rest[0] == '%' {
				out.WriteByte('%')
				line = rest[1:]
				continue
			}
		}
		name, after, ok := strings.Cut(rest, "%")
		value, known := b.variable(name)
		switch {
		case ok && known:
			out.WriteString(value)
			line = after
		case ok && file:
			line = after
		case file:
			line = rest
		default:
			out.WriteByte('%')
			line = rest
		}
	}
}

// late replaces the variables of for, and !NAME! where that is switched on.
func (b *batch) late(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+1 < len(text) {
			if value, ok := b.loop[text[i+1]]; ok {
				out.WriteString(value)
				i++
				continue
			}
		}
		if text[i] == '!' && b.delayed {
			if end := strings.IndexByte(text[i+1:], '!'); end >= 0 {
				value, _ := b.variable(text[i+1 : i+1+end])
				out.WriteString(value)
				i += end + 1
			}
			continue // a single one is dropped
		}
		out.WriteByte(text[i])
	}
	return out.String()
}

// command runs one simple command.
func (b *batch) command(text string) {
	text = strings.TrimSpace(b.late(text))
	word, rest := firstWord(strings.TrimPrefix(text, "@"))
	switch strings.ToLower(word) {
	case "":
	case "echo":
		b.status = b.one(text)
	case "goto":
		b.jump = strings.TrimPrefix(strings.TrimSpace(rest), ":")
	case "call":
		b.call(strings.TrimSpace(rest))
	case "setlocal":
		b.setlocal(arguments(rest))
	case "endlocal":
		b.delayed = false
	case "exit":
		b.leave(arguments(rest))
	default:
		b.status = b.one(text)
		b.level = b.status
	}
}

func (b *batch) setlocal(options []string) {
	for _, o := range options {
		switch strings.ToLower(o) {
		case "enabledelayedexpansion":
			b.delayed = true
		case "disabledelayedexpansion":
			b.delayed = false
		case "enableextensions":
		default:
			b.level = b.fail(1, "This simulated cmd knows no setlocal %s.\r\n", o)
		}
	}
}

// leave is exit: with /b it ends the file or the called label alone.
func (b *batch) leave(args []string) {
	within := false
	for _, a := range args {
		if strings.EqualFold(a, "/b") {
			within = true
		} else if n, err := strconv.ParseInt(a, 10, 64); err == nil {
			b.level = uint32(n)
		}
	}
	b.status = b.level
	b.left = within && b.lines != nil
	b.ended = !b.left
}

const maxCalls = 200

// call runs a label of this file with arguments of its own, or a command.
func (b *batch) call(text string) {
	if !strings.HasPrefix(text, ":") {
		b.command(text)
		return
	}
	if b.deep == maxCalls {
		b.ended, b.level = true, b.fail(1, "******  B A T C H   R E C U R S I O N  exceeds STACK limits ******\r\n")
		return
	}
	words := arguments(text)
	inner := *b
	inner.deep++
	inner.args, inner.loop, inner.jump = words[1:], map[byte]string{}, words[0][1:]
	inner.land()
	inner.proceed()
	b.level, b.status, b.ended = inner.level, inner.level, inner.ended
}
