package playbook

import (
	"strings"
	"testing"
)

// A pair says yes with 1, no with 0, and nothing with anything else, before the second script and after it.
func TestAPairSaysYesNoOrNothing(t *testing.T) {
	s, err := FromPair("detect.ps1", []byte("exit 1"), "fix.cmd", []byte("echo %FLEETMEND_ARG1%"), "a b")
	if err != nil {
		t.Fatal(err)
	}
	p := s.Playbook
	look, verify, fix := p.Detect[0], p.Verify[0], p.Fix[0].Script
	if look.code() != 1 || len(look.OtherCodes) != 1 || look.OtherCodes[0] != 0 || verify.code() != 0 || len(verify.OtherCodes) != 1 || verify.OtherCodes[0] != 1 {
		t.Errorf("%+v %+v", look, verify)
	}
	if fix.Shell != "cmd" || look.Script.Shell != "powershell" || fix.Args[0] != "a b" || look.Script.Args[0] != "a b" || p.Cure() || s.Digest != Digest(p) {
		t.Errorf("%+v", p)
	}
	for _, f := range Lint(s) {
		if f.Severity == SeverityError {
			t.Error(f)
		}
	}
	if text := strings.Join(Describe(p), " "); !strings.Contains(text, "not so with 0; with any other code it cannot be told") {
		t.Error(text)
	}
	if _, err := FromPair("detect.vbs", nil, "fix.cmd", []byte("x")); err == nil {
		t.Error("a script of unknown kind was taken")
	}
	if _, err := Parse("p.yaml", []byte("playbook: p\ndetect:\n  - script: {shell: cmd, body: x}\n    exit-code: 4294967295\n    other-codes: [0, -1]\n")); err == nil || !strings.Contains(err.Error(), "cannot be among other-codes") {
		t.Errorf("%v", err)
	}
}
