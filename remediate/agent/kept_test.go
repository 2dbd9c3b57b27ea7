package agent

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/fleetmend/fleetmend/internal/pwsh"
)

// start runs a bootstrap as a route does, with stdin as it travels.
func start(t *testing.T, bootstrap string, stdin []byte, env ...string) (stdout string, code int) {
	t.Helper()
	command := exec.CommandContext(t.Context(), pwsh.Find(t), "-NoLogo", "-NoProfile", "-NonInteractive", "-EncodedCommand", encodeCommand(bootstrap))
	command.Env = append(os.Environ(), env...)
	command.Stdin = strings.NewReader(string(stdin))
	out, err := command.Output()
	if command.ProcessState == nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n"), command.ProcessState.ExitCode()
}

// What travels packed is the very text of agent.ps1 where it is run: the bootstrap hands it over, and it has the hash.
func TestTheBootstrapUnpacks(t *testing.T) {
	t.Parallel()
	stdin, err := Encode(request())
	if err != nil {
		t.Fatal(err)
	}
	instead := strings.Replace(bootstrapText, "Invoke-Expression $FleetmendText",
		"$ExecutionContext.SessionState.LanguageMode\nSet-Content -LiteralPath $env:UNPACKED -Value $FleetmendText -NoNewline -Encoding Ascii\n(Get-FileHash -LiteralPath $env:UNPACKED).Hash\n$FleetmendAgent", 1)
	if instead == bootstrapText {
		t.Fatal("the bootstrap ends otherwise")
	}
	stdout, code := start(t, "$ExecutionContext.SessionState.LanguageMode = 'ConstrainedLanguage'\n"+instead, stdin, "UNPACKED="+filepath.Join(t.TempDir(), "agent.ps1"))
	if want := "ConstrainedLanguage\n" + strings.ToUpper(Digest()) + "\n" + Digest() + "\n"; stdout != want || code != 0 {
		t.Errorf("%q, exit %d, not %q", stdout, code, want)
	}
}

// Machines that cannot run the agent say which PowerShell they have, before anything of it is read.
func TestOldMachinesAreRefusedInWords(t *testing.T) {
	t.Parallel()
	stdin, err := Encode(request())
	if err != nil {
		t.Fatal(err)
	}
	for _, bootstrap := range []string{bootstrapText, keptText} {
		older := strings.Replace(bootstrap, "$v -lt '5.1'", "$v -lt '99.1'", 1)
		stdout, code := start(t, older, stdin)
		if older == bootstrap || code != 93 || !strings.HasPrefix(stdout, "fleetmend: PowerShell 7") || !strings.HasSuffix(stdout, " is too old\n") {
			t.Errorf("%q, exit %d", stdout, code)
		}
	}
	// A 32-bit process on a 64-bit Windows has this variable. It can answer for itself.
	stdout, code := start(t, bootstrapText, stdin, "PROCESSOR_ARCHITEW6432=AMD64")
	result, err := Decode([]byte(stdout), request().Nonce)
	if err != nil || code != 1 || result.Outcome != Failed || result.Changed != 0 || !strings.HasPrefix(result.Message, "this is a 32-bit PowerShell on a 64-bit Windows") {
		t.Errorf("%+v, exit %d, %v", result, code, err)
	}
}

// The rule of what is ours is written twice: for the agent, and for the bootstrap that proves the agent.
func TestOneRuleOfRights(t *testing.T) {
	t.Parallel()
	if owners := "(BA|SY|S-1-5-18|S-1-5-32-544)"; strings.Count(keptText, owners) != 2 || strings.Count(agentText, owners) < 2 {
		t.Error("kept.ps1 and agent.ps1 do not take the same owners")
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(KeptCommandLine(), commandPrefix))
	if err != nil || len(utf16.Encode([]rune(keptText)))*2 != len(raw) {
		t.Fatal(err)
	}
	for _, line := range []string{"$ErrorActionPreference='Stop'", "is too old", "$l=@($input|"} {
		find := func(text string) string {
			for part := range strings.Lines(text) {
				if strings.Contains(part, line) {
					return part
				}
			}
			return ""
		}
		if one := find(bootstrapText); one == "" || one != find(keptText) {
			t.Errorf("the bootstraps differ at %q", line)
		}
	}
}
