package shellread

import (
	"slices"
	"strings"
	"unicode"
)

const (
	singles = "'\u2018\u2019\u201a\u201b"
	doubles = "\"\u201c\u201d\u201e"
)

// word reads one argument: text with and without quotes, and variables. A variable with a member is two words, "$x" and ".member".
func (r *reader) word() []word {
	w := word{values: []string{""}, bare: !strings.ContainsRune(singles+doubles, r.peek(0))}
	from := r.at
	var member []word
	for {
		c := r.peek(0)
		switch {
		case c == end || unicode.IsSpace(c) || strings.ContainsRune(",;|&(){}<>", c):
			goto done
		case c == '=' && r.at > from && (r.table || strings.HasPrefix(w.raw, "$") && len(w.raw) > 1) || c == '+' && r.peek(1) == '=' && strings.HasPrefix(w.raw, "$"):
			goto done
		case c == '=' && r.at == from:
			r.next()
			w.raw, w.values = "=", []string{"="}
			goto done
		case r.starts("+=") && r.at == from:
			r.next()
			r.next()
			w.raw, w.values = "+=", []string{"+="}
			goto done
		case c == '+' && strings.ContainsRune(singles+doubles+"$(", r.peek(1)) && r.at == from:
			r.next()
			return []word{{raw: "+", values: []string{"+"}, bare: true}}
		case c == '+' && strings.ContainsRune(singles+doubles+"$(", r.peek(1)) && strings.ContainsRune(singles+doubles, r.src[r.at-1]):
			goto done
		case c == '@' && strings.ContainsRune(singles+doubles, r.peek(1)):
			r.next()
			w.bare = w.bare && r.at-1 != from
			w.append(r.hereString())
		case strings.ContainsRune(singles, c):
			w.append([]string{r.single()})
		case strings.ContainsRune(doubles, c):
			w.append(r.double())
		case c == '@' && r.at == from && isName(r.peek(1)): // splatting
			r.next()
			w.append(r.variableNamed(r.name()))
			w.raw = "@"
		case c == '$' && r.peek(1) != '(':
			raw, values := r.variable()
			if w.raw == "" || strings.HasPrefix(w.raw, "[") {
				w.raw += raw
			}
			w.values = product(w.values, values)
			if r.peek(0) == '.' && isName(r.peek(1)) && w.bare {
				member = r.member()
			}
		case c == '$':
			w.values = product(w.values, flat(r.group()))
		case c == '`':
			r.next()
			if x := r.next(); x != end {
				w.add(x)
			}
		default:
			w.add(r.next())
		}
		if len(member) > 0 {
			goto done
		}
	}
done:
	if r.at == from {
		r.next() // nothing that a word begins with
		return nil
	}
	for i, v := range w.values {
		if strings.HasPrefix(v, "\u2013") || strings.HasPrefix(v, "\u2014") || strings.HasPrefix(v, "\u2015") {
			w.values[i] = "-" + strings.TrimLeft(v, "\u2013\u2014\u2015")
		}
	}
	return append([]word{w}, member...)
}

func (w *word) add(c rune) {
	w.raw += string(c)
	w.append([]string{string(c)})
}

func (w *word) append(values []string) {
	w.values = product(w.values, values)
}

// member is .name behind a variable.
func (r *reader) member() []word {
	r.next()
	name := "." + r.name()
	return []word{{raw: name, values: []string{name}, bare: true}}
}

func isName(c rune) bool {
	return c == '_' || c == '?' || c == ':' || c > 0 && (unicode.IsLetter(c) || unicode.IsDigit(c))
}

func (r *reader) name() string {
	from := r.at
	for isName(r.peek(0)) && !r.starts("::") {
		r.next()
	}
	return string(r.src[from:r.at])
}

// bareName is a variable's name without its scope.
func bareName(name string) string {
	name = strings.ToLower(name)
	for _, scope := range []string{"global:", "script:", "local:", "private:", "variable:", "using:"} {
		name = strings.TrimPrefix(name, scope)
	}
	return name
}

// variable reads $name or ${name}, and returns what it is known to be, else itself.
func (r *reader) variable() (raw string, values []string) {
	r.next()
	name := ""
	if r.peek(0) == '{' {
		r.next()
		from := r.at
		for c := r.peek(0); c != end && c != '}' && c != '\n'; c = r.peek(0) {
			r.next()
		}
		name = string(r.src[from:r.at])
		r.next()
	} else {
		name = r.name()
	}
	return "$" + name, r.variableNamed(name)
}

func (r *reader) variableNamed(name string) []string {
	if v := r.value(bareName(name)); len(v) > 0 {
		return slices.Clone(v)
	}
	return []string{"$" + name}
}

func (r *reader) single() string {
	r.next()
	var text strings.Builder
	for r.peek(0) != end {
		c := r.next()
		if strings.ContainsRune(singles, c) {
			if !strings.ContainsRune(singles, r.peek(0)) {
				break
			}
			c = r.next()
		}
		if text.Len() < maxWord {
			text.WriteRune(c)
		}
	}
	return text.String()
}

func (r *reader) double() []string {
	r.next()
	return r.expandable(func() bool {
		if !strings.ContainsRune(doubles, r.peek(0)) {
			return false
		}
		r.next()
		if strings.ContainsRune(doubles, r.peek(0)) && r.peek(0) != end {
			return false // two of them are one
		}
		return true
	})
}

// hereString reads @' ... '@ or @" ... "@, from its first quote.
func (r *reader) hereString() []string {
	quote := r.next()
	for c := r.peek(0); c == ' ' || c == '\r' || c == '\t'; c = r.peek(0) {
		r.next()
	}
	if r.peek(0) == '\n' && (r.peek(1) != quote || r.peek(2) != '@') {
		r.next()
	}
	over := func() bool {
		if r.peek(0) != '\n' || r.peek(1) != quote || r.peek(2) != '@' {
			return false
		}
		r.next()
		r.next()
		r.next()
		return true
	}
	if strings.ContainsRune(doubles, quote) {
		return r.expandable(over)
	}
	var text strings.Builder
	for r.peek(0) != end && !over() {
		if c := r.next(); text.Len() < maxWord {
			text.WriteRune(c)
		}
	}
	return []string{strings.TrimSpace(text.String())}
}

// expandable reads text in which variables and $( ) stand for what they are, until over says that it is over.
func (r *reader) expandable(over func() bool) []string {
	all := []string{""}
	var text strings.Builder
	flush := func() {
		all = product(all, []string{text.String()})
		text.Reset()
	}
	for r.peek(0) != end && !over() {
		c := r.peek(0)
		switch {
		case c == '$' && r.peek(1) == '(':
			flush()
			if words := flat(r.group()); len(words) > 0 {
				all = product(all, words)
			}
		case c == '$' && (isName(r.peek(1)) || r.peek(1) == '{'):
			flush()
			_, values := r.variable()
			all = product(all, values)
		case c == '`':
			r.next()
			switch e := r.next(); e {
			case 'n', 'r', 't', '0', 'a', 'b', 'f', 'v':
				text.WriteByte(' ')
			case end:
			default:
				text.WriteRune(e)
			}
		default:
			r.next()
			if text.Len() < maxWord {
				text.WriteRune(c)
			}
		}
	}
	flush()
	return all
}
