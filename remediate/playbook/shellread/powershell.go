package shellread

import (
	"slices"
	"strings"
	"unicode"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

// reader reads PowerShell.
type reader struct {
	*scope
	src   []rune
	at    int
	line  int
	level int
	table bool // between @{ and }, where = parts words
}

// word is one argument as it was read.
type word struct {
	raw    string   // as it stands there, of a variable its name
	values []string // what it may be
	bare   bool     // it does not begin with a quote
	group  bool     // it comes out of brackets
}

const end = rune(-1)

func (r *reader) peek(ahead int) rune {
	if r.at+ahead < len(r.src) {
		return r.src[r.at+ahead]
	}
	return end
}

func (r *reader) next() rune {
	c := r.peek(0)
	if c == '\n' {
		r.line++
	}
	if c != end {
		r.at++
	}
	return c
}

func (r *reader) starts(text string) bool {
	for i, c := range []rune(text) {
		if r.peek(i) != c {
			return false
		}
	}
	return true
}

// blanks skips what parts words: blanks, a line that goes on, comments.
func (r *reader) blanks() {
	for {
		switch c := r.peek(0); {
		case c == ' ' || c == '\t' || c == '\r' || c == '\u00a0':
			r.next()
		case c == '`' && (r.peek(1) == '\n' || r.peek(1) == '\r' && r.peek(2) == '\n'):
			for r.next() != '\n' {
			}
		case r.starts("<#"):
			for r.peek(0) != end && !r.starts("#>") {
				r.next()
			}
			r.next()
			r.next()
		case c == '#':
			for r.peek(0) != end && r.peek(0) != '\n' {
				r.next()
			}
		default:
			return
		}
	}
}

// block reads statements up to a closing bracket or the end, and returns the words of the last one.
func (r *reader) block(input []string, level int) (last []word) {
	if level > maxDepth {
		r.at = len(r.src)
		r.add(Command{Line: r.line, Name: "powershell", Opaque: true})
		return nil
	}
	r.level = level
	for {
		r.blanks()
		switch r.peek(0) {
		case end, ')', '}':
			return last
		case '\n', ';', ',':
			r.next()
		default:
			last = append(last, r.pipeline(input)...)
			if len(last) > maxWords {
				last = last[:maxWords]
			}
		}
	}
}

func (r *reader) pipeline(input []string) (words []word) {
	var flow []word
	for {
		words = r.command(input)
		flow = append(flow, words...)
		r.blanks()
		if r.peek(0) == '&' || r.peek(0) == '|' && r.peek(1) == '|' {
			r.next()
			if r.peek(0) == '&' || r.peek(0) == '|' {
				r.next()
			}
			input = nil
			r.blanks()
			if c := r.peek(0); c == '\n' || c == end || c == ')' || c == '}' || c == ';' {
				return flow
			}
			continue
		}
		if r.peek(0) != '|' {
			return flow
		}
		r.next()
		for r.blanks(); r.peek(0) == '\n'; r.blanks() {
			r.next()
		}
		input = append(input[:len(input):len(input)], flat(words)...)
		if len(input) > maxWords {
			input = input[:maxWords]
		}
	}
}

func flat(words []word) (all []string) {
	for _, w := range words {
		all = append(all, w.values...)
	}
	return all
}

// command reads one command, notes it, and returns its words.
func (r *reader) command(input []string) []word {
	line, called := r.line, false
	if c := r.peek(0); c == '&' || c == '.' && unicode.IsSpace(r.peek(1)) {
		r.next()
		r.blanks()
		called = true
	}
	var words []word
	var block function
	for done := false; !done; {
		r.blanks()
		switch c := r.peek(0); {
		case c == ',':
			r.next()
		case c == end || strings.ContainsRune("\n;|)}", c), c == '&':
			done = true
		case c == '{':
			block = r.inBlock(words, input)
		case c == '(' || r.starts("$(") || r.starts("@("):
			words = append(words, r.group()...)
			done = len(words) > 0 && strings.EqualFold(words[0].raw, "param")
		case r.starts("@{"):
			words = append(words, r.pairs()...)
		case c == '>' || c == '<', (c >= '0' && c <= '9' || c == '*') && r.peek(1) == '>':
			if c != '>' && c != '<' {
				r.next()
			}
			r.redirection()
		default:
			words = append(words, r.word()...)
		}
	}
	words = joined(words)
	if block.body != "" && called && len(words) > 0 { // & { ... } arguments
		r.called(block, Command{Line: line, Words: flat(words)})
		return words
	}
	r.note(words, line, called, input)
	return result(words)
}

// result are the words that a statement leaves for whoever takes its value: those of an assignment without the variable.
func result(words []word) []word {
	if len(words) > 2 && words[0].bare && isAssignment(words[1].raw) {
		if strings.HasPrefix(words[0].raw, "$") {
			return words[2:]
		}
		return append([]word{{raw: "-" + words[0].raw, values: []string{"-" + words[0].raw}, bare: true}}, words[2:]...) // an entry of a table
	}
	return words
}

func isAssignment(raw string) bool { return raw == "=" || raw == "+=" }

func (r *reader) note(words []word, line int, called bool, input []string) {
	if len(words) == 0 {
		return
	}
	first := words[0]
	if len(words) > 1 && isAssignment(words[1].raw) {
		name := first.raw[strings.LastIndexByte(first.raw, '$')+1:]
		if !strings.Contains(first.raw, "$") { // an entry of a table
			r.note(words[2:], line, called, input)
			return
		}
		values := flat(words[2:])
		if words[1].raw == "+=" {
			values = append(slices.Clone(r.value(name)), values...)
		}
		r.set(bareName(name), values)
		r.note(words[2:], line, called, input)
		return
	}
	for i, w := range words {
		if i > 0 && w.bare && len(w.raw) > 1 && w.raw[0] == '.' && isName(rune(w.raw[1])) { // a method, maybe
			r.run(Command{Line: line, Name: w.raw, Words: flat(slices.Delete(slices.Clone(words), i, i+1)), Input: input})
		}
	}
	if (!first.bare || first.group || strings.HasPrefix(first.raw, "$")) && !called {
		return // a text, or a value
	}
	if lower := strings.ToLower(first.raw); lower == "return" || lower == "throw" || lower == "else" || lower == "try" || lower == "finally" || lower == "do" {
		r.note(words[1:], line, called, input)
		return
	}
	for _, name := range first.values {
		r.run(Command{Line: line, Name: name, Words: flat(words[1:]), Input: input})
	}
}

var (
	paramBlock = lazyregexp.New(`(?is)^\s*(?:\[[^\]]*\]\s*)*param\s*\((.*?)\)`)
	paramName  = lazyregexp.New(`\$(\w+)`)
)

// inBlock reads { ... }: where it stands behind a pipeline or a loop, its variable is what comes in. It returns the block as what may be called.
func (r *reader) inBlock(words []word, input []string) function {
	r.next()
	f := function{line: r.line}
	from := r.at
	if len(words) > 2 && strings.EqualFold(words[0].raw, "foreach") && strings.HasPrefix(words[1].raw, "$") {
		r.set(bareName(words[1].raw[1:]), flat(words[3:]))
	}
	if len(input) > 0 {
		r.set("_", paths(input))
		r.set("psitem", paths(input))
	}
	r.inner(false)
	f.body = string(r.src[from:max(from, r.at-1)])
	defines := len(words) > 1 && (strings.EqualFold(words[0].raw, "function") || strings.EqualFold(words[0].raw, "filter"))
	if defines {
		for _, w := range words[2:] {
			if name, ok := strings.CutPrefix(w.raw, "$"); ok {
				f.params = append(f.params, bareName(name))
			}
		}
	}
	if m := paramBlock.FindStringSubmatch(f.body); m != nil {
		for _, name := range paramName.FindAllStringSubmatch(m[1], -1) {
			f.params = append(f.params, bareName(name[1]))
		}
	}
	if defines {
		r.functions[strings.ToLower(words[1].raw)] = f
	}
	return f
}

// paths are the words of a pipeline that may be what comes out of it.
func paths(input []string) (all []string) {
	for i, w := range input {
		if strings.ContainsAny(w, `\:/`) || i > 0 && !isFlag(w) {
			all = append(all, w)
		}
	}
	return all
}

func (r *reader) group() []word {
	for r.next() != '(' {
	}
	words := r.inner(false)
	for i := range words {
		words[i].group = true
	}
	return words
}

// pairs reads @{name = value; ...} as parameters, which is what it is for a command that it is splatted to.
func (r *reader) pairs() []word {
	r.next()
	r.next()
	words := r.inner(true)
	for i := range words {
		words[i].group = true
	}
	return words
}

// inner reads what stands between brackets, and the one that closes.
func (r *reader) inner(table bool) []word {
	level, was := r.level, r.table
	r.table = table
	words := r.block(nil, level+1)
	r.level, r.table = level, was
	r.next()
	return words
}

func (r *reader) redirection() {
	line := r.line
	for strings.ContainsRune("<>&", r.peek(0)) {
		r.next()
	}
	r.blanks()
	if c := r.peek(0); c != end && !strings.ContainsRune("\n;|)}({", c) {
		if words := flat(r.word()); len(words) > 0 && len(words[0]) > 1 && words[0] != "$null" {
			r.run(Command{Line: line, Name: ">", Words: words})
		}
	}
}

// joined puts together what is put together from texts that stand there: 'a' + 'b', Join-Path a b.
func joined(words []word) []word {
	for i := 1; i+1 < len(words); i++ {
		if words[i].raw == "+" && words[i].bare {
			whole := word{raw: words[i-1].raw + words[i+1].raw, values: product(words[i-1].values, words[i+1].values), bare: words[i-1].bare}
			words = slices.Concat(words[:i-1], []word{whole}, words[i+2:])
			i--
		}
	}
	if len(words) > 2 {
		if name := strings.ToLower(words[0].raw); name == "join-path" || strings.HasSuffix(name, "path]::combine") {
			values := []string{""}
			for _, w := range words[1:] {
				if !isFlag(w.raw) {
					values = product(product(values, w.values), []string{`\`})
				}
			}
			for i := range values {
				values[i] = strings.TrimSuffix(values[i], `\`)
			}
			return []word{{raw: values[0], values: values}}
		}
	}
	return words
}
