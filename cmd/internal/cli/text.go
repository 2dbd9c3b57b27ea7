package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

func itoa(n int) string { return strconv.Itoa(n) }

// counted is "1 machine", "2 machines".
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return itoa(n) + " " + many
}

func machinesText(n int) string { return counted(n, "machine", "machines") }

// ago is how long ago t was, in the largest unit that says enough; empty for the zero time.
func ago(t, now time.Time) string {
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
		return itoa(int(d/time.Minute)) + "m ago"
	case d < 48*time.Hour:
		return itoa(int(d/time.Hour)) + "h ago"
	}
	return itoa(int(d/(24*time.Hour))) + "d ago"
}

// span prints a duration calmly: 0.4 s, 12 s, 3 min 5 s, 2 h 10 min.
func span(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return strings.TrimSuffix(strconv.FormatFloat(d.Seconds(), 'f', 1, 64), ".0") + " s"
	case d < time.Minute:
		return itoa(int(d.Seconds()+0.5)) + " s"
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// jsonMarshal is json.Marshal without the escapes that only HTML needs.
func jsonMarshal(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

func joined(words []string) string { return strings.Join(words, ", ") }

// wrapped breaks text between words into lines of at most width columns; every line but the first is indented like the
// first one. A word that is longer than a line stays whole.
func wrapped(text string, width int) string {
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
