package inventory

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
)

// What is stored must not change its form: a record is unchanged if its text is.
func TestEncodeIsJSON(t *testing.T) {
	for _, fields := range []map[string]string{nil, {}, {"a": ""}, {"name": "WS1", "os.name": "Windows 11 Pro"},
		{"b": `C:\x "y"`, "a": "Müller <m@x> & ü\u2028\x7f\x00\n\xff", "ä\"": "~ "}} {
		want, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		if fields == nil {
			want = []byte("{}")
		}
		if got := encode(slices.Sorted(maps.Keys(fields)), fields); got != string(want) {
			t.Errorf("%q: %s instead of %s", fields, got, want)
		}
	}
}
