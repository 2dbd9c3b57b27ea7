package csv_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/inventory/csv"
)

func TestJSONReadsBack(t *testing.T) {
	in := []inventory.Machine{{ID: "01J", Name: "WS1", FQDN: "ws1.fleet.test", OS: inventory.OS{Build: 22631}, Tags: []string{"a", "b"}, Enabled: false, Priority: 5,
		Health: inventory.HealthAffected, LastSeen: seen, Claims: inventory.Claims{SID: "S-1-5-21-1"}, Groups: []string{"CN=A,DC=x"}},
		{ID: "01K", Name: "WS2", Enabled: true, Priority: 100}}
	var out bytes.Buffer
	if err := csv.WriteJSON(&out, in); err != nil {
		t.Fatal(err)
	}
	lines := strings.TrimSpace(strings.NewReplacer("[\n", "", "\n]", "", ",\n", "\n").Replace(out.String()))
	for _, text := range []string{out.String(), lines} {
		records, _, err := csv.ReadJSON(strings.NewReader(text), csv.Options{Source: "json:x", SeenAt: seen})
		if err != nil || len(records) != 2 {
			t.Fatalf("%v %+v\n%s", err, records, text)
		}
		for i, r := range records {
			for _, f := range inventory.RecordFields() {
				if want, _ := in[i].Field(f); r.Fields[f] != want {
					t.Errorf("%s: %q, want %q", f, r.Fields[f], want)
				}
			}
			if r.Source != "json:x" || r.SourceKey != in[i].ID {
				t.Errorf("%+v", r)
			}
		}
	}
	records, _, err := csv.ReadJSON(strings.NewReader(`{"source_key":"k","seen_at":"2024-07-19T06:00:00Z","source":"other","fields":{"name":"ws1","tags":"a,b"}}`), csv.Options{Source: "json:x"})
	if err != nil || records[0].Fields["name"] != "ws1" || records[0].Source != "json:x" || !records[0].SeenAt.Equal(seen) {
		t.Errorf("%+v %v", records, err)
	}
}

func TestJSONDuplicatesHaveTheirLines(t *testing.T) {
	text := "[\n{\"name\":\"WS1\"},\n{\"name\":\n\"WS2\"}, {\"name\":\"WS3\"},\n\n{\"name\":\"ws1\"}, {\"name\":\"WS3\"}]"
	_, report, err := csv.ReadJSON(strings.NewReader(text), csv.Options{Source: "json:x"})
	if want := []string{"ws1 stands in lines 2 and 6; line 2 was taken", "ws3 stands in lines 4 and 6; line 4 was taken"}; err != nil || !slices.Equal(report.Duplicates, want) {
		t.Errorf("%q, want %q (%v)", report.Duplicates, want, err)
	}
}

func TestJSONErrorsHaveAPlace(t *testing.T) {
	for text, want := range map[string]string{
		"[\n{\"name\":\"WS1\"},\n{\"name\":\"WS2\",\"sitte\":\"x\"}]": `line 3, column 15: unknown key "sitte", did you mean "site"?`,
		"{\"name\":\"WS1\"}\n{\"name\":7}":                            "line 2, column ",
		"[{\"name\":\"WS1\"},\n{\"name\" 1}]":                         "line 2, column 9",
		"[{\"name\":\"WS1\"}":                                         "line 1, column ",
		"[{\"name\":\"WS1\"}] x":                                      "text after the end",
		"7":                                                           "expected an object",
		"{\"site\":\"x\"}":                                            "the machine has no name",
		"{\"source_key\":\"k\",\"fields\":{\n\"os.bild\":\"1\"}}": `line 2, column 1: unknown field "os.bild", did you mean "os.build"?`,
		"{\"fields\":{}}": "no source_key",
	} {
		_, _, err := csv.ReadJSON(strings.NewReader(text), csv.Options{Source: "json:x"})
		var at *csv.JSONError
		if !errors.As(err, &at) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n%v, want %q", text, err, want)
		}
	}
	for _, text := range []string{"", "[]", " \n"} {
		if _, _, err := csv.ReadJSON(strings.NewReader(text), csv.Options{}); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func FuzzReadJSON(f *testing.F) {
	f.Add(`[{"name":"WS1","os":{"build":1}},{"fields":{"name":"x"},"source_key":"y"}]`)
	f.Add("{\"name\":\"WS1\"}\n{\"fqdn\":\"a.b\"}")
	f.Fuzz(func(t *testing.T, text string) {
		defer bounded.Input(t, len(text))()
		records, _, err := csv.ReadJSON(strings.NewReader(text), csv.Options{Source: "j"})
		for _, r := range records {
			if err != nil || r.SourceKey == "" {
				t.Fatalf("%v %+v", err, r)
			}
		}
	})
}
