package playbook

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

//go:embed builtin/*.yaml builtin/template.txt
var embedded embed.FS

var builtins = sync.OnceValue(func() []*Source {
	files, err := fs.Glob(embedded, "builtin/*.yaml")
	if err != nil {
		panic(err)
	}
	var all []*Source
	for _, file := range files {
		s, err := Parse("builtin:"+path.Base(file), mustRead(file))
		if err != nil {
			panic(fmt.Sprintf("built-in playbook is broken: %v", err)) // a test parses them all
		}
		all = append(all, s)
	}
	return all
})

func mustRead(file string) []byte {
	data, err := embedded.ReadFile(file)
	if err != nil {
		panic(err)
	}
	return data
}

// Builtins are the embedded playbooks, sorted by name.
func Builtins() []*Source { return append([]*Source(nil), builtins()...) }

// Builtin is the embedded playbook of that name. The error names the nearest one.
func Builtin(name string) (*Source, error) {
	var names []string
	for _, s := range builtins() {
		if strings.EqualFold(s.Playbook.Name, name) {
			return s, nil
		}
		names = append(names, s.Playbook.Name)
	}
	err := fmt.Errorf("no built-in playbook is called %q", clip(name))
	if near := hint.Nearest(name, names); near != "" {
		err = fmt.Errorf("%w; did you mean %q?", err, near)
	}
	return nil, hint.Wrapf(err, "built in are %s; a file of your own is given by its path, such as ./%s.yaml", strings.Join(names, ", "), clip(name))
}

// BuiltinText is the YAML of an embedded playbook with its comments; nil when there is none of that name.
func BuiltinText(name string) []byte {
	if strings.ContainsAny(name, `/\`) {
		return nil
	}
	data, err := embedded.ReadFile("builtin/" + strings.ToLower(name) + ".yaml")
	if err != nil {
		return nil
	}
	return data
}

var notInName = lazyregexp.New(`[^a-z0-9._-]+`)

// Create writes the template of a playbook, named like the file, to it. A file that is there already is left alone.
func Create(file string) error {
	name := file[strings.LastIndexAny(file, `/\`)+1:]
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".yaml"), ".yml")
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return hint.Wrap(fmt.Errorf("%s is there already", file), "choose another name; nothing is overwritten")
	}
	if err != nil {
		return err
	}
	_, err = f.Write(Template(name))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

// Template is a commented playbook to start from; it parses and lint finds nothing. The name is made to fit.
func Template(name string) []byte {
	name = strings.TrimLeft(notInName.ReplaceAllString(strings.ToLower(name), "-"), ".-")
	if len(name) > 64 {
		name = name[:64]
	}
	if name == "" {
		name = "my-playbook"
	}
	return bytes.Replace(mustRead("builtin/template.txt"), []byte("NAME"), []byte("'"+name+"'"), 1)
}

// IsPath reports whether [Find] takes the word as a file's path: it has a separator, or ends in .yaml, .yml or .json.
func IsPath(word string) bool {
	lower := strings.ToLower(word)
	for _, end := range []string{".yaml", ".yml", ".json"} {
		if strings.HasSuffix(lower, end) {
			return true
		}
	}
	return strings.ContainsAny(word, `/\`)
}

// Find reads a playbook from a file, or takes a built-in one; see [IsPath] for which. A name that is neither is a [hint.MistakeError].
func Find(nameOrPath string) (*Source, error) {
	if !IsPath(nameOrPath) {
		s, err := Builtin(nameOrPath)
		if err != nil {
			err = &hint.MistakeError{Err: err}
		}
		return s, err
	}
	data, err := readFile(nameOrPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &hint.MistakeError{Err: err}
	}
	if err != nil {
		return nil, err
	}
	return Parse(nameOrPath, data)
}

// FindBound is [Find] with the parameters set.
func FindBound(nameOrPath string, set map[string]string) (Playbook, error) {
	s, err := Find(nameOrPath)
	if err != nil {
		return Playbook{}, err
	}
	p, err := s.Bind(set)
	if err != nil {
		return Playbook{}, &hint.MistakeError{Err: err}
	}
	return p, nil
}

// LintAll is [Lint] for all that are named, as [Find] takes names.
func LintAll(namesOrPaths []string) (all []Finding, err error) {
	for _, name := range namesOrPaths {
		s, err := Find(name)
		if err != nil {
			return nil, err
		}
		all = append(all, Lint(s)...)
	}
	return all, nil
}

func readFile(name string) ([]byte, error) {
	text, err := textfile.Read(name, maxFile+1)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint.Wrap(fmt.Errorf("open playbook: %w", err), "`fleetmend playbook list` shows the built-in ones, `fleetmend playbook new` writes one to start from")
	}
	if err != nil {
		return nil, fmt.Errorf("open playbook: %w", err)
	}
	return []byte(text.Content), nil
}
