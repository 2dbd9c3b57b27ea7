package playbook

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// Source is a playbook as it was read: its parameters not yet set, every part with its place in the file. It never
// changes after [Parse] and is safe for use by several goroutines.
type Source struct {
	Playbook Playbook // strings may hold ${name}; see [Source.Bind]
	File     string   // where it was read, for messages
	Digest   string   // lower-case hex SHA-256 of the meaning: comments, white space and order of keys do not count

	root      *yaml.Node // nil when it was not read from text
	at        map[string]Position
	templates map[string]string
	loose     bool // read without demanding a name
}

// Parse reads a playbook strictly, from YAML or JSON. The name is the file's, for messages. The error is an [Errors]
// with all that was found.
func Parse(name string, data []byte) (*Source, error) {
	return parse(name, data, false)
}

// ParseUnnamed is [Parse] for a playbook that needs no name, as in a conformance case.
func ParseUnnamed(name string, data []byte) (*Source, error) {
	return parse(name, data, true)
}

func parse(name string, data []byte, loose bool) (*Source, error) {
	root, fault := load(name, data)
	if fault != nil {
		return nil, Errors{fault}
	}
	d := &decoder{file: name, at: map[string]Position{}, templates: map[string]string{}, loose: loose}
	p := d.playbook(root)
	if len(d.errs) > 0 {
		return nil, d.errs.sorted()
	}
	return &Source{
		Playbook: p, File: name, Digest: digest(p, d.templates),
		root: root, at: d.at, templates: d.templates, loose: loose,
	}, nil
}

// Digest is the lower-case hex SHA-256 of a playbook's JSON form. For a playbook without parameters it equals the
// Digest of its [Source].
func Digest(p Playbook) string { return digest(p, nil) }

func digest(p Playbook, templates map[string]string) string {
	h := sha256.New()
	// A Playbook holds nothing that JSON cannot say.
	_ = json.NewEncoder(h).Encode(p)
	for _, path := range slices.Sorted(maps.Keys(templates)) {
		h.Write(fmt.Appendf(nil, "%q=%q\n", path, templates[path]))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// DetectDigest is the lower-case hex SHA-256 of what decides whether a machine is affected: two playbooks with the same
// one, once bound, ask the same question. It is empty where nothing is detected.
func (p *Playbook) DetectDigest() string {
	if len(p.Detect) == 0 {
		return ""
	}
	h := sha256.New()
	_ = json.NewEncoder(h).Encode(p.Detect)
	return hex.EncodeToString(h.Sum(nil))
}

// Position is the place of a part in the file, such as "fix[0].quarantine.file". Where a part has none of its own,
// that of the nearest part around it is given.
func (s *Source) Position(path string) Position {
	for {
		if at, ok := s.at[path]; ok {
			return at
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return s.at[""]
		}
		path = path[:cut]
	}
}

// load reads one YAML document into its tree, without anchors expanded and with bounded depth.
func load(name string, data []byte) (*yaml.Node, *Error) {
	whole := func(format string, args ...any) *Error {
		return &Error{File: name, Message: fmt.Sprintf(format, args...)}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	switch {
	case len(data) > maxFile:
		return nil, whole("the file has %d bytes; a playbook has at most %d", len(data), maxFile)
	case bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")):
		return nil, whole("the file is saved as UTF-16; save it as UTF-8")
	case !utf8.Valid(data):
		bad := 0
		for bad < len(data) {
			r, size := utf8.DecodeRune(data[bad:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			bad += size
		}
		line := 1 + bytes.Count(data[:bad], []byte("\n"))
		column := bad - bytes.LastIndexByte(data[:bad], '\n')
		return nil, &Error{name, Position{line, column}, "the file is not UTF-8 text; save it as UTF-8"}
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		return nil, whole("%v", err)
	}
	var document, second yaml.Node
	if err := loader.Load(&document); err != nil {
		return nil, syntaxError(name, data, err)
	}
	if document.Kind != yaml.DocumentNode || len(document.Content) != 1 {
		return nil, whole("the file is empty; `fleetmend playbook new` writes one to start from")
	}
	if err := loader.Load(&second); err == nil {
		return nil, &Error{name, Position{second.Line, second.Column}, "a second document begins here; a file holds one playbook"}
	} else if !errors.Is(err, io.EOF) {
		return nil, syntaxError(name, data, err)
	}
	return document.Content[0], nil
}

// syntaxError turns an error of the YAML reader into ours, with advice for the faults that Windows paths and tabs invite.
func syntaxError(name string, data []byte, err error) *Error {
	if errors.Is(err, io.EOF) {
		return &Error{File: name, Message: "the file is empty; `fleetmend playbook new` writes one to start from"}
	}
	var one *yaml.LoadError
	if !errors.As(err, &one) {
		var many *yaml.LoadErrors
		if errors.As(err, &many) && len(many.Errors) > 0 {
			one = many.Errors[0]
		}
	}
	if one == nil {
		return &Error{File: name, Message: "not valid YAML: " + clip(err.Error())}
	}
	at := Position{max(one.Mark.Line, one.ContextMark.Line), one.Mark.Column}
	message := "not valid YAML: " + clip(one.Message)
	switch {
	case strings.Contains(one.Message, "unknown escape"):
		message += "; put Windows paths in single quotes: 'C:\\Windows'"
	case indentedByTab(data, at.Line):
		message += "; the line is indented with a tab, YAML wants spaces"
	case strings.Contains(one.Message, "mapping values are not allowed"):
		message += "; put text that contains a colon in single quotes"
	}
	return &Error{name, at, message}
}

func indentedByTab(data []byte, line int) bool {
	for i := 1; i < line; i++ {
		_, rest, found := bytes.Cut(data, []byte("\n"))
		if !found {
			return false
		}
		data = rest
	}
	text, _, _ := bytes.Cut(data, []byte("\n"))
	indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]
	return bytes.IndexByte(indent, '\t') >= 0
}
