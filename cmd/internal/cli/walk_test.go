package cli

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v4"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/media/practice"
)

// typical is one right command line for each command, on the fleet of walked: what has to stand behind the words of the command.
// Commands that are not here fail the test, so that a new one is walked as well. Those of acts change something or take long, and
// are not carried out for each format.
var typical = map[string][]string{
	"apply": {"walk.plan", "--yes"}, "completion": {"bash"}, "exit-codes": {}, "version": {}, "doctor": {},
	"playbook list": {}, "playbook show": {"disable-service"}, "playbook new": {"new.yaml"}, "playbook lint": {"disable-service"}, "playbook test": {"disable-service", "--case", "case.json", "--set", "service=x"},
	"agent export": {"exported"},
	"demo":         {"--headless", "--machines", "6"}, "sim": {"--machines", "2"}, // without --dir sim ends at once
	"audit list": {}, "audit verify": {}, "audit export": {},
	"incident list": {}, "incident status": {}, "incident machines": {}, "incident report": {}, "incident mark": {"FRA-IT-01", "--as", "excluded", "--reason", "walked"},
	"incident open": {"--playbook", "disable-service", "--set", "service=x"}, "incident close": {"walked", "--yes"},
	"keys find": {"FRA-IT-01"}, "keys show": {"FRA-IT-01", "--reason", "walked"}, "keys sheet": {"FRA-IT-01", "--reason", "walked", "--out", "sheet.pdf"}, "keys verify": {"no-such-volume"},
	"keys sync": {}, "keys import": {"keys.csv"}, "keys coverage": {}, "keys rotate": {"FRA-IT-01", "--dry-run", "--reason", "walked"}, "keys protect": {"--new-passphrase-file", "passphrase"},
	"keys status": {}, "keys unlock": {"--passphrase-file", "passphrase"}, "keys lock": {}, "keys export": {"--out", "keys.age", "--reason", "walked"},
	"keys import-snapshot": {"keys.age"},
	"inventory list":       {}, "inventory show": {"FRA-IT-01"}, "inventory import": {"machines.csv"}, "inventory sync": {}, "inventory probe": {}, "inventory tag": {"all", "x"}, "inventory export": {},
	"plan": {"crowdstrike-channel-file-291"}, "run": {"crowdstrike-channel-file-291", "--dry-run"},
	"runs list": {}, "runs show": {"last"}, "runs watch": {"last"}, "runs resume": {"last"}, "runs retry": {"last", "--yes"}, "runs undo": {"last", "--yes"},
	"media build": {"winre.wim", "--agent", "pe.exe", "-p", "disable-service", "--set", "service=x", "--out", "again.img"}, "media inspect": {"medium.img"},
	"media verify": {"medium.img"}, "media disks": {}, "media write": {"medium.img", "no-such-disk", "--yes", "--serial", "none"},
	"media collect": {"netboot"}, "media bundle": {"medium.img", "bundle"},
	"media serve": {"netboot", "--address", "127.0.0.1", "--dry-run", "--dhcp-port", "0", "--tftp-port", "0", "--http-port", "0"},
	"runs report": {"last"}, "runs pause": {"last"}, "runs stop": {"last"}, "runs approve": {"last"}, "runs cancel": {"last"},
}

var acts = map[string]bool{
	"demo": true, "sim": true, "agent export": true,
	"apply": true, "playbook new": true, "playbook test": true, "run": true, "runs watch": true, "runs resume": true, "runs retry": true, "runs undo": true,
	"media write": true, "media collect": true, "media bundle": true, "media serve": true,
	"keys protect": true, "keys unlock": true, "keys lock": true, "keys export": true, "keys import": true, "keys import-snapshot": true, "keys sheet": true, "keys rotate": true, "keys verify": true,
	"keys show": true, "incident mark": true, "incident open": true, "incident close": true, "audit verify": true,
	"runs pause": true, "runs stop": true, "runs approve": true, "runs cancel": true, "completion": true, "exit-codes": true,
}

// walked makes the fleet that the typical command lines work on, and returns what runs one.
func walked(t *testing.T) func(args ...string) (code int, out, errs string) {
	t.Helper()
	t.Chdir(t.TempDir())
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	fleet, err := simfleet.New(simfleet.Options{Machines: 6, Seed: 3, Mix: &simfleet.Mix{Affected: .5}})
	if err != nil {
		t.Fatal(err)
	}
	if err := fleet.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fleet.Close)
	if err := fleet.Write("."); err != nil {
		t.Fatal(err)
	}
	do := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		code := execute(t.Context(), terminal.Streams{In: strings.NewReader(""), Out: &out, Err: &errs, Width: 100}, args)
		return code, out.String(), errs.String()
	}
	wim, err := practice.WIM(t.Context(), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("netboot", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"winre.wim": wim, "netboot/boot.wim": wim, "pe.exe": practice.Loader("amd64")} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{"inventory import machines.csv", "run crowdstrike-channel-file-291 --yes --waves 100%", "plan disable-service --set service=x --out walk.plan",
		"media build winre.wim --agent pe.exe -p crowdstrike-channel-file-291 --out medium.img"} {
		if code, out, errs := do(strings.Fields(line)...); code != 0 {
			t.Fatalf("%s: exit code %d\n%s%s", line, code, out, errs)
		}
	}
	return do
}

// leaves calls each for every command that does something, with its words.
func leaves(t *testing.T, each func(t *testing.T, cmd *cobra.Command, words []string)) {
	t.Helper()
	a := newApp(terminal.Streams{})
	defer a.Close()
	var walk func(cmd *cobra.Command, words []string)
	walk = func(cmd *cobra.Command, words []string) {
		for _, child := range cmd.Commands() {
			if !child.Hidden && child.Name() != "help" {
				walk(child, append(slices.Clone(words), child.Name()))
			}
		}
		if len(words) > 0 && !cmd.HasSubCommands() {
			t.Run(strings.Join(words, " "), func(t *testing.T) { each(t, cmd, words) })
		}
	}
	walk(New(a), nil)
}

// TestNoFormatIsIgnored walks every command with every -o: the output is of that form, or the exit code is 2 and says which
// forms there are.
func TestNoFormatIsIgnored(t *testing.T) {
	do := walked(t)
	leaves(t, func(t *testing.T, cmd *cobra.Command, words []string) {
		args, ok := typical[strings.Join(words, " ")]
		if !ok {
			t.Fatal("add a typical command line of it to this test")
		}
		line := append(slices.Clone(words), args...)
		has := strings.Fields(cmd.Annotations["formats"])
		for _, format := range terminal.Formats {
			if format == terminal.Table && len(has) == 0 {
				continue
			}
			if !slices.Contains(has, format) {
				if code, _, errs := do(append(line, "-o", format)...); code != command.ExitUsage || !strings.Contains(errs, "has no -o "+format) {
					t.Errorf("-o %s: exit code %d\n%s", format, code, errs)
				}
				continue
			}
			if acts[strings.Join(words, " ")] {
				continue
			}
			code, out, errs := do(append(line, "-o", format)...)
			if code == command.ExitUsage || code == command.ExitError {
				t.Errorf("-o %s: exit code %d\n%s", format, code, errs)
			}
			if err := isOf(format, out); err != "" && code != command.ExitNothing {
				t.Errorf("-o %s: %s\n%s", format, err, out)
			}
		}
		if code, _, errs := do(append(line, "-o", "tabel")...); code != command.ExitUsage || len(has) > 0 && !strings.Contains(errs, "did you mean -o table?") {
			t.Errorf("-o tabel: exit code %d\n%s", code, errs)
		}
	})
}

// isOf says what keeps text from being of a format.
func isOf(format, text string) string {
	switch format {
	case terminal.JSON:
		if !json.Valid([]byte(text)) {
			return "no JSON"
		}
	case terminal.YAML:
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			return "no YAML: " + err.Error()
		}
		if _, is := value.(string); is || value == nil {
			return "text, not YAML"
		}
		if json.Valid([]byte(text)) && strings.HasPrefix(text, "{") {
			return "JSON, not YAML"
		}
	case terminal.CSV:
		rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "\ufeff"))).ReadAll()
		if err != nil || len(rows) == 0 || len(rows[0]) < 2 {
			return "no CSV"
		}
	case terminal.Name:
		for line := range strings.Lines(text) {
			if strings.Contains(strings.TrimSpace(line), "  ") {
				return "more than a name in a line"
			}
		}
	}
	return ""
}

var zeroMeans = regexp.MustCompile(`\(0: |\b0 |from 0`)

// TestCountsThatCannotBe walks every flag that is a count: -1 is refused with exit code 2, and so is 0 where the help does not say
// what it means.
func TestCountsThatCannotBe(t *testing.T) {
	do := walked(t)
	leaves(t, func(t *testing.T, cmd *cobra.Command, words []string) {
		line := append(slices.Clone(words), typical[strings.Join(words, " ")]...)
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !slices.Contains([]string{"int", "duration", "uint", "int64"}, f.Value.Type()) || cmd.InheritedFlags().Lookup(f.Name) != nil || f.Deprecated != "" {
				return
			}
			unit := map[string]string{"duration": "s"}[f.Value.Type()]
			wrong := []string{"-1" + unit}
			if !zeroMeans.MatchString(f.Usage) {
				wrong = append(wrong, "0"+unit)
			}
			for _, value := range wrong {
				if code, _, errs := do(append(line, "--"+f.Name+"="+value)...); code != command.ExitUsage {
					t.Errorf("--%s %s: exit code %d, want 2; its help: %s\n%s", f.Name, value, code, f.Usage, errs)
				}
			}
		})
	})
}

// TestWrongUseNamesTheNearest walks every command with a mistyped flag, and every noun with a mistyped verb.
func TestWrongUseNamesTheNearest(t *testing.T) {
	leaves(t, func(t *testing.T, _ *cobra.Command, words []string) {
		var out, errs bytes.Buffer
		code := execute(t.Context(), terminal.Streams{In: strings.NewReader(""), Out: &out, Err: &errs, Width: 100}, append(slices.Clone(words), "--outptu", "json"))
		if code != command.ExitUsage || !strings.Contains(errs.String(), "did you mean --output?") {
			t.Errorf("--outptu: exit code %d\n%s", code, errs.String())
		}
		if len(words) < 2 {
			return
		}
		errs.Reset()
		behind := []string{"a b", "--odd", "x"}
		for _, at := range [][]int{{0}, {len(words) - 1}, {0, len(words) - 1}} {
			mistyped := append(slices.Clone(words), behind...)
			for _, i := range at {
				mistyped[i] += "x"
			}
			errs.Reset()
			code = execute(t.Context(), terminal.Streams{In: strings.NewReader(""), Out: &out, Err: &errs, Width: 100}, mistyped)
			if want := commandline.Line(append(slices.Clone(words), behind...)...); code != command.ExitUsage || !strings.Contains(errs.String(), "did you mean `"+want+"`?") {
				t.Errorf("%q: exit code %d, and not %s\n%s", mistyped, code, want, errs.String())
			}
		}
	})
}

// TestNothingIsSaidTwice walks every flag of one value: a second, other one is refused, for the first would be forgotten in silence. One
// that is empty is the variable of a script that nobody set.
func TestNothingIsSaidTwice(t *testing.T) {
	values := map[string][2]string{"bool": {"true", "false"}, "duration": {"1s", "2s"}, "string": {"a", "b"}}
	refused := func(t *testing.T, why string, line ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		code := execute(t.Context(), terminal.Streams{In: strings.NewReader(""), Out: &out, Err: &errs, Width: 100}, line)
		if code != command.ExitUsage || !strings.Contains(errs.String(), why) {
			t.Errorf("%q: exit code %d\n%s", line, code, errs.String())
		}
	}
	leaves(t, func(t *testing.T, cmd *cobra.Command, words []string) {
		seen := 0
		look := func(f *pflag.Flag) {
			if _, several := f.Value.(pflag.SliceValue); several || f.Name == "help" {
				return
			}
			seen++
			if f.Value.Type() == "stringToString" {
				refused(t, "takes one value", append(slices.Clone(words), "--"+f.Name+"=x=a", "--"+f.Name+"=x=b")...)
				refused(t, "takes one value", append(slices.Clone(words), "--"+f.Name+"=x=a,x=b")...)
				return
			}
			v, ok := values[f.Value.Type()]
			if !ok {
				v = [2]string{"1", "2"}
			}
			refused(t, "takes one value", append(slices.Clone(words), "--"+f.Name+"="+v[0], "--"+f.Name+"="+v[1])...)
			if f.Value.Type() == "string" {
				refused(t, "empty", append(slices.Clone(words), "--"+f.Name+"= ")...)
			}
		}
		cmd.LocalFlags().VisitAll(look)
		cmd.InheritedFlags().VisitAll(look)
		if seen < 10 {
			t.Errorf("only %d flags were looked at", seen)
		}
		refused(t, "empty", append(slices.Clone(words), "")...)
	})
}

// What is said twice alike is said once.
func TestTheSameMayBeSaidAgain(t *testing.T) {
	var out, errs bytes.Buffer
	if code := execute(t.Context(), terminal.Streams{In: strings.NewReader(""), Out: &out, Err: &errs, Width: 100}, strings.Fields("version -o json -o json -q -q")); code != 0 {
		t.Errorf("exit code %d\n%s", code, errs.String())
	}
}

// TestTimeoutEndsEveryCommand walks every command with a time in which nothing can be done.
func TestTimeoutEndsEveryCommand(t *testing.T) {
	do := walked(t)
	leaves(t, func(t *testing.T, _ *cobra.Command, words []string) {
		_ = os.Remove("new.yaml")
		code, _, errs := do(append(append(slices.Clone(words), typical[strings.Join(words, " ")]...), "--timeout", "1ns")...)
		if code != command.ExitTimeout || strings.Contains(errs, "context") {
			t.Errorf("exit code %d\n%s", code, errs)
		}
	})
}

// Nobody but a programmer knows what a context is: Ctrl-C and --timeout are said in words.
func TestInterruptionsAreSaidInWords(t *testing.T) {
	for err, want := range map[error]string{
		context.Canceled: "interrupted", fmt.Errorf("open the vault: %w", context.DeadlineExceeded): "open the vault: out of time",
	} {
		if got := plain(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestFlagsThatExcludeEachOther: what cobra says of flags is wrong use as well.
func TestFlagsThatExcludeEachOther(t *testing.T) {
	for _, line := range []string{"keys sheet --passphrase-file x --keyring FRA", "incident mark --undo --list", "media build --passphrase-file x --keyring w.wim"} {
		var out, errs bytes.Buffer
		code := execute(t.Context(), terminal.Streams{In: strings.NewReader(""), Out: &out, Err: &errs, Width: 100}, strings.Fields(line))
		if code != command.ExitUsage {
			t.Errorf("%s: exit code %d\n%s", line, code, errs.String())
		}
	}
}

// TestTheHelpNamesCommandsThatAreThere: what the line of a noun lists behind its colon can be typed.
func TestTheHelpNamesCommandsThatAreThere(t *testing.T) {
	a := newApp(terminal.Streams{})
	defer a.Close()
	named := 0
	for _, noun := range New(a).Commands() {
		_, list, _ := strings.Cut(noun.Short, ": ")
		if !noun.HasSubCommands() {
			continue
		}
		for word := range strings.SplitSeq(list, ", ") {
			if word != "" && !slices.ContainsFunc(noun.Commands(), func(c *cobra.Command) bool { return c.Name() == word }) {
				t.Errorf("%s %s does not exist: %s", noun.Name(), word, noun.Short)
			}
			named++
		}
	}
	if named < 20 {
		t.Errorf("%d commands are named", named)
	}
}
