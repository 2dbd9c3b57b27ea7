// Package lazyregexp has regular expressions that are compiled when they are first used, so that the program starts without them.
//
// One that does not compile panics then; in tests it does as soon as its package is loaded.
package lazyregexp

import (
	"os"
	"regexp"
	"strings"
	"sync"
)

// Regexp is a regular expression. It is safe for concurrent use.
type Regexp struct {
	text     string
	once     sync.Once
	compiled *regexp.Regexp
}

// New takes the text of an expression that is right.
func New(text string) *Regexp {
	r := &Regexp{text: text}
	if underTest {
		r.get()
	}
	return r
}

var underTest = strings.HasSuffix(strings.TrimSuffix(os.Args[0], ".exe"), ".test")

func (r *Regexp) get() *regexp.Regexp {
	r.once.Do(func() {
		r.compiled = regexp.MustCompile(r.text) //nolint:forbidigo // here it is done when it is needed
		r.text = ""
	})
	return r.compiled
}

// MatchString is as in package regexp, and so are the others.
func (r *Regexp) MatchString(s string) bool { return r.get().MatchString(s) }

// FindString gives the first match.
func (r *Regexp) FindString(s string) string { return r.get().FindString(s) }

// FindAllString gives the first n matches.
func (r *Regexp) FindAllString(s string, n int) []string { return r.get().FindAllString(s, n) }

// FindStringSubmatch gives the first match and its parts.
func (r *Regexp) FindStringSubmatch(s string) []string { return r.get().FindStringSubmatch(s) }

// FindStringSubmatchIndex gives where they are.
func (r *Regexp) FindStringSubmatchIndex(s string) []int { return r.get().FindStringSubmatchIndex(s) }

// FindAllStringSubmatch gives the first n matches and their parts.
func (r *Regexp) FindAllStringSubmatch(s string, n int) [][]string {
	return r.get().FindAllStringSubmatch(s, n)
}

// ReplaceAllString replaces each match; $1 stands for its first part.
func (r *Regexp) ReplaceAllString(s, by string) string { return r.get().ReplaceAllString(s, by) }

// ReplaceAllLiteralString replaces each match by the text as it is.
func (r *Regexp) ReplaceAllLiteralString(s, by string) string {
	return r.get().ReplaceAllLiteralString(s, by)
}

// ReplaceAllStringFunc replaces each match by what is said of it.
func (r *Regexp) ReplaceAllStringFunc(s string, by func(string) string) string {
	return r.get().ReplaceAllStringFunc(s, by)
}

// FindSubmatch gives the first match in bytes and its parts.
func (r *Regexp) FindSubmatch(b []byte) [][]byte { return r.get().FindSubmatch(b) }

// FindAllStringSubmatchIndex gives where the first n matches and their parts are.
func (r *Regexp) FindAllStringSubmatchIndex(s string, n int) [][]int {
	return r.get().FindAllStringSubmatchIndex(s, n)
}
