package sheet

import (
	"bytes"
	"fmt"
	"strings"
	"sync"

	"codeberg.org/go-pdf/fpdf"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gomonobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/sfnt"
)

// The fonts that are inside a PDF: the Go fonts (Bigelow & Holmes, BSD licence), which have the letters of Latin, Greek and
// Cyrillic. Fonts for all of Unicode would make the program four times as large.
const (
	fontText = "Go"
	fontMono = "GoMono"
)

// addFonts gives a PDF the fonts; only the letters that are used get into the file.
func addFonts(p *fpdf.Fpdf) {
	p.AddUTF8FontFromBytes(fontText, "", bytes.Clone(goregular.TTF)) // which it writes into
	p.AddUTF8FontFromBytes(fontText, "B", bytes.Clone(gobold.TTF))
	p.AddUTF8FontFromBytes(fontMono, "B", bytes.Clone(gomonobold.TTF))
}

// glyphs is the font by which it is judged what can be printed; the three have the same letters (a test compares them).
var glyphs = sync.OnceValues(func() (*sfnt.Font, error) { return sfnt.Parse(goregular.TTF) })

func printable(r rune) bool {
	f, err := glyphs()
	if err != nil || r < ' ' {
		return false
	}
	var b sfnt.Buffer
	index, err := f.GlyphIndex(&b, r)
	return err == nil && index != 0
}

// letters gives a text as the fonts can print it: a character that they do not have stands as its number, [6771].
func letters(s string) string {
	var b strings.Builder
	for _, r := range s {
		if printable(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "[%04X]", r)
		}
	}
	return b.String()
}

// unprintable lists the characters of a text that the fonts do not have, each once.
func unprintable(s string) []string {
	var out []string
	seen := map[rune]bool{}
	for _, r := range s {
		if !printable(r) && !seen[r] {
			seen[r] = true
			out = append(out, fmt.Sprintf("U+%04X", r))
		}
	}
	return out
}

// fit sets the size at which a text is at most wide, between size and least, and cuts out its middle where that is not
// enough. A text that may not be cut, and does not fit, gives "".
func fit(p *fpdf.Fpdf, family, style, s string, size, least, wide float64, cut bool) string {
	p.SetFont(family, style, size)
	for p.GetStringWidth(s) > wide && size > least {
		size--
		p.SetFontSize(size)
	}
	if p.GetStringWidth(s) <= wide {
		return s
	}
	if !cut {
		return ""
	}
	all := []rune(s)
	for n := min(len(all), 400); n > 0; n-- {
		head := 2 * n / 3
		if short := string(all[:head]) + "…" + string(all[len(all)-(n-head):]); p.GetStringWidth(short) <= wide {
			return short
		}
	}
	return "…"
}
