package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

// saidAgain are the flags of run that the proposed one says as well, each with a value that is not the usual one, and the work in whose
// place it has, where that is another than the dry run of the test.
var saidAgain = map[string]struct {
	value string
	work  []string
}{
	"on": {value: `name != "x"`}, "exclude": {value: "NOBODY*"}, "incident": {value: "walked"}, "set": {"service=Spooler", []string{"disable-service"}},
	"command": {"exit 0", []string{}}, "script": {"my fix.cmd", []string{}}, "arg": {"two words", []string{"--script", "my fix.cmd"}}, "reboot": {value: "always"}, "reboot-wait": {value: "7m0s"},
	"force": {work: []string{"wrong.yaml"}}, "accept-permanent": {work: []string{"mark.yaml"}},
	"waves": {value: "2,100%"}, "forks": {value: "7"}, "per-site": {value: "3"}, "per-subnet": {value: "4"}, "max-fail": {value: "17%"}, "max-unreachable": {value: "30%"},
	"max-denied": {value: "5"}, "soak": {value: "1s"}, "approve": {}, "chase": {}, "retries": {value: "1"}, "sign-ins": {value: "1"}, "backoff": {value: "1s"},
	"machine-timeout": {value: "5m0s"}, "run-timeout": {value: "9m0s"}, "password-file": {value: "password"}, "foreground": {},
	"config": {value: "fleetmend.yaml"}, "state-dir": {value: "state"},
}

// notSaidAgain are those that it does not say, each with the reason.
var notSaidAgain = map[string]string{
	"dry-run":           "what is proposed is to do it",
	"yes":               "whoever types it agrees to its plan, or does not",
	"html":              "its report would overwrite the one that proposes it",
	"detailed-exitcode": "of a dry run alone, and what it ends with does not change what it does",
	"min-sample":        "does nothing",
	"detect":            "a plan has what the script says, and not the file that it is in: of a pair nothing is proposed",
	"help":              "does nothing",
	"timeout":           "how long the one command was to take",
	"json":              "how the one command tells", "output": "how the one command tells", "quiet": "how the one command tells", "no-color": "how the one command tells",
	"no-input": "whoever types it can be asked", "log-file": "where the one command logs", "log-level": "what the one command logs",
}

// TestEveryFlagOfARunIsSaidAgain walks the flags of run: what a dry run proposes does the same, or there is a reason.
func TestEveryFlagOfARunIsSaidAgain(t *testing.T) {
	const detects = "playbook: mark\nsummary: Leave a mark\ndetect:\n  - service: Spooler\n    present: true\n"
	do := walked(t)
	for name, text := range map[string]string{
		"my fix.cmd": "exit 0\r\n",
		"mark.yaml":  detects + "fix:\n  - script: {shell: cmd, body: 'exit 0'}\n  - service: {name: Spooler, start: disabled}\nverify:\n  - service: Spooler\n    start: disabled\n",
		"wrong.yaml": detects + "fix:\n  - service: {name: Spooler, start: disabled}\n", // nothing is verified
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{"runs undo last --yes", "incident open walked --playbook disable-service --set service=x"} {
		if code, out, errs := do(strings.Fields(line)...); code != 0 {
			t.Fatalf("%s: exit code %d\n%s%s", line, code, out, errs)
		}
	}
	a := newApp(terminal.Streams{})
	defer a.Close()
	run, _, err := New(a).Find([]string{"run"})
	if err != nil {
		t.Fatal(err)
	}
	each := func(f *pflag.Flag) {
		t.Run(f.Name, func(t *testing.T) { saysAgain(t, do, f) })
	}
	run.LocalFlags().VisitAll(each)
	run.InheritedFlags().VisitAll(each)
}

func saysAgain(t *testing.T, do func(...string) (int, string, string), f *pflag.Flag) {
	t.Helper()
	said, is := saidAgain[f.Name]
	if reason := notSaidAgain[f.Name]; is == (reason != "") {
		t.Fatal("is it said again, or is there a reason not to? Exactly one of the two tables has to know it")
	} else if !is {
		return
	}
	work := said.work
	if work == nil {
		work = []string{"crowdstrike-channel-file-291"}
	}
	flag := []string{"--" + f.Name}
	if f.Value.Type() != "bool" {
		flag = append(flag, said.value)
	}
	args := append(append([]string{"run", "--dry-run", "-o", "json"}, work...), flag...)
	code, out, errs := do(args...)
	var report struct{ Next []struct{ Line string } }
	err := json.Unmarshal([]byte(out), &report)
	if err != nil {
		t.Fatalf("%q: exit code %d: %v\n%s%s", args, code, err, out, errs)
	}
	if f.Name == "script" {
		if flag[1], err = filepath.Abs(flag[1]); err != nil {
			t.Fatal(err)
		}
	}
	want, joined := strings.TrimPrefix(commandline.Line(flag...), commandline.Name), strings.TrimPrefix(commandline.Line(strings.Join(flag, "=")), commandline.Name)
	for _, next := range report.Next {
		if strings.Contains(next.Line+" ", " run ") && (strings.Contains(next.Line+" ", want+" ") || strings.Contains(next.Line+" ", joined+" ")) {
			return
		}
	}
	t.Errorf("%q proposes\n%v\nwithout%s", args, report.Next, want)
}
