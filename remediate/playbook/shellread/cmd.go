package shellread

import (
	"strings"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

var (
	cmdVariable = lazyregexp.New(`%([^%\s:=]+)(?::[^%\r\n]*)?%|!([^!\s:=]+)(?::[^!\r\n]*)?!|%%?~?[a-z]*([a-zA-Z@])\b`)
	cmdFor      = lazyregexp.New(`(?i)^\s*for\s+(?:/[dlrf]\s+(?:"[^"]*"\s+|[a-z]:\S*\s+)?)*%%?(\w)\s+in\s*\(([^)]*)\)\s*do\s+`)
	cmdIf       = lazyregexp.New(`(?i)^if\s+(?:/i\s+)?(?:not\s+)?(?:(?:exist|defined|errorlevel|cmdextversion)\s+("[^"]*"|\S+)|("[^"]*"|[^\s=]+)\s*(?:==|\s(?:equ|neq|lss|leq|gtr|geq)\s)\s*("[^"]*"|\S+))`)
	cmdPart     = lazyregexp.New(`^\s*"?[^\s"]*(?:%[^%\s:]+:[^%]*%|![^!\s:]+:[^!]*!)`)
	cmdTarget   = lazyregexp.New(`>\s*("[^"]+"|[^\s&|<>"]+)`)
	glued       = lazyregexp.New(`(?i)^(?:/[a-z?]{1,2}(?::[^/\s]*)?){2,}$`)
)

func (s *scope) readCmd(body string, line int) {
	body = strings.ReplaceAll(body, "\r\n", "\n")
	lines := strings.Split(body, "\n")
	for i := 0; i < len(lines); i++ {
		text, first := lines[i], i
		for strings.HasSuffix(text, "^") && i+1 < len(lines) {
			i++
			text = text[:len(text)-1] + lines[i]
		}
		s.cmdLine(text, line+first)
	}
}

// cmdLine reads one line: commands between &, |, brackets.
func (s *scope) cmdLine(text string, line int) {
	text = strings.TrimLeft(text, " \t@(")
	if isRemark(text) || strings.HasPrefix(text, ":") {
		return
	}
	if m := cmdFor.FindStringSubmatch(text); m != nil && s.depth < maxDepth {
		items := strings.Trim(m[2], ` '"`+"`")
		s.set(m[1], wordsOfCmd(s.expandCmd(items)))
		s.depth++
		s.cmdLine(text[len(m[0]):], line)
		s.depth--
		return
	}
	var input []string
	for text != "" {
		var command, separator string
		command, separator, text = cutCmd(text)
		words := s.simple(command, line, input)
		input = nil
		if separator == "|" || separator == ")|" {
			input = words
		}
	}
}

func isRemark(text string) bool {
	lower := strings.ToLower(text)
	return lower == "rem" || strings.HasPrefix(lower, "rem ") || strings.HasPrefix(lower, "rem\t") || strings.HasPrefix(lower, "::")
}

// cutCmd cuts the first command off a line.
func cutCmd(text string) (command, separator, rest string) {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case c == '^' && !quoted:
			i++
		case quoted:
		case c == '&' && i > 0 && text[i-1] == '>': // a redirection: 2>&1
		case c == '|' && i+1 < len(text) && text[i+1] == '|', c == '&' && i+1 < len(text) && text[i+1] == '&':
			return text[:i], text[i : i+2], text[i+2:]
		case c == ')' && strings.HasPrefix(strings.TrimLeft(text[i+1:], " "), "|"):
			_, rest, _ := strings.Cut(text[i+1:], "|")
			return text[:i], ")|", rest
		case c == '&' || c == '|' || c == '(' || c == ')':
			return text[:i], string(c), text[i+1:]
		}
	}
	return text, "", ""
}

// simple reads one command and returns its words.
func (s *scope) simple(text string, line int, input []string) []string {
	text = strings.TrimLeft(text, " \t@,;=")
	if isRemark(text) || text == "" {
		return input
	}
	if m := cmdFor.FindStringSubmatch(text); m != nil {
		s.cmdLine(text, line)
		return nil
	}
	if m := cmdIf.FindStringSubmatch(text); m != nil {
		s.add(Command{Line: line, Name: "if", Words: wordsOfCmd(s.expandCmd(m[0]))})
		return s.simple(text[len(m[0]):], line, input)
	}
	for _, word := range []string{"else", "do"} {
		if rest, ok := strings.CutPrefix(strings.ToLower(text), word+" "); ok {
			return s.simple(text[len(text)-len(rest):], line, input)
		}
	}
	if rest, ok := strings.CutPrefix(strings.ToLower(text), "set "); ok {
		s.setCmd(strings.TrimSpace(text[len(text)-len(rest):]))
		return nil
	}
	var words []string
	for _, variant := range s.variants(text) {
		words = wordsOfCmd(variant)
		if len(words) > 0 {
			assembled := cmdPart.MatchString(variant)
			s.run(Command{Line: line, Name: cmdName(&words), Words: words, Input: input, Opaque: assembled})
		}
		for _, m := range cmdTarget.FindAllStringSubmatch(variant, -1) {
			if to := wordsOfCmd(m[1]); len(to) > 0 && !strings.EqualFold(to[0], "nul") {
				s.run(Command{Line: line, Name: ">", Words: to})
			}
		}
	}
	return words
}

// cmdName takes the name off: switches may follow it without a blank.
func cmdName(words *[]string) string {
	name := (*words)[0]
	rest := (*words)[1:]
	if i := strings.IndexByte(name, '/'); i > 0 && !strings.Contains(name, `\`) {
		rest = append([]string{name[i:]}, rest...)
		name = name[:i]
	}
	split := rest[:0:0]
	for _, w := range rest {
		if glued.MatchString(w) {
			for _, part := range strings.Split(w, "/")[1:] {
				split = append(split, "/"+part)
			}
			continue
		}
		split = append(split, w)
	}
	*words = split
	return name
}

func (s *scope) setCmd(text string) {
	text = strings.Trim(text, `"`)
	if strings.HasPrefix(text, "/") {
		return
	}
	if name, value, ok := strings.Cut(text, "="); ok {
		s.set(strings.TrimSpace(name), []string{strings.Trim(s.expandCmd(value), `"`)})
	}
}

// variants are the texts of a command, one for each value of a loop's variable.
func (s *scope) variants(text string) []string {
	all := []string{""}
	rest := 0
	for _, at := range cmdVariable.FindAllStringSubmatchIndex(text, -1) {
		values := []string{text[at[0]:at[1]]}
		for group := 2; group < len(at); group += 2 {
			if at[group] >= 0 {
				if v := s.value(text[at[group]:at[group+1]]); v != nil && (group != 6 || s.vars[strings.ToLower(text[at[group]:at[group+1]])] != nil) {
					values = v
				}
			}
		}
		all = product(product(all, []string{text[rest:at[0]]}), values)
		rest = at[1]
	}
	return product(all, []string{text[rest:]})
}

func (s *scope) expandCmd(text string) string { return s.variants(text)[0] }

// wordsOfCmd splits at blanks, takes quotes and carets away, and drops redirections.
func wordsOfCmd(text string) (words []string) {
	var word strings.Builder
	quoted, inWord, skip := false, false, false
	end := func() {
		if inWord && !skip {
			words = append(words, word.String())
		}
		if inWord {
			skip = false
		}
		word.Reset()
		inWord = false
	}
	for i := 0; i < len(text) && len(words) < maxWords; i++ {
		c := text[i]
		switch {
		case c == '"':
			quoted, inWord = !quoted, true
		case c == '^' && !quoted && i+1 < len(text):
			i++
			word.WriteByte(text[i])
			inWord = true
		case !quoted && (c == ' ' || c == '\t' || c == ',' || c == ';'):
			end()
		case !quoted && (c == '>' || c == '<'):
			if w := word.String(); len(w) == 1 && w[0] >= '0' && w[0] <= '9' {
				word.Reset()
				inWord = false
			}
			end()
			skip = true
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	end()
	return words
}
