package shellread

import (
	"strings"
)

// run notes a command, and reads what it runs in its turn.
func (s *scope) run(c Command) {
	if len(c.Words) > maxWords {
		c.Words = c.Words[:maxWords]
	}
	c.Name, c.Folder = s.canonical(c.Name), s.folder
	if c.Name == "" {
		return
	}
	switch c.Name {
	case "set-location", "push-location":
		s.folder = s.place(c.Words)
	case "set-alias", "new-alias":
		if names := positional(c.Words); len(names) > 1 {
			s.aliases[strings.ToLower(names[0])] = strings.ToLower(names[1])
		}
	case "call", "start", "runas", "psexec":
		s.prefixed(c)
		return
	}
	at := len(s.out)
	s.add(c)
	if f, ok := s.functions[c.Name]; ok {
		s.called(f, c)
		return
	}
	inner, opaque := s.within(c)
	if opaque && at < len(s.out) {
		s.out[at].Opaque = true
	}
	inner()
}

// function is one that the script defines: its parameters, and its text.
type function struct {
	params []string
	body   string
	line   int
}

// called reads a function's text anew, with what it is given.
func (s *scope) called(f function, c Command) {
	given, place := c.Words, 0
	s.set("args", given)
	for i := 0; i < len(given); i++ {
		if isFlag(given[i]) && i+1 < len(given) {
			for _, name := range f.params {
				if short(given[i], name, 1) {
					s.set(name, given[i+1:i+2])
				}
			}
			continue
		}
		if place < len(f.params) {
			s.set(f.params[place], given[i:i+1])
		}
		place++
	}
	s.read("powershell", f.body, f.line)
}

// prefixed is a command that stands behind call or start.
func (s *scope) prefixed(c Command) {
	words := c.Words
	for len(words) > 0 && (words[0] == "" || strings.HasPrefix(words[0], "/") || strings.HasPrefix(words[0], "-") || strings.ContainsAny(words[0], " ") && len(words) > 1) {
		words = words[1:]
	}
	if len(words) > 0 {
		s.run(Command{Line: c.Line, Name: words[0], Words: words[1:], Input: c.Input})
	}
}

func (s *scope) place(words []string) string {
	names := positional(words)
	if len(names) == 0 {
		return s.folder
	}
	to := names[len(names)-1]
	if s.folder != "" && !strings.Contains(to, ":") && !strings.HasPrefix(to, `\`) {
		return s.folder + `\` + to
	}
	return to
}

// positional are the words that are no switches.
func positional(words []string) (all []string) {
	for _, w := range words {
		if w != "" && !isFlag(w) {
			all = append(all, w)
		}
	}
	return all
}

func isFlag(w string) bool {
	return strings.HasPrefix(w, "-") || strings.HasPrefix(w, "/") && !strings.Contains(w, `\`) && len(w) < 32
}

// short reports whether a word is the parameter of that name, or an abbreviation of at least so many letters.
func short(word, name string, least int) bool {
	word = strings.ToLower(strings.TrimLeft(word, "-/"))
	word, _, _ = strings.Cut(word, ":")
	return len(word) >= least && strings.HasPrefix(name, word)
}

// within is what a command that starts others runs.
func (s *scope) within(c Command) (inner func(), opaque bool) {
	none := func() {}
	switch c.Name {
	case "cmd":
		for i, w := range c.Words {
			if lower := strings.ToLower(w); strings.HasPrefix(lower, "/c") || strings.HasPrefix(lower, "/k") || strings.HasPrefix(lower, "/r") {
				rest := c.Words[i+1:]
				if len(w) > 2 {
					rest = append([]string{w[2:]}, rest...)
				}
				return func() { s.read("cmd", quoted(rest), c.Line) }, false
			}
		}
	case "powershell":
		return s.powershell(c)
	case "invoke-expression", "[scriptblock]::create", "$executioncontext.invokecommand.invokescript":
		text := append(positional(c.Words), c.Input...)
		if len(text) != 1 || strings.Contains(text[0], "$") {
			return none, true
		}
		return func() { s.read("powershell", text[0], c.Line) }, false
	case "start-process", "new-scheduledtaskaction":
		return s.started(c), false
	case "schtasks":
		return s.after(c, "tr"), false
	case "forfiles":
		return func() {
			s.set("@", c.Words)
			for i, w := range c.Words {
				if short(w, "c", 1) && i+1 < len(c.Words) {
					s.read("cmd", strings.NewReplacer("@path", at(c.Words, "p"), "@file", at(c.Words, "p")).Replace(c.Words[i+1]), c.Line)
				}
			}
		}, false
	case "wmic", "invoke-wmimethod", "invoke-cimmethod":
		if len(c.Words) > 0 && contains(c.Words, "create") {
			return func() { s.read("cmd", c.Words[len(c.Words)-1], c.Line) }, false
		}
	}
	return none, false
}

func at(words []string, flag string) string {
	for i, w := range words {
		if isFlag(w) && short(w, flag, len(flag)) && i+1 < len(words) {
			return words[i+1]
		}
	}
	return ""
}

func contains(words []string, word string) bool {
	for _, w := range words {
		if strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}

func (s *scope) after(c Command, flag string) func() {
	return func() {
		if text := at(c.Words, flag); text != "" {
			s.read("cmd", text, c.Line)
		}
	}
}

// powershell is one PowerShell started by another shell.
func (s *scope) powershell(c Command) (func(), bool) {
	for i, w := range c.Words {
		if !isFlag(w) {
			if i > 0 && (short(c.Words[i-1], "executionpolicy", 2) && isFlag(c.Words[i-1]) || short(c.Words[i-1], "windowstyle", 1) || short(c.Words[i-1], "version", 1)) {
				continue
			}
			return func() { s.read("powershell", strings.Join(c.Words[i:], " "), c.Line) }, false
		}
		switch {
		case strings.EqualFold(w, "-ec") || short(w, "encodedcommand", 1) && !short(w, "executionpolicy", 2):
			return func() {}, true
		case short(w, "command", 1):
			return func() { s.read("powershell", strings.Join(c.Words[i+1:], " "), c.Line) }, false
		case short(w, "file", 1):
			return func() {}, false
		}
	}
	return func() {}, contains(c.Words, "-")
}

// started is what Start-Process runs, which puts a line together of words as they are.
func (s *scope) started(c Command) func() {
	var program string
	var words []string
	for i := 0; i < len(c.Words); i++ {
		w := c.Words[i]
		switch {
		case isFlag(w) && strings.HasPrefix(w, "-") && (short(w, "windowstyle", 2) || short(w, "verb", 4) || short(w, "workingdirectory", 2) || short(w, "credential", 2) || short(w, "redirectstandardoutput", 4) || short(w, "erroraction", 2)):
			i++
		case strings.HasPrefix(w, "-") && program == "", strings.HasPrefix(w, "-") && (short(w, "argumentlist", 1) || short(w, "wait", 2) || short(w, "nonewwindow", 3) || short(w, "passthru", 2)):
		case program == "":
			program = w
		default:
			words = append(words, w)
		}
	}
	return func() {
		if program != "" {
			s.read("cmd", quoted([]string{program})+" "+strings.Join(words, " "), c.Line)
		}
	}
}

// quoted is a line of words; one word alone is a line already.
func quoted(words []string) string {
	if len(words) == 1 {
		if strings.Contains(words[0], `"`) || !strings.HasSuffix(strings.ToLower(words[0]), ".exe") {
			return words[0]
		}
	}
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = w
		if strings.ContainsAny(w, " \t") && !strings.Contains(w, `"`) {
			all[i] = `"` + w + `"`
		}
	}
	return strings.Join(all, " ")
}
