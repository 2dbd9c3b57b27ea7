package playbook

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sameAfterRender(t *testing.T, s *Source) {
	t.Helper()
	text, err := s.Render()
	if err != nil {
		t.Fatalf("%s: %v", s.File, err)
	}
	again, err := Parse("rendered.yaml", text)
	if err != nil {
		t.Fatalf("%s: rendered form does not parse: %v\n%s", s.File, err, text)
	}
	if diff := cmp.Diff(s.Playbook, again.Playbook); diff != "" {
		t.Errorf("%s: rendered form means something else:\n%s\n%s", s.File, diff, text)
	}
	if again.Digest != s.Digest {
		t.Errorf("%s: digest changed by rendering\n%s", s.File, text)
	}
}

func TestRenderReadsBack(t *testing.T) {
	for _, s := range Builtins() {
		sameAfterRender(t, s)
	}
	s, err := Parse("t.yaml", Template("x"))
	if err != nil {
		t.Fatal(err)
	}
	sameAfterRender(t, s)
	for _, body := range []string{"a\r\nb\r\n", "  x\ny", "\n\nx", "x \ny", "\tx\n\ty\n", "x: ${y} $${z}\n", "'\"`#", "\u2028a\nb\u0085", "true", "1e5", "x\n\n\n", "~"} {
		s, err := FromScript("powershell", body, body, "null")
		if err != nil {
			t.Fatal(err)
		}
		sameAfterRender(t, s)
	}
}

func TestDescribeTellsEverything(t *testing.T) {
	p, err := mustBuiltin(t, "crowdstrike-channel-file-291").Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`A machine is affected if there is a file C:\Windows\System32\drivers\CrowdStrike\C-00000291*.sys that begins with the bytes AAAAAAAA01002301 and last written at or after 2024-07-19T04:09:00Z and before 2024-07-19T05:27:00Z.`,
		`Moves every file C:\Windows\System32\drivers\CrowdStrike\C-00000291*.sys that begins with the bytes AAAAAAAA01002301 and last written at or after 2024-07-19T04:09:00Z and before 2024-07-19T05:27:00Z into quarantine on the machine.`,
		`Deletes the element safeboot from the default boot entry, where it is set.`,
		`It is cured if afterwards there is no file C:\Windows\System32\drivers\CrowdStrike\C-00000291*.sys that begins with the bytes AAAAAAAA01002301 and last written at or after 2024-07-19T04:09:00Z and before 2024-07-19T05:27:00Z.`,
		`Restarts the machine if something was changed.`,
	}
	if diff := cmp.Diff(want, Describe(p)); diff != "" {
		t.Error(diff)
	}
}
