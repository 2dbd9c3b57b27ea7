package prose_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/prose"
)

func TestWords(t *testing.T) {
	now := time.Date(2024, 7, 19, 12, 0, 0, 0, time.UTC)
	var many strings.Builder
	prose.Lines(&many, "remark", strings.Split(strings.Repeat("x\n", 22), "\n"))
	for _, c := range []struct{ name, got, want string }{
		{"one", prose.Machines(1), "1 machine"},
		{"none", prose.Machines(0), "0 machines"},
		{"number", prose.Number(0) + prose.Number(7), "7"},
		{"yes", prose.Yes(false) + prose.Yes(true), "yes"},
		{"some", prose.Some(strings.Split("a b c d e f g", " ")), "a, b, c, d, e, f, ..."},
		{"all of six", prose.Some(strings.Split("a b c d e f", " ")), "a, b, c, d, e, f"},
		{"tally", prose.Tally(map[string]int{"b": 2, "a": 2, "c": 9}), "9 c, 2 a, 2 b"},
		{"counts", prose.Counts(map[string]int{"b": 2, "a": 1, "c": 0}, "a", "c", "b"), "1 a, 2 b"},
		{"no counts", prose.Counts(map[string]int{}, "a"), "none"},
		{"never", prose.Ago(time.Time{}, now), ""},
		{"now", prose.Ago(now.Add(-59*time.Second), now), "just now"},
		{"hours", prose.Ago(now.Add(-47*time.Hour), now), "47h ago"},
		{"days", prose.Ago(now.Add(-48*time.Hour), now), "2d ago"},
		{"minute", prose.Minute(now.In(time.FixedZone("", 7200))) + prose.Minute(time.Time{}), "2024-07-19 12:00Z"},
		{"second", prose.Second(now), "2024-07-19 12:00:00Z"},
		{"tenths", prose.Span(400 * time.Millisecond), "0.4 s"},
		{"whole", prose.Span(2 * time.Second), "2 s"},
		{"minutes", prose.Span(185 * time.Second), "3 min 5 s"},
		{"long", prose.Span(130 * time.Minute), "2 h 10 min"},
		{"wrapped", prose.Wrapped("  one two three", 10), "  one two\n  three"},
		{"hanging", prose.Hanging("one two three", 10), "one two\n  three"},
		{"padded", prose.Pad("ä", 3) + "|" + prose.Pad("long", 3) + "|", "ä  |long |"},
		{"one line", prose.OneLine("a\n\x1b[31mb\u202e\tc\u009b"), "a [31mb c"},
		{"lines", many.String(), strings.Repeat("  remark: x\n", 20) + "  remark: and 3 more; -o json lists all\n"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.name, c.got, c.want)
		}
	}
}

func TestMoments(t *testing.T) {
	now := time.Date(2024, 7, 20, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"": "0001-01-01T00:00:00Z", "24h": "2024-07-19T12:00:00Z", "2024-07-19": "2024-07-19T00:00:00Z", "2024-07-19T04:09Z": "2024-07-19T04:09:00Z",
		" 2024-07-19 06:09+02:00 ": "2024-07-19T04:09:00Z", "2024-07-19T04:09:01Z": "2024-07-19T04:09:01Z",
	} {
		if got, err := prose.Moment("--start", text, now); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%q: %s %v", text, got.Format(time.RFC3339), err)
		}
	}
	for _, text := range []string{"yesterday", "2024-07-19T04:09", "19.7.2024"} {
		if _, err := prose.Moment("--start", text, now); !hint.IsMistake(err) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestShort(t *testing.T) {
	for text, want := range map[string]string{"a\x1b[31m \n\t b\u202e\u200bc\ufeff\u2028": "a[31m bc", "12345": "12345", "123456": "12345 ...", "äöüäöü": "äöüäö ..."} {
		if got := prose.Short(text, 5+3*strings.Count(text, "[")); got != want {
			t.Errorf("%q becomes %q", text, got)
		}
	}
	if got := prose.Short(strings.Repeat("x", 10_000), 0); len(got) != 10_000 {
		t.Error(len(got))
	}
}
