package machine

import (
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// The code pages that the console of a machine knows besides UTF-8.
var codePages = map[int]*charmap.Charmap{
	437: charmap.CodePage437, 850: charmap.CodePage850, 852: charmap.CodePage852, 858: charmap.CodePage858,
	866: charmap.CodePage866, 1250: charmap.Windows1250, 1251: charmap.Windows1251, 1252: charmap.Windows1252,
}

const (
	utf8Page = 65001
	oemPage  = 437 // of a Windows in American English
)

// page is the code page of a console; everything that is started in it shares it.
type page int

// turnTo changes the code page; one that the machine has not got changes nothing.
func (p *page) turnTo(number int) bool {
	if _, ok := codePages[number]; !ok && number != utf8Page {
		return false
	}
	*p = page(number)
	return true
}

// newPage is what a client asked for when it made the shell; without a word it is that of the machine.
func newPage(asked int) *page {
	p := page(oemPage)
	p.turnTo(asked)
	return &p
}

// console is one stream of output: what programs print leaves it in the code page, with ? for what that has not got.
type console struct {
	to   io.Writer
	page *page
}

// Write implements io.Writer for text.
func (c console) Write(text []byte) (int, error) {
	table := codePages[int(*c.page)]
	if table == nil {
		return c.to.Write(text) //nolint:wrapcheck // a pipe
	}
	out := make([]byte, 0, len(text))
	for rest := text; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		rest = rest[size:]
		b, ok := table.EncodeRune(r)
		if !ok {
			b = '?'
		}
		out = append(out, b)
	}
	if _, err := c.to.Write(out); err != nil {
		return 0, err //nolint:wrapcheck // a pipe
	}
	return len(text), nil
}

// Flush sends what is held back.
func (c console) Flush() error {
	if f, ok := c.to.(interface{ Flush() error }); ok {
		return f.Flush() //nolint:wrapcheck // a pipe
	}
	return nil
}

// bytesOf is the stream for what is no text: type and more hand on the bytes they read.
func bytesOf(w io.Writer) io.Writer {
	if c, ok := w.(console); ok {
		return c.to
	}
	return w
}

func (p *process) chcp(rest string) uint32 {
	rest = strings.TrimSpace(rest)
	if rest != "" {
		if number, err := strconv.Atoi(rest); err != nil || !p.page.turnTo(number) {
			return p.fail(1, "Invalid code page\r\n")
		}
	}
	p.out("Active code page: %d\r\n", int(*p.page))
	return 0
}

func psUTF8(p *process, _ []string) bool {
	p.page.turnTo(utf8Page)
	return true
}
