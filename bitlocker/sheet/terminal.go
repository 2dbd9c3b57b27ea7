package sheet

import (
	"fmt"
	"io"
	"strings"

	"github.com/fleetmend/fleetmend/bitlocker"
)

// Screen describes a terminal.
type Screen struct {
	Width int  // columns; 0: 80
	ASCII bool // no block characters
	Color bool // ANSI colours: the codes are black on white whatever the background
	Light bool // without Color: the background is light
	Enter bool // the codes end with Enter
}

func (s Screen) width() int {
	if s.Width <= 0 {
		return 80
	}
	return s.Width
}

// Terminal shows a password as groups, phonetic line, QR code and Code128. A Code128 that is too wide is cut into 2 to 12
// that are scanned one after the other. A code that does not fit at all is left out with a line that says so.
func Terminal(w io.Writer, p bitlocker.Password, s Screen) error {
	if p.IsZero() {
		return fmt.Errorf("show key: there is no password")
	}
	g := p.Groups()
	var b strings.Builder
	fmt.Fprintf(&b, "\n    %s\n    %s\n\n", strings.Join(g[:4], "  "), strings.Join(g[4:], "  "))
	for _, line := range Phonetic(p) {
		b.WriteString(line + "\n")
	}
	b.WriteByte('\n')
	if err := QRCode(&b, p, s); err != nil {
		return err
	}
	b.WriteByte('\n')
	if err := Code128(&b, p, s); err != nil {
		return err
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("show key: %w", err)
	}
	return nil
}

// QRCode draws the QR code with a quiet zone of 4 modules.
func QRCode(w io.Writer, p bitlocker.Password, s Screen) error {
	m, err := matrix(typed(p.Digits(), s.Enter))
	if err != nil {
		return err
	}
	const quiet = 4
	side := len(m) + 2*quiet
	columns := side
	if s.ASCII {
		columns *= 2
	}
	if columns > s.width() {
		_, err := fmt.Fprintf(w, "(the terminal is too narrow for the QR code: %d columns, %d needed)\n", s.width(), columns)
		return err
	}
	light := func(x, y int) bool { // beyond the last row, too
		x, y = x-quiet, y-quiet
		return x < 0 || y < 0 || y >= len(m) || x >= len(m) || !m[y][x]
	}
	var b strings.Builder
	step := 2
	if s.ASCII {
		step = 1
	}
	for y := 0; y < side; y += step {
		s.line(&b, func(cell func(a, b bool)) {
			for x := range side {
				if s.ASCII {
					cell(light(x, y), light(x, y))
					continue
				}
				cell(light(x, y), light(x, y+1))
			}
		}, upperLower)
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// Code128 draws the Code128, whole or in parts.
func Code128(w io.Writer, p bitlocker.Password, s Screen) error {
	digits := p.Digits()
	const quiet = 10
	perCell := 2
	if s.ASCII {
		perCell = 1
	}
	for _, parts := range []int{1, 2, 4, 8, 12} {
		var drawn [][]bool
		widest, size := 0, len(digits)/parts
		for i := range parts {
			m, err := bars(typed(digits[i*size:(i+1)*size], s.Enter && i == parts-1))
			if err != nil {
				return err
			}
			m = append(append(make([]bool, quiet), m...), make([]bool, quiet+len(m)%2)...)
			drawn, widest = append(drawn, m), max(widest, len(m))
		}
		if (widest+perCell-1)/perCell > s.width() {
			continue
		}
		return s.bars(w, drawn)
	}
	_, err := fmt.Fprintf(w, "(the terminal is too narrow for a Code128: %d columns)\n", s.width())
	return err
}

func (s Screen) bars(w io.Writer, drawn [][]bool) error {
	var b strings.Builder
	for i, m := range drawn {
		if len(drawn) > 1 {
			fmt.Fprintf(&b, "part %d of %d:\n", i+1, len(drawn))
		}
		for range 5 {
			s.line(&b, func(cell func(a, b bool)) {
				if s.ASCII {
					for _, dark := range m {
						cell(!dark, !dark)
					}
					return
				}
				for x := 0; x < len(m); x += 2 {
					cell(!m[x], x+1 >= len(m) || !m[x+1])
				}
			}, leftRight)
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Block characters for two modules of one cell, of which the first, the second, both or none has the colour of the text.
type blocks struct{ none, first, second, both string }

var (
	upperLower = blocks{" ", "▀", "▄", "█"}
	leftRight  = blocks{" ", "▌", "▐", "█"}
)

// line writes one line of cells. On a dark background the light modules are what is drawn.
func (s Screen) line(b *strings.Builder, draw func(cell func(a, b bool)), set blocks) {
	inkIsLight := s.Color || !s.Light
	if s.Color {
		b.WriteString("\x1b[38;5;231;48;5;16m")
	}
	draw(func(first, second bool) {
		first, second = first == inkIsLight, second == inkIsLight
		switch {
		case s.ASCII && first:
			b.WriteString("#")
			if set == upperLower {
				b.WriteString("#")
			}
		case s.ASCII:
			b.WriteString(" ")
			if set == upperLower {
				b.WriteString(" ")
			}
		case first && second:
			b.WriteString(set.both)
		case first:
			b.WriteString(set.first)
		case second:
			b.WriteString(set.second)
		default:
			b.WriteString(set.none)
		}
	})
	if s.Color {
		b.WriteString("\x1b[0m")
	}
	b.WriteByte('\n')
}

var digitWords = [...]string{"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "niner"}

// Phonetic gives eight lines for reading aloud, one group each with a pause in its middle. Nine is spoken "niner", so that
// it is not heard as five.
func Phonetic(p bitlocker.Password) []string {
	var lines []string
	for i, g := range p.Groups() {
		words := make([]string, 0, len(g))
		for _, r := range g {
			words = append(words, digitWords[r-'0'])
		}
		if len(words) == bitlocker.GroupSize {
			lines = append(lines, fmt.Sprintf("group %d of %d:  %s ... %s", i+1, bitlocker.GroupCount, strings.Join(words[:3], "-"), strings.Join(words[3:], "-")))
		}
	}
	return lines
}
