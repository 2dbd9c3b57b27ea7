// Package prose says counts, times and lists as people write them, and makes what came from elsewhere safe for one line.
//
// [Counted] and [OneLine] are what most callers need; [Moment] reads a time as people write it. Every face and the text forms of the desk's results share it, so that one
// thing is called the same everywhere. It prints nothing and knows no terminal.
package prose

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/hint"
)

// Counted is "1 machine", "2 machines".
func Counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// Machines is "1 machine", "2 machines".
func Machines(n int) string { return Counted(n, "machine", "machines") }

// Number is a count in a cell of a table: empty for 0.
func Number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// Yes is a mark in a cell of a table: empty for false.
func Yes(is bool) string {
	if is {
		return "yes"
	}
	return ""
}

// Some names the first six of many.
func Some(names []string) string {
	if len(names) > 6 {
		return strings.Join(names[:6], ", ") + ", ..."
	}
	return strings.Join(names, ", ")
}

// Tally is "12 disabled, 3 not Windows", the most frequent first.
func Tally(counts map[string]int) string {
	words := make([]string, 0, len(counts))
	for word := range counts {
		words = append(words, word)
	}
	slices.SortFunc(words, func(x, y string) int {
		if counts[x] != counts[y] {
			return counts[y] - counts[x]
		}
		return strings.Compare(x, y)
	})
	for i, word := range words {
		words[i] = fmt.Sprintf("%d %s", counts[word], word)
	}
	return strings.Join(words, ", ")
}

// Counts is "130 affected, 12 suspect" in the given order, without what there is none of; "none" where nothing is left.
func Counts[K ~string](n map[K]int, order ...K) string {
	var parts []string
	for _, word := range order {
		if n[word] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[word], word))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

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
		return strconv.Itoa(int(d/time.Minute)) + "m ago"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + "h ago"
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + "d ago"
}

// Minute is a time for people and for spreadsheets alike, in UTC; empty for none.
func Minute(t time.Time) string { return at(t, "2006-01-02 15:04Z") }

// Second is [Minute] with seconds.
func Second(t time.Time) string { return at(t, "2006-01-02 15:04:05Z") }

func at(t time.Time, form string) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(form)
}

// Span prints a duration calmly: 0.4 s, 12 s, 3 min 5 s, 2 h 10 min.
func Span(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return strings.TrimSuffix(strconv.FormatFloat(d.Seconds(), 'f', 1, 64), ".0") + " s"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds()+0.5)) + " s"
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// Wrapped breaks text between words into lines of at most width columns; every line but the first is indented like the
// first one. A word that is longer than a line stays whole, and so does a command between backquotes.
func Wrapped(text string, width int) string {
	words := commandline.Fields(text)
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

// Hanging is [Wrapped] with a margin of two blanks for every line but the first.
func Hanging(text string, width int) string {
	return strings.ReplaceAll(Wrapped(text, width-2), "\n", "\n  ")
}

// Pad fills text up to width columns, and by one blank at least.
func Pad(text string, width int) string {
	if n := utf8.RuneCountInString(text); n < width {
		return text + strings.Repeat(" ", width-n)
	}
	return text + " "
}

// Short is [OneLine] without runs of blanks, cut after so many characters; 0 cuts nothing.
func Short(text string, longest int) string {
	text = strings.Join(strings.Fields(OneLine(text)), " ")
	if runes := []rune(text); longest > 0 && len(runes) > longest {
		return string(runes[:longest]) + " ..."
	}
	return text
}

// Lines adds the first lines of a list to a text; the machine-readable forms hold all.
func Lines(b *strings.Builder, title string, lines []string) {
	for i, line := range lines {
		if i == 20 {
			fmt.Fprintf(b, "  %s: and %d more; -o json lists all\n", title, len(lines)-i)
			return
		}
		fmt.Fprintf(b, "  %s: %s\n", title, OneLine(line))
	}
}

var momentForms = []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02 15:04Z07:00", "2006-01-02 15:04:05Z07:00", time.DateOnly}

// Moment reads the point in time that a flag says: a day (which begins in UTC), a time with its offset, or a span before now. Empty is
// the zero time; anything else is a *hint.MistakeError.
func Moment(flag, text string, now time.Time) (time.Time, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return time.Time{}, nil
	}
	if span, err := time.ParseDuration(text); err == nil {
		return now.Add(-span).UTC(), nil
	}
	for _, form := range momentForms {
		if t, err := time.Parse(form, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, hint.Mistake(fmt.Errorf("%s %q is no point in time", flag, text), "write 2024-07-19, 2024-07-19T04:09Z, 2024-07-19T06:09+02:00, or 24h for a day ago")
}
