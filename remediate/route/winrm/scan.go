package winrm

import (
	"bytes"
	"encoding/xml"
	"unicode/utf8"
)

// A decoder of XML looks at every character of an answer and makes several objects of each element, which was an eighth of what a machine
// costs. WinRM's answers are of one simple form: every namespace is declared at the root, by a prefix, and nothing is escaped. Such a
// message is read here; any other, faults among them, by the decoder. FuzzReply demands that both read the same.

// scanner reads a message of the simple form. The name of an element and its attributes are good until the next one.
type scanner struct {
	rest     []byte
	prefixes [8]struct{ prefix, space string }
	declared int
	open     [][]byte // names of the elements that are open, with their prefixes
	path     []xml.Name
	attrs    []xml.Attr
}

// simple tells of each element that begins and ends, with the text since the tag before its end; ok is false for a message of another form,
// which is not judged then.
func simple(body []byte, start func(xml.StartElement), end func(path []xml.Name, attrs []xml.Attr, text []byte)) (ok bool) {
	s := &scanner{rest: body}
	var text []byte
	for {
		at := bytes.IndexByte(s.rest, '<')
		if at < 0 {
			return false
		}
		run := s.rest[:at]
		s.rest = s.rest[at+1:]
		if len(s.path) == 0 && len(run) > 0 || !plainText(run) {
			return false
		}
		text = run
		if len(s.rest) > 0 && s.rest[0] == '/' {
			if !s.closes() {
				return false
			}
			end(s.path, s.attrs, text)
			s.path, s.attrs = s.path[:len(s.path)-1], nil
			if len(s.path) == 0 {
				return len(bytes.TrimSpace(s.rest)) == 0
			}
			continue
		}
		if len(s.path) == maxDepth {
			return false
		}
		empty, good := s.opens()
		if !good {
			return false
		}
		start(xml.StartElement{Name: s.path[len(s.path)-1], Attr: s.attrs})
		if empty {
			end(s.path, s.attrs, nil)
			s.path, s.open, s.attrs = s.path[:len(s.path)-1], s.open[:len(s.open)-1], nil
			if len(s.path) == 0 {
				return len(bytes.TrimSpace(s.rest)) == 0
			}
		}
	}
}

// opens reads a start tag behind its "<".
func (s *scanner) opens() (empty, ok bool) {
	name, ok := s.name()
	if !ok {
		return false, false
	}
	root := len(s.path) == 0
	s.attrs = s.attrs[:0:0]
	for {
		blanks := s.blanks()
		switch {
		case len(s.rest) == 0:
			return false, false
		case s.rest[0] == '>':
			s.rest = s.rest[1:]
		case s.rest[0] == '/' && len(s.rest) > 1 && s.rest[1] == '>':
			s.rest, empty = s.rest[2:], true
		case !blanks:
			return false, false
		default:
			if !s.attribute(root) {
				return false, false
			}
			continue
		}
		resolved, known := s.resolve(name)
		s.open, s.path = append(s.open, name), append(s.path, resolved)
		return empty, known
	}
}

func (s *scanner) attribute(root bool) bool {
	name, ok := s.name()
	if !ok || len(s.rest) < 2 || s.rest[0] != '=' || s.rest[1] != '"' && s.rest[1] != '\'' {
		return false
	}
	quote := s.rest[1]
	s.rest = s.rest[2:]
	at := bytes.IndexByte(s.rest, quote)
	if at < 0 {
		return false
	}
	value := s.rest[:at]
	s.rest = s.rest[at+1:]
	if bytes.IndexByte(value, '<') >= 0 || !plainText(value) || bytes.ContainsAny(value, "\n\t") {
		return false
	}
	prefix, local, two := bytes.Cut(name, []byte(":"))
	switch {
	case string(name) == "xmlns":
		return false
	case two && string(prefix) == "xmlns":
		if _, twice := s.spaceOf(local); !root || twice || s.declared == len(s.prefixes) || len(value) == 0 {
			return false
		}
		s.prefixes[s.declared].prefix, s.prefixes[s.declared].space = string(local), space(value)
		s.declared++
	case two:
		s.attrs = append(s.attrs, xml.Attr{Name: xml.Name{Space: string(prefix), Local: string(local)}, Value: string(value)})
	default:
		s.attrs = append(s.attrs, xml.Attr{Name: xml.Name{Local: string(name)}, Value: string(value)})
	}
	return true
}

// space gives the namespaces that every answer has without making a text of them each time.
func space(value []byte) string {
	for _, known := range []string{nsSOAP, nsWSA, nsWSMan, shellURI} {
		if string(value) == known {
			return known
		}
	}
	return string(value)
}

func (s *scanner) resolve(name []byte) (xml.Name, bool) {
	prefix, local, two := bytes.Cut(name, []byte(":"))
	if !two {
		return xml.Name{}, false
	}
	space, known := s.spaceOf(prefix)
	return xml.Name{Space: space, Local: string(local)}, known
}

func (s *scanner) spaceOf(prefix []byte) (string, bool) {
	for i := range s.declared {
		if string(prefix) == s.prefixes[i].prefix {
			return s.prefixes[i].space, true
		}
	}
	return "", false
}

// closes reads an end tag behind its "<".
func (s *scanner) closes() bool {
	s.rest = s.rest[1:]
	name, ok := s.name()
	if !ok || len(s.open) == 0 || !bytes.Equal(name, s.open[len(s.open)-1]) {
		return false
	}
	s.blanks()
	if len(s.rest) == 0 || s.rest[0] != '>' {
		return false
	}
	s.rest, s.open = s.rest[1:], s.open[:len(s.open)-1]
	return true
}

// name reads ASCII letters, digits and what else a name may have, with at most one colon inside.
func (s *scanner) name() ([]byte, bool) {
	n, colons := 0, 0
	for n < len(s.rest) && s.inName(n) {
		if s.rest[n] == ':' {
			colons++
		}
		n++
	}
	name := s.rest[:n]
	s.rest = s.rest[n:]
	return name, n > 0 && colons < 2 && name[n-1] != ':'
}

// inName reports whether the character at n goes on a name; one after the colon begins its second half.
func (s *scanner) inName(n int) bool {
	c := s.rest[n]
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
		return true
	case c >= '0' && c <= '9', c == '-', c == '.':
		return n > 0 && s.rest[n-1] != ':'
	}
	return c == ':' && n > 0
}

func (s *scanner) blanks() bool {
	rest := bytes.TrimLeft(s.rest, " \t\n")
	some := len(rest) < len(s.rest)
	s.rest = rest
	return some
}

// plainText reports whether a text means what it says: no escapes, no carriage returns, nothing that XML has no place for.
func plainText(text []byte) bool {
	high := false
	for _, c := range text {
		switch {
		case c == '&', c == ']', c < ' ' && c != '\t' && c != '\n':
			return false
		case c >= utf8.RuneSelf:
			high = true
		}
	}
	return !high || utf8.Valid(text) && !bytes.Contains(text, []byte("\uffff")) && !bytes.Contains(text, []byte("\ufffe"))
}
