package terminal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Itoa is strconv.Itoa.
func Itoa(n int) string { return strconv.Itoa(n) }

// Counted is "1 machine", "2 machines".
func Counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Itoa(n) + " " + many
}

// Machines is "1 machine", "2 machines".
func Machines(n int) string { return Counted(n, "machine", "machines") }

// Ago is how long ago t was, in the largest unit that says enough; empty for the zero time.
func Ago(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := now.Sub(t)
	switch {
	case d < 0:
		return t.Local().Format("2006-01-02 15:04")
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return Itoa(int(d/time.Minute)) + "m ago"
	case d < 48*time.Hour:
		return Itoa(int(d/time.Hour)) + "h ago"
	}
	return Itoa(int(d/(24*time.Hour))) + "d ago"
}

// Span prints a duration calmly: 0.4 s, 12 s, 3 min 5 s, 2 h 10 min.
func Span(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return strings.TrimSuffix(strconv.FormatFloat(d.Seconds(), 'f', 1, 64), ".0") + " s"
	case d < time.Minute:
		return Itoa(int(d.Seconds()+0.5)) + " s"
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// marshal is json.Marshal without the escapes that only HTML needs.
func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// Joined is words with commas between them.
func Joined(words []string) string { return strings.Join(words, ", ") }

// Wrapped breaks text between words into lines of at most width columns; every line but the first is indented like the
// first one. A word that is longer than a line stays whole.
func Wrapped(text string, width int) string {
	words := strings.Fields(text)
	if len(words) == 0 {
		return text
	}
	margin := text[:len(text)-len(strings.TrimLeft(text, " "))]
	var b strings.Builder
	b.WriteString(margin + words[0])
	column := len(margin) + utf8.RuneCountInString(words[0])
	for _, word := range words[1:] {
		if n := utf8.RuneCountInString(word); column+1+n >= width {
			b.WriteString("\n" + margin + word)
			column = len(margin) + n
		} else {
			b.WriteString(" " + word)
			column += 1 + n
		}
	}
	return b.String()
}

// Pad fills text up to width columns, and by one blank at least.
func Pad(text string, width int) string {
	if n := utf8.RuneCountInString(text); n < width {
		return text + strings.Repeat(" ", width-n)
	}
	return text + " "
}

// OneLine makes text safe for one line of a terminal: no control characters, no escape sequences.
func OneLine(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\t':
			return ' '
		case r < ' ', r == 0x7f, r >= 0x80 && r < 0xa0, r == 0x200e, r == 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return -1 // controls, and what turns the direction of a line
		}
		return r
	}, text)
}

// WriteJSONLine writes value as one line of JSON.
func WriteJSONLine(w io.Writer, value any) error {
	line, err := marshal(value)
	if err == nil {
		_, err = fmt.Fprintf(w, "%s\n", line)
	}
	return err
}

// Lines prints the first lines of a list; the machine-readable forms hold all.
func Lines(w io.Writer, title string, lines []string) {
	for i, line := range lines {
		if i == 20 {
			fmt.Fprintf(w, "  %s: and %d more; -o json lists all\n", title, len(lines)-i)
			return
		}
		fmt.Fprintf(w, "  %s: %s\n", title, OneLine(line))
	}
}
