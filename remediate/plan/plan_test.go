package plan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

var now = time.Date(2024, 7, 19, 4, 12, 33, 123456789, time.FixedZone("CEST", 7200))

func input(n int) plan.Input {
	in := plan.Input{Options: plan.DefaultOptions(), Now: now, Operator: "ada", Selector: `site == "LON"`}
	in.Source = plan.Source{Digest: "sha256:abc", Parameters: map[string]string{"service": "Spooler"}, Playbook: playbook.Playbook{
		Name:   "p",
		Detect: []playbook.Condition{{Registry: `HKEY_LOCAL_MACHINE\X`, Name: "v", Equals: int64(9007199254740993)}, {Registry: "y", Equals: []string{"a", "b"}}},
		Fix:    []playbook.Action{{Registry: &playbook.RegistryChange{Key: `HKEY_LOCAL_MACHINE\X`, Name: "v", Value: 4.0}}},
		Verify: []playbook.Condition{{BCD: "safeboot", Present: new(bool)}},
	}}
	for i := range n {
		in.Entries = append(in.Entries, plan.Entry{Target: route.Target{ID: fmt.Sprintf("id%06d", i), Name: fmt.Sprintf("PC%06d", i), Address: "10.0.0.1:5985",
			Site: "LON", Subnet: "10.0.0.0/24", Class: "workstation"}, Route: "winrm", Reason: "WinRM answers"})
	}
	return in
}

func TestParseWavesAndCut(t *testing.T) {
	for _, c := range []struct {
		spec  string
		fleet int
		want  string // name=size of each wave
	}{
		{"", 7, "100%=7"},
		{"1,10,10%,100%", 200, "1=1 10=10 10%=9 100%=180"},
		{"1,10,10%,100%", 11, "1=1 10=10"},         // nothing is left for the percentages
		{"1,10,10%,100%", 50, "1=1 10=10 100%=39"}, // a tenth was passed already
		{"1,10,100%", 3, "1=1 10=2"},
		{"10%,50%,100%", 3, "10%=1 50%=1 100%=1"}, // rounded up: a wave never stops short
		{" 5 , 33.3% ,100%", 1000, "5=5 33.3%=328 100%=667"},
		{"29%,100%", 100, "29%=29 100%=71"}, // 0.29*100 is 28.999... in binary
	} {
		sizes, err := plan.ParseWaves(c.spec)
		if err != nil {
			t.Errorf("%q: %v", c.spec, err)
			continue
		}
		in := input(c.fleet)
		in.Waves = sizes
		p, err := plan.New(in)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range p.Waves {
			got = append(got, fmt.Sprintf("%s=%d", w.Name, len(w.Entries)))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q of %d: %v, want %s", c.spec, c.fleet, got, c.want)
		}
	}
	for _, spec := range []string{"1", "1,10", "10%", "0,100%", "-1,100%", "50%,10%,100%", "100%,5", "100%,100%", "101%", "NaN%,100%", "0x1%,100%", "1,,100%", "one,100%", "0%,100%", "%", "99999999999999999999,100%"} {
		if sizes, err := plan.ParseWaves(spec); err == nil || len(hint.Of(err)) == 0 {
			t.Errorf("%q: accepted or without a hint: %v %v", spec, sizes, err)
		}
	}
}

func FuzzParseWaves(f *testing.F) {
	for _, s := range []string{"1,10,10%,100%", "", "100%", "3,33.3%,100%", "1e9%,100%"} {
		f.Add(s, 57)
	}
	f.Fuzz(func(t *testing.T, spec string, fleet int) {
		defer bounded.Input(t, len(spec))()
		sizes, err := plan.ParseWaves(spec)
		if err != nil {
			return
		}
		in := input(max(1, fleet&0xff))
		in.Waves = sizes
		p, err := plan.New(in)
		if err != nil {
			t.Fatalf("%q: %v", spec, err)
		}
		for _, w := range p.Waves {
			if len(w.Entries) == 0 {
				t.Errorf("%q: wave %s is empty", spec, w.Name)
			}
		}
	})
}

func TestOrder(t *testing.T) {
	in := input(0)
	add := func(name, class string, priority int, canary bool) {
		in.Entries = append(in.Entries, plan.Entry{Target: route.Target{ID: name, Name: name, Class: class, Priority: priority}, Route: "winrm", Canary: canary})
	}
	add("DC1", "dc", 0, false)
	add("SRV", "server", 0, false)
	add("B", "workstation", 0, false)
	add("A", "", 0, false)
	add("LATER", "workstation", 5, false)
	add("DCFIRST", "dc", -1, false)
	add("CANARY", "workstation", 9, true)
	p, err := plan.New(in)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range p.Waves[0].Entries {
		got = append(got, e.Name)
	}
	if want := "CANARY DCFIRST A B SRV DC1 LATER"; strings.Join(got, " ") != want {
		t.Errorf("order %v, want %s", got, want)
	}
	if in.Entries[0].Name != "DC1" {
		t.Error("the caller's entries were moved")
	}
}

func TestSaveAndLoad(t *testing.T) {
	in := input(30)
	in.Entries[3].Name = "bad\xffutf8 <&> \u2028"
	in.Skipped = []plan.Skip{{ID: "x", Name: "X", Reason: "no route"}}
	p, err := plan.New(in)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "plan.json")
	for range 2 { // the second one replaces the first
		if err := p.Save(path); err != nil {
			t.Fatal(err)
		}
	}
	if files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v %v", files, err)
	}
	back, err := plan.Load(path, now)
	if err != nil {
		t.Fatal(err)
	}
	if back.Playbook.Detect[0].Equals != int64(9007199254740993) || !reflect.DeepEqual(back.Playbook.Detect[1].Equals, []string{"a", "b"}) {
		t.Errorf("values lost their type: %#v", back.Playbook.Detect)
	}
	back.Playbook.Fix[0].Registry.Value = 4.0 // a whole number comes back as an integer
	if !reflect.DeepEqual(p, back) {
		t.Errorf("plan changed on disk:\n%+v\n%+v", p, back)
	}
	if err := back.Seal(); err != nil || back.Digest != p.Digest {
		t.Errorf("digest changed: %v", err)
	}

	if _, err := plan.Load(path, now.Add(25*time.Hour)); !is[*plan.ExpiredError](err) {
		t.Errorf("expired: %v", err)
	}
	if err := back.Check("sha256:abc"); err != nil {
		t.Error(err)
	}
	if err := back.Check("sha256:def"); !is[*plan.ChangedError](err) || len(hint.Of(err)) == 0 {
		t.Errorf("changed playbook: %v", err)
	}
}

func is[E error](err error) bool { _, ok := errors.AsType[E](err); return ok }

func TestLoadRefuses(t *testing.T) {
	p, err := plan.New(input(3))
	if err != nil {
		t.Fatal(err)
	}
	data, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) []byte {
		if !bytes.Contains(data, []byte(old)) {
			t.Fatalf("no %q in the plan", old)
		}
		return bytes.Replace(data, []byte(old), []byte(new), 1)
	}
	edited := func(err error) bool { return is[*plan.EditedError](err) }
	for name, c := range map[string]struct {
		data []byte
		want func(error) bool
	}{
		"edited address": {replace("10.0.0.1:5985", "10.0.0.2:5985"), edited},
		"edited gate":    {replace(`"percent": 10`, `"percent": 90`), edited},
		"unknown field":  {replace(`"version": 1,`, `"version": 1, "extra": true,`), edited},
		"no digest":      {replace(p.Digest, ""), edited},
		"version":        {replace(`"version": 1`, `"version": 2`), is[*plan.VersionError]},
		"truncated":      {data[:len(data)/2], func(err error) bool { return strings.Contains(err.Error(), "no plan file") }},
		"other JSON":     {[]byte(`{"machines": []}`), func(err error) bool { return strings.Contains(err.Error(), "no plan file") }},
		"empty file":     {nil, func(err error) bool { return strings.Contains(err.Error(), "no plan file") }},
	} {
		path := filepath.Join(t.TempDir(), "plan.json")
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := plan.Load(path, now); err == nil || !c.want(err) || len(hint.Of(err)) == 0 {
			t.Errorf("%s: %v, hints %q", name, err, hint.Of(err))
		}
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Decode(compact.Bytes()); err != nil {
		t.Errorf("white space matters: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*plan.Input)
		want   func(error) bool
	}{
		"empty":        {func(in *plan.Input) { in.Entries = nil }, is[*plan.EmptyError]},
		"twice":        {func(in *plan.Input) { in.Entries[1].ID = in.Entries[0].ID }, is[*plan.DuplicateError]},
		"forks":        {func(in *plan.Input) { in.Options.Forks = 0 }, nil},
		"timeout":      {func(in *plan.Input) { in.Options.Timeout = 0 }, nil},
		"mode":         {func(in *plan.Input) { in.Mode = agent.Verify }, nil},
		"undo nothing": {func(in *plan.Input) { in.Mode = agent.Undo }, nil},
		"undo badly":   {func(in *plan.Input) { in.Mode, in.Undoes = agent.Undo, "a/b" }, nil},
		"no route":     {func(in *plan.Input) { in.Entries[0].Route = "" }, nil},
		"short waves":  {func(in *plan.Input) { in.Waves = []plan.Size{{Text: "1", Count: 1}} }, nil},
	} {
		in := input(3)
		c.change(&in)
		if p, err := plan.New(in); err == nil || c.want != nil && !c.want(err) {
			t.Errorf("%s: %v %v", name, p, err)
		}
	}
}

// Nobody sees the list of a plan that is refused: the refusal itself says why each machine was left out.
func TestARefusalSaysWhyMachinesWereLeftOut(t *testing.T) {
	in := input(1)
	in.Entries = nil
	in.Skipped = []plan.Skip{{Name: "A", Reason: "off"}, {Name: "B", Reason: "run 7 of eve has it"}, {Name: "C", Reason: "run 7 of eve has it"}, {Name: "D", Reason: "x"}, {Name: "E", Reason: "y"}, {Name: "F", Reason: "z"}}
	_, err := plan.New(in)
	if want := []string{"left out were B and 1 more: run 7 of eve has it; A: off; D: x; 2 more reasons"}; !slices.Equal(hint.Of(err), want) {
		t.Errorf("%v %q", err, hint.Of(err))
	}
}

func BenchmarkPlan50000(b *testing.B) {
	in := input(50_000)
	in.Waves, _ = plan.ParseWaves("1,10,10%,100%")
	path := filepath.Join(b.TempDir(), "plan.json")
	b.Run("new+save", func(b *testing.B) {
		for b.Loop() {
			p, err := plan.New(in)
			if err != nil {
				b.Fatal(err)
			}
			if err := p.Save(path); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "ratio-of-1-s")
	})
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			if _, err := plan.Load(path, now); err != nil {
				b.Fatal(err)
			}
		}
	})
}
