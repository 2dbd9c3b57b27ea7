package inventory

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/internal/hint"
)

func selectorStore(t *testing.T) *Store {
	s := open(t)
	put(t, s, "ad:fleet.test",
		record("", "1", "name", "LON-WS1", "fqdn", "lon-ws1.fleet.test", "site", "LON", "os.name", "Windows 11 Pro", "os.version", "10.0 (22621)", "tags", "Till,canary", "health", "affected", "last_seen", time.Now().Format(time.RFC3339)),
		record("", "2", "name", "LON-WS2", "site", "LON", "os.build", "22631", "groups", "CN=Tills,OU=G,DC=fleet,DC=test;CN=All,DC=fleet,DC=test", "enabled", "false"),
		record("", "3", "name", "PAR-DC1", "site", "PAR", "class", "dc", "address", "10.9.8.7:15985", "os.name", "Windows Server 2022 Datacenter"),
		record("", "4", "name", "PAR-SRV1", "os.name", "Windows Server 2019 Standard", "last_seen", "2020-01-01"))
	return s
}

func names(machines []Machine) string {
	var out []string
	for _, m := range machines {
		out = append(out, m.Name)
	}
	return strings.Join(out, " ")
}

func TestSelectors(t *testing.T) {
	s := selectorStore(t)
	list := filepath.Join(t.TempDir(), "list, of names.txt")
	if err := os.WriteFile(list, []byte("\ufeff# broken ones\r\nlon-ws1   # till\r\n\r\nPAR-*\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := "LON-WS1 LON-WS2 PAR-DC1 PAR-SRV1"
	for text, want := range map[string]string{
		"all": all, "ALL": all, "*": all, " lon-ws1 , LON-WS2,": "LON-WS1 LON-WS2", "lon-ws1.FLEET.test": "LON-WS1", "*.fleet.test": "LON-WS1",
		"lon-ws?,10.9.8.7": "LON-WS1 LON-WS2 PAR-DC1", "10.9.*": "PAR-DC1", "LON-WS1$": "LON-WS1", "tag:till": "LON-WS1", "tag:canary,PAR-DC1": "LON-WS1 PAR-DC1",
		"group:tills": "LON-WS2", "group:CN=All,DC=fleet,DC=test": "LON-WS2", "group:CN=All,DC=fleet,DC=test,PAR-DC1": "LON-WS2 PAR-DC1",
		"XX*": "", "tag:nobody": "",
		`os.build < 22631 && os.build > 0 && site == "LON" && health == "affected"`: "LON-WS1",
		`class == "dc"`: "PAR-DC1", `class in ["server", "dc"]`: "PAR-DC1 PAR-SRV1", `class != "workstation"`: "LON-WS2 PAR-DC1 PAR-SRV1",
		`last_seen < ago("30d")`: "LON-WS2 PAR-DC1 PAR-SRV1", `last_seen > ago("1d12h")`: "LON-WS1", `name == "lon-ws1"`: "LON-WS1",
		`name in ["lon-ws1", "par-dc1"]`: "LON-WS1 PAR-DC1", `name startsWith "par"`: "PAR-DC1 PAR-SRV1", `fqdn endsWith ".FLEET.test"`: "LON-WS1",
		`!enabled`: "LON-WS2", `"Till" in tags`: "LON-WS1", `any(groups, # startsWith "CN=Tills,")`: "LON-WS2", `name matches "^(LON|PAR)-[WD]"`: "LON-WS1 LON-WS2 PAR-DC1",
		`"ad:fleet.test" in sources && not (site == "LON")`: "PAR-DC1 PAR-SRV1", `priority > 100`: "PAR-DC1", `len(tags) == 2`: "LON-WS1", `let x = site; x == "PAR"`: "PAR-DC1",
		`subnet == "10.9.8.0/24"`: "PAR-DC1", "true": all, "@" + list: "LON-WS1 PAR-DC1 PAR-SRV1", "-": "LON-WS2",
	} {
		sel, err := ParseSelector(text, strings.NewReader("LON-WS2\n"))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := s.Select(t.Context(), sel)
		if err != nil || names(got) != want {
			t.Errorf("%s: %q, want %q (%v)", text, names(got), want, err)
		}
	}
}

func TestSelectorErrors(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("# nobody\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":                       "empty selector",
		`sight == "LON"`:         `unknown field "sight"`,
		`os.bild < 3`:            `unknown field "os.bild", did you mean "os.build"?`,
		`build < 3`:              `did you mean "os.build"?`,
		`health == "afected"`:    `health is never "afected", did you mean "affected"?`,
		`class in ["srver"]`:     `did you mean "server"?`,
		`site`:                   "the expression gives text, not yes or no",
		`os.build + 1`:           "a number",
		`tags`:                   "a list",
		`last_seen`:              "a time",
		`os`:                     "a time or a group",
		`site == `:               "column",
		`os.build < "x"`:         "column 10",
		`last_seen < ago("30x")`: `"30x" is no age`,
		`last_seen < ago(site)`:  "is no age",
		"WS1 WS2":                "column",
		"@/nowhere/list":         "read names",
		"@" + empty:              "names no machine",
		"-":                      "not possible here",
		"tag:":                   "without a tag",
	} {
		if _, err := ParseSelector(text, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	_, err := ParseSelector(`sitte == "LON"`, nil)
	var unknown *UnknownFieldError
	if !errors.As(err, &unknown) || unknown.Nearest != "site" || !slices.Contains(unknown.Valid, "os.build") || len(hint.Of(err)) == 0 {
		t.Errorf("%v %+v", err, unknown)
	}
	if _, err := ParseSelector("-", strings.NewReader("WS1\nname == 2\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("%v", err)
	}
}

func TestUnknownMachinesAreNamed(t *testing.T) {
	s := selectorStore(t)
	sel, err := ParseSelector("LON-WS1,LON-WX2,nobody", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Select(t.Context(), sel)
	var unknown *UnknownMachinesError
	if !errors.As(err, &unknown) || !slices.Equal(unknown.Names, []string{"LON-WX2", "nobody"}) || unknown.Nearest["LON-WX2"] == "" || !strings.Contains(err.Error(), "LON-WX2 (did you mean LON-WS") {
		t.Errorf("%v", err)
	}
	if _, err := s.Machine(t.Context(), "lon-ws11"); !errors.As(err, &unknown) || !strings.Contains(err.Error(), "unknown machine lon-ws11 (did you mean LON-WS1?)") {
		t.Errorf("%v", err)
	}
}

// Each documented field can be used, and each field that can be used is documented.
func TestFieldsAreWhatExpressionsTake(t *testing.T) {
	for _, f := range Fields() {
		text := map[string]string{"text": f.Name + ` == ""`, "number": f.Name + " == 1", "yes/no": f.Name, "time": f.Name + ` < ago("1d")`, "list": `"x" in ` + f.Name}[f.Type]
		if sel, err := ParseSelector(text, nil); err != nil || len(sel.terms) > 0 {
			t.Errorf("%s: %v", text, err)
		}
		if f.Doc == "" {
			t.Errorf("%s has no words", f.Name)
		}
	}
	for _, name := range RecordFields() {
		if strings.HasPrefix(name, "claims.") || name == "macs" {
			continue
		}
		if !slices.ContainsFunc(Fields(), func(f Field) bool { return f.Name == name }) {
			t.Errorf("the record field %s is in no selector", name)
		}
	}
}

func FuzzParseSelector(f *testing.F) {
	for _, text := range []string{"all", "WS1,WS2", "tag:x", "group:CN=a,DC=b", `os.build < 22631 && site == "LON"`, `last_seen < ago("30d")`, "-", `any(tags, # == "x")`, "a b"} {
		f.Add(text)
	}
	var snap snapshot
	snap.machines = []Machine{{Name: "WS1"}}
	f.Fuzz(func(t *testing.T, text string) {
		defer bounded.Input(t, len(text))()
		if strings.Contains(text, "@") {
			t.Skip("names a file")
		}
		sel, err := ParseSelector(text, strings.NewReader("WS1\n"))
		if err == nil && len(sel.terms) == 0 {
			_, _ = snap.evaluate(t.Context(), sel.text, t0, nil)
		}
	})
}
