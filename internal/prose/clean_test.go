package prose

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// poison is one of each kind that has no place in text, between two letters.
const poison = "a\x1b[31m\u009b31m\x00\x7f\u202e\u2066\u200b\u061c\ufeff\u00ad\U000e0041b"

func TestClean(t *testing.T) {
	if got := OneLine("x\r\n\ty" + poison); got != "x   ya[31m31mb" {
		t.Errorf("%q", got)
	}
	if got := Clean("x\n\ty\r\n" + poison + "Zürich 東京-PC 🖥"); got != "x\n\ty\na[31m31mbZürich 東京-PC 🖥" {
		t.Errorf("%q", got)
	}
	for text, want := range map[string]string{"\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645": "", "\u0915\u094d\u200d\u0937": "", "👩\u200d💻 team": "", "☎\ufe0f\u200d": "",
		"ad\u200cmi\u200dn": "admin", "\u0645\u200c\u200c\u062e": "\u0645\u200c\u062e", "\u0645\u202e\u200dx": "\u0645x"} {
		if want == "" {
			want = text
		}
		var page bytes.Buffer
		if _, err := PageWriter(&page).Write([]byte(text)); err != nil || OneLine(text) != want || Clean(text) != want || page.String() != want {
			t.Errorf("%q: %q, %q, %q", text, OneLine(text), Clean(text), page.String())
		}
	}
	long := Clean(strings.Repeat("x", 100_000) + "\nshort")
	if lines := strings.Split(long, "\n"); len([]rune(lines[0])) != longestLine+1 || !strings.HasSuffix(lines[0], "…") || lines[1] != "short" {
		t.Errorf("%d, %q", len(lines[0]), lines[1])
	}
}

func TestPageWriter(t *testing.T) {
	var b bytes.Buffer
	long := strings.Repeat("x", 2*longestLine)
	if _, err := PageWriter(&b).Write([]byte(long + "\n" + poison)); err != nil || b.String() != long+"\na[31m31mb" {
		t.Errorf("%v, %d bytes", err, b.Len())
	}
}

// To a program JSON is the same as ever; what stands in it is no character that a terminal obeys.
func TestJSONWriter(t *testing.T) {
	var b bytes.Buffer
	want := map[string]string{"x": poison, "y": "Zürich 🖥"}
	if err := json.NewEncoder(JSONWriter(&b)).Encode(want); err != nil {
		t.Fatal(err)
	}
	if shown := strings.TrimSuffix(b.String(), "\n"); OneLine(shown) != shown || !strings.Contains(shown, "Zürich 🖥") {
		t.Errorf("%q", shown)
	}
	var got map[string]string
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || got["x"] != want["x"] || got["y"] != want["y"] {
		t.Errorf("%q, %v", got, err)
	}
}
