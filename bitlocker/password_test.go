package bitlocker_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/internal/hint"
)

const good = "111111-222222-333333-444444-555555-666666-000000-720885"

func TestParsePassword(t *testing.T) {
	for _, in := range []string{
		good, strings.ReplaceAll(good, "-", ""), strings.ReplaceAll(good, "-", " "), strings.ReplaceAll(good, "-", " – "),
		"\ufeff\"" + good + "\"\r\n", "'" + good, strings.ReplaceAll(good, "-", "\u00a0-\u00a0"), good + ".",
	} {
		p, err := bitlocker.ParsePassword(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if p.Reveal() != good || p.Digits() != strings.ReplaceAll(good, "-", "") || p.Groups()[7] != "720885" {
			t.Errorf("%q gave %s", in, p.Reveal())
		}
		if !bitlocker.PasswordFromNumbers(p.Numbers()).Equal(p) {
			t.Errorf("numbers do not give it back")
		}
	}
}

func TestParsePasswordNamesTheGroup(t *testing.T) {
	for _, c := range []struct {
		in     string
		groups []int
		says   string
	}{
		{strings.Replace(good, "333333", "333343", 1), []int{3}, "group 3 is mistyped"},
		{strings.Replace(good, "222222-333333", "222232-333334", 1), []int{2, 3}, "group 2 is mistyped"},
		{strings.Replace(good, "555555", "55555", 1), []int{5}, "group 5 has 5 digits instead of 6"},
		{strings.Replace(good, "555555", "5555555", 1), []int{5}, "group 5 has 7 digits"},
		{strings.Replace(good, "000000", "00000O", 1), []int{7}, "group 7 contains something other than digits"},
		{strings.Replace(good, "720885", "720896", 1), []int{8}, "group 8 is too large"},
		{strings.Replace(good, "-720885", "", 1), nil, "7 groups instead of 8"},
		{good + "-111111", nil, "9 groups instead of 8"},
		{strings.ReplaceAll(strings.Replace(good, "444444", "44444", 1), "-", ""), []int{4}, "47 characters instead of 48"},
		{"", nil, "empty"},
		{"  \r\n", nil, "empty"},
		{strings.Repeat("1", 4000), nil, "too long"},
		{"123456-231453-444122-123456-124566-123456-123456-123456", []int{1, 2, 3, 4, 5, 6, 7, 8}, "group 1"},
	} {
		p, err := bitlocker.ParsePassword(c.in)
		var pe *bitlocker.PasswordError
		if !errors.As(err, &pe) || !p.IsZero() {
			t.Errorf("%q: %v", c.in, err)
			continue
		}
		var groups []int
		for _, g := range pe.Groups {
			groups = append(groups, g.Group)
		}
		if fmt.Sprint(groups) != fmt.Sprint(c.groups) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, groups %v; want %q, groups %v", c.in, err, groups, c.says, c.groups)
		}
		for _, g := range strings.FieldsFunc(c.in, func(r rune) bool { return r == '-' }) {
			if len(g) > 3 && strings.Contains(err.Error(), g) {
				t.Errorf("%q: the error repeats digits: %v", c.in, err)
			}
		}
	}
}

// Every single wrong digit and every swap of neighbours is noticed.
func TestGroupCheckIsComplete(t *testing.T) {
	for n := 0; n <= 0xffff; n += 7 {
		g := fmt.Sprintf("%06d", n*11)
		if err := bitlocker.CheckGroup(1, g); err != nil {
			t.Fatalf("%s: %v", g, err)
		}
		for i := range g {
			for d := byte('0'); d <= '9'; d++ {
				if d == g[i] {
					continue
				}
				if bad := g[:i] + string(d) + g[i+1:]; bitlocker.CheckGroup(1, bad) == nil {
					t.Fatalf("%s for %s passed", bad, g)
				}
			}
			if i > 0 && g[i] != g[i-1] {
				if bad := g[:i-1] + string(g[i]) + string(g[i-1]) + g[i+1:]; bitlocker.CheckGroup(1, bad) == nil {
					t.Fatalf("%s for %s passed", bad, g)
				}
			}
		}
	}
}

func TestPasswordNeverPrints(t *testing.T) {
	p, err := bitlocker.ParsePassword(good)
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		P      bitlocker.Password
		hidden bitlocker.Password
		Key    bitlocker.RecoveryKey
	}
	h := holder{p, p, bitlocker.RecoveryKey{Password: p}}
	var seen strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&seen, verb, p)
		fmt.Fprintf(&seen, verb, h)
		fmt.Fprintf(&seen, verb, &h)
		fmt.Fprintf(&seen, verb, []any{p, h})
	}
	j, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	seen.Write(j)
	slog.New(slog.NewJSONHandler(&seen, nil)).Info("x", "p", p, "h", h)
	if s := seen.String(); strings.Contains(s, "111111") || strings.Contains(s, fmt.Sprintf("%x", "222222")) || !strings.Contains(s, "******") {
		t.Fatalf("it printed: %s", s)
	}
	if h.hidden.IsZero() {
		t.Fatal("the hidden one is missing")
	}
}

func TestKeyID(t *testing.T) {
	const id = "4C4B6D8A-1F2E-4D3C-9B8A-0123456789AB"
	for _, in := range []string{id, strings.ToLower(id), "{" + id + "}", strings.ReplaceAll(id, "-", ""), " " + id + " ", strings.ReplaceAll(id, "-", "–")} {
		got, err := bitlocker.ParseKeyID(in)
		if err != nil || string(got) != id {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	k := bitlocker.KeyID(id)
	guid, ok := k.GUID()
	if !ok || guid[0] != 0x8a || guid[3] != 0x4c || guid[15] != 0xab || bitlocker.KeyIDFromGUID(guid) != k || k.Short() != "4C4B6D8A" {
		t.Errorf("GUID %x", guid)
	}
	for in, want := range map[string]string{
		"4c4b6d8a": "4C4B6D8A", "4C4B6D8A-": "4C4B6D8A", "4C4B6D8A1": "4C4B6D8A-1", "4c4b6d8a...": "4C4B6D8A",
		"4C4B6D8A-1F2E-4D3C-9B": "4C4B6D8A-1F2E-4D3C-9B", id: id,
	} {
		p, err := bitlocker.ParsePrefix(in)
		if err != nil || string(p) != want || !p.Matches(k) {
			t.Errorf("%q: %q, %v", in, p, err)
		}
		if whole, ok := p.Whole(); ok != (in == id) || ok && whole != k {
			t.Errorf("%q whole %v", in, ok)
		}
	}
	if bitlocker.Prefix("").Matches(k) {
		t.Error("the empty prefix matches")
	}
	for in, says := range map[string]string{
		"4C4B6D8": "has 7 hexadecimal digits", "": "has 0", "4C4B6D8G": "place 8", id + "0": "33 hexadecimal digits", strings.Repeat("A", 5000): "more than 32",
	} {
		if _, err := bitlocker.ParsePrefix(in); err == nil || !strings.Contains(err.Error(), says) || len(err.Error()) > 200 {
			t.Errorf("%q: %v", in, err)
		}
	}
	_, err := bitlocker.ParsePrefix("4C4B6D8O")
	if h := hint.Of(err); len(h) != 1 || !strings.Contains(h[0], "digit 0") {
		t.Errorf("hints %q", h)
	}
	if _, err := bitlocker.ParsePrefix(good); err == nil || strings.Contains(err.Error(), "111111") {
		t.Errorf("a password given as key ID: %v", err)
	}
}

func FuzzParsePassword(f *testing.F) {
	for _, s := range []string{good, "", "111111", strings.ReplaceAll(good, "-", ""), good + "-", "١١١١١١", strings.ReplaceAll(good, "-", "\u2014")} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		defer bounded.Input(t, len(s))()
		p, err := bitlocker.ParsePassword(s)
		if (err == nil) == p.IsZero() {
			t.Fatalf("%q: %v", s, err)
		}
		if err != nil {
			return
		}
		again, err := bitlocker.ParsePassword(p.Reveal())
		if err != nil || !again.Equal(p) || len(p.Digits()) != 48 || !bitlocker.PasswordFromNumbers(p.Numbers()).Equal(p) {
			t.Fatalf("%q gave %q", s, p.Reveal())
		}
	})
}

func FuzzParseKeyID(f *testing.F) {
	for _, s := range []string{"4C4B6D8A-1F2E-4D3C-9B8A-0123456789AB", "{4c4b6d8a}", "", "4C4B6D8A…", "ÄÖ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		defer bounded.Input(t, len(s))()
		if id, err := bitlocker.ParseKeyID(s); err == nil {
			guid, ok := id.GUID()
			if !ok || bitlocker.KeyIDFromGUID(guid) != id {
				t.Fatalf("%q gave %q", s, id)
			}
		}
		if p, err := bitlocker.ParsePrefix(s); err == nil {
			again, err := bitlocker.ParsePrefix(string(p))
			if err != nil || again != p || len(p) < 8 {
				t.Fatalf("%q gave %q, %v", s, p, err)
			}
		}
	})
}
