package inventory

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// Selector picks machines: by an expression over [Fields], or by terms. It is parsed once and may be used by many
// goroutines. The zero Selector picks all machines.
type Selector struct {
	text  string
	terms []term // none: an expression

	health, cases bool // fields of an [Overlay] that an expression asks for
}

type term struct {
	kind   byte // a: all, n: name, g: glob, t: tag, r: group
	text   string
	groups []string // distinguished names of the groups whose account is called so; known when machines are picked
}

// String gives the selector as it was written.
func (s Selector) String() string {
	if s.text == "" {
		return "all"
	}
	return s.text
}

// Named reports whether the selector names its machines, one by one.
func (s Selector) Named() bool {
	return len(s.terms) > 0 && !slices.ContainsFunc(s.terms, func(t term) bool { return t.kind != 'n' })
}

// Expression gives the text of a selector that is an expression.
func (s Selector) Expression() (string, bool) { return s.text, s.text != "" && len(s.terms) == 0 }

// ParseSelector reads a selector. It is one of
//
//	all                                  every machine
//	WS1,ws2.fleet.test,10.1.2.3          names, FQDNs, addresses, IDs
//	LON-*,PAR-??                         globs over name, FQDN and address
//	@list.txt   -                        names or globs from a file or from standard input, one in a line, # comments
//	tag:canary  group:Tills              by tag or group: its distinguished, common or account name; members of members count
//	group:"Tills (EU), old"              a name with commas, in quotes
//	os.build < 22631 && site == "LON"    an expression
//
// Terms may be mixed, separated by commas; a machine is picked when one of them fits. An expression stands alone.
// stdin is read for "-" and may be nil where that is not wanted.
func ParseSelector(text string, stdin io.Reader) (Selector, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Selector{}, hint.Wrap(errors.New("empty selector"), `write "all" for every machine`)
	}
	s := Selector{text: text}
	if words, ok := splitTerms(text); ok {
		for _, w := range words {
			terms, err := parseTerm(w, stdin)
			if err != nil {
				return Selector{}, fmt.Errorf("selector %q: %w", clip(text), err)
			}
			s.terms = append(s.terms, terms...)
		}
		return s, nil
	}
	used := &fieldCheck{}
	if _, err := compile(text, time.Now(), used); err != nil {
		return Selector{}, fmt.Errorf("selector %q: %w", clip(text), err)
	}
	for _, name := range used.used {
		s.health = s.health || name == "health" || name == "health_reason"
		s.cases = s.cases || name == "case" || strings.HasPrefix(name, "case.")
	}
	return s, nil
}

// splitTerms reports whether the text is a list of terms and no expression.
func splitTerms(text string) ([]string, bool) {
	if strings.HasPrefix(text, "@") { // a file may have commas in its name
		if _, err := os.Stat(text[1:]); err == nil || !strings.Contains(text, ",") {
			return []string{text}, true
		}
	}
	var words []string
	for _, w := range cutTerms(text) {
		if w = strings.TrimSpace(w); w == "" {
			continue
		}
		lower := strings.ToLower(w)
		switch {
		case lower == "all", w == "-", strings.HasPrefix(w, "@"), strings.HasPrefix(lower, "tag:"), strings.HasPrefix(lower, "group:"):
		case isField(w), lower == "true", lower == "false", !isName(w):
			// group:CN=Tills,DC=fleet,DC=test contains commas
			if n := len(words); n > 0 && strings.HasPrefix(strings.ToLower(words[n-1]), "group:") && strings.Contains(w, "=") && !strings.Contains(w, "==") {
				words[n-1] += "," + w
				continue
			}
			return nil, false
		}
		words = append(words, w)
	}
	return words, len(words) > 0
}

// cutTerms cuts at commas that are not in quotes. In group: and tag: a comma behind a backslash is part of the name.
func cutTerms(text string) (words []string) {
	start, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			if lower := strings.ToLower(strings.TrimSpace(text[start:i])); quoted || strings.HasPrefix(lower, "group:") || strings.HasPrefix(lower, "tag:") {
				i++
			}
		case '"':
			quoted = !quoted
		case ',':
			if !quoted {
				words = append(words, text[start:i])
				start = i + 1
			}
		}
	}
	return append(words, text[start:])
}

func isName(w string) bool {
	for _, r := range w {
		if r >= utf8.RuneSelf || r == '_' || r == '-' || r == '.' || r == '*' || r == '?' || r == '$' || r == ':' ||
			r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			continue
		}
		return false
	}
	return true
}

func isField(w string) bool {
	root, _, _ := strings.Cut(w, ".")
	for _, f := range Fields() {
		if f.Name == w || f.Name == root || strings.HasPrefix(f.Name, root+".") && !strings.Contains(w, ".") {
			return true
		}
	}
	return false
}

func parseTerm(w string, stdin io.Reader) ([]term, error) {
	lower := strings.ToLower(w)
	switch {
	case lower == "all" || w == "*":
		return []term{{kind: 'a'}}, nil
	case strings.HasPrefix(lower, "tag:"):
		return oneTerm('t', w[4:], "tag")
	case strings.HasPrefix(lower, "group:"):
		return oneTerm('r', w[6:], "group")
	case w == "-":
		if stdin == nil {
			return nil, errors.New("names from standard input are not possible here")
		}
		text, err := textfile.ReadFrom(stdin, maxNameFile)
		if err != nil {
			return nil, fmt.Errorf("read names from standard input: %w", err)
		}
		return namesIn(text.Content, "standard input")
	case strings.HasPrefix(w, "@"):
		text, err := textfile.Read(w[1:], maxNameFile)
		if err != nil {
			return nil, fmt.Errorf("read names: %w", err)
		}
		return namesIn(text.Content, w[1:])
	}
	return []term{nameTerm(w)}, nil
}

func oneTerm(kind byte, text, what string) ([]term, error) {
	text = strings.TrimSpace(text)
	if inner, ok := strings.CutPrefix(text, `"`); ok {
		if text, ok = strings.CutSuffix(inner, `"`); !ok {
			return nil, hint.Wrap(fmt.Errorf("%s:%s begins with a quote and does not end with one", what, clip(`"`+inner)), `write `+what+`:"a name, with commas"`)
		}
		text = strings.ReplaceAll(text, `\"`, `"`)
	}
	if text == "" {
		return nil, fmt.Errorf("%s: without a %s", what, what)
	}
	return []term{{kind: kind, text: text}}, nil
}

func nameTerm(w string) term {
	if strings.ContainsAny(w, "*?") {
		return term{kind: 'g', text: strings.ToLower(w)}
	}
	return term{kind: 'n', text: strings.TrimSuffix(w, "$")}
}

// A list of names has bounds.
const (
	maxNames    = 1_000_000
	maxNameFile = 64 << 20
)

// namesIn reads one name or glob in a line; empty lines and what follows # are left out.
func namesIn(text, from string) ([]term, error) {
	var terms []term
	n := 0
	for line := range strings.Lines(strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")) {
		n++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if !isName(line) {
			return nil, hint.Wrap(fmt.Errorf("%s, line %d: %q is no name", from, n, clip(line)), "write one name in a line, comments after #")
		}
		if terms = append(terms, nameTerm(line)); len(terms) > maxNames {
			return nil, fmt.Errorf("%s: more than %d names", from, maxNames)
		}
	}
	if len(terms) == 0 {
		return nil, fmt.Errorf("%s names no machine", from)
	}
	return terms, nil
}
