package agent

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/pwsh"
)

// aDozen of the cases, one of each kind of step; all of them are run by test/powershell/run.sh.
const aDozen = "bcd-replace,channel-file-affected,file-umlauts,order-of-undo,put-replace,quarantine-came-back," +
	"quarantine-kept-changed,reboot-if-fixed,registry-qword-exact,registry-set,script-action,service-disable"

// runCases starts conformance.ps1 in a time zone that is not UTC and has a summer time.
func runCases(t *testing.T, args ...string) (output string, err error) {
	t.Helper()
	return runScript(t, "conformance.ps1", args...)
}

func runScript(t *testing.T, name string, args ...string) (output string, err error) {
	t.Helper()
	args = append(args, "-Agent", "'"+agentFile(t)+"'")
	// PowerShell starts the runner's file with real arrays of names only by -Command.
	command := exec.CommandContext(t.Context(), pwsh.Find(t), "-NoLogo", "-NoProfile", "-NonInteractive", "-Command",
		"& ./"+name+" "+strings.Join(args, " ")+"; exit $LASTEXITCODE")
	command.Env = append(os.Environ(), "TZ=America/St_Johns", "TMPDIR="+t.TempDir())
	all, err := command.CombinedOutput()
	return string(all), err
}

// agentFile is agent.ps1, or a broken one that somebody wants to see noticed (test/mutants).
func agentFile(t *testing.T) string {
	t.Helper()
	if other := os.Getenv("FLEETMEND_AGENT"); other != "" {
		return other
	}
	path, err := filepath.Abs("agent.ps1")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestConformance runs a dozen cases through the real agent in the mode that allows it least.
func TestConformance(t *testing.T) {
	t.Parallel()
	output, err := runCases(t, "-LanguageMode", "Constrained", "-Case", "'"+aDozen+"'")
	if err != nil || !strings.Contains(output, "12 passed, 0 failed") {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestWhatOnlyTheAgentDoes runs the cases that only the agent has, because it needs icacls.exe for them: what is called in which order, what
// fails, and what a power cut leaves.
func TestWhatOnlyTheAgentDoes(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join("testdata", "agent-only", "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	output, err := runCases(t, "-LanguageMode", "Constrained", "-Path", "testdata/agent-only")
	if err != nil || !strings.Contains(output, fmt.Sprintf("%d passed, 0 failed", len(paths))) {
		t.Errorf("%v\n%s", err, output)
	}
	cases, step := "folder-made", 31
	if os.Getenv("FLEETMEND_PROVE") != "" {
		cases, step = "folder-made,folder-on-another-volume", 1
	}
	endAnywhere(t, filepath.Join("testdata", "agent-only"), cases, step)
}

// TestConformanceAsARoute starts a PowerShell for every request of a case, as a route does.
func TestConformanceAsARoute(t *testing.T) {
	t.Parallel()
	output, err := runCases(t, "-Spawn", "1", "-Case", "registry-set-same")
	if err != nil || !strings.Contains(output, "1 passed, 0 failed") {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestConformanceNoticesWhatIsWrong: each case of testdata/wrong says something untrue, or misspells it.
func TestConformanceNoticesWhatIsWrong(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join("..", "testdata", "wrong", "*.json"))
	if err != nil || len(paths) < 19 {
		t.Fatal(paths, err)
	}
	output, _ := runCases(t, "-Path", "../testdata/wrong")
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		_, said, found := strings.Cut(output, "FAIL "+name+": ")
		if !found {
			t.Errorf("%s was not noticed", name)
		}
		if strings.HasSuffix(name, "-field") && !strings.Contains(strings.SplitN(said, "\n", 2)[0], "unknown field") {
			t.Errorf("%s was noticed for another reason: %.200s", name, said)
		}
	}
	if t.Failed() {
		t.Log(output)
	}
}

// TestRights asks the agent's own function which rights are the same: after icacls.exe the primary group is another and the list
// has marks of inheritance, which is no reason to say that a file did not get its rights again.
func TestRights(t *testing.T) {
	t.Parallel()
	const trusted = "S-1-5-80-956008885-3418522649"
	command := functions(t, "Get-Rights")
	want := ""
	for _, sddl := range [][2]string{
		{"O:BAG:DUD:PAI(A;;FA;;;BA)(A;ID;FA;;;SY)", "O:BAD:P(A;;FA;;;BA)(A;ID;FA;;;SY)"},
		{"O:" + trusted + "G:" + trusted + "D:AI(A;;FA;;;" + trusted + ")", "O:" + trusted + "D:(A;;FA;;;" + trusted + ")"},
		{"O:DAG:S-1-5-21-1-2-3-513D:(D;;FA;;;BU)", "O:DAD:(D;;FA;;;BU)"},
		{"O:BAG:BAD:NO_ACCESS_CONTROL", "O:BAD:_ACCESS_CONTROL"},
		{"", ""},
	} {
		command += "\nGet-Rights '" + sddl[0] + "'"
		want += sddl[1] + "\n"
	}
	output, err := exec.CommandContext(t.Context(), pwsh.Find(t), "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", command).CombinedOutput()
	if got := strings.ReplaceAll(string(output), "\r\n", "\n"); err != nil || got != want {
		t.Errorf("%v\n%s\nnot\n%s", err, got, want)
	}
}

// TestUndoSaysWhatIsOnDisk draws sequences of fix, undo, ends, foreign changes and damage, as the Go interpreter's test of this name
// does: three of them, ten where there is time, three hundred in each language mode where it is to be proved.
func TestUndoSaysWhatIsOnDisk(t *testing.T) {
	t.Parallel()
	count, modes := 3, []string{"Constrained"}
	switch {
	case os.Getenv("FLEETMEND_PROVE") != "":
		count, modes = 300, []string{"Constrained", "Full"}
	case os.Getenv("FLEETMEND_LONG") != "":
		count = 10
	}
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			output, err := runScript(t, "undo.ps1", "-Count", strconv.Itoa(count), "-LanguageMode", mode)
			if err != nil || !strings.Contains(output, fmt.Sprintf("%d sequences held, 0 failed", count)) {
				t.Errorf("%v\n%s", err, output)
			}
			t.Log(output)
		})
	}
}

// functions is a command that defines some of the agent's own functions.
func functions(t *testing.T, names ...string) string {
	t.Helper()
	return `$ast = [Management.Automation.Language.Parser]::ParseFile('` + agentFile(t) + `', [ref]$null, [ref]$null)
		foreach ($one in $ast.FindAll({ param($one) $one -is [Management.Automation.Language.FunctionDefinitionAst] -and
			$one.Name -in '` + strings.Join(names, "', '") + `' }, $true)) { . ([scriptblock]::Create($one.Extent.Text)) }`
}

// TestHalfACharacter: names and values on Windows may hold half a surrogate pair. What a record could not give back is refused before it is
// changed, what a script says is cleaned, and a result stays ASCII.
func TestHalfACharacter(t *testing.T) {
	t.Parallel()
	command := functions(t, "ConvertTo-Ascii", "Assert-Whole", "Get-List", "Get-Clean") + `
		$script:Half = [regex]::Match((Get-Content '` + agentFile(t) + `' -Raw), "(?m)^.script:Half = '(.*)'").Groups[1].Value
		$torn = 'a' + [char]0xd83d + [char]0xe9
		$whole = 'a' + [char]0xd83d + [char]0xde00
		ConvertTo-Ascii (ConvertTo-Json -InputObject @{ v = $torn } -Compress)
		ConvertTo-Ascii (Get-Clean $torn); ConvertTo-Ascii (Get-Clean $whole)
		foreach ($entry in @{ target = 'x'; path = $torn }, @{ target = 'x'; old = @{ type = 'string'; data = @("=$torn") } }, @{ target = 'x'; path = $whole; old = $null }) {
			try { Assert-Whole $entry; 'taken' } catch { $_.Exception.Message }
		}`
	refused := "x holds half a character, which no record can hold: it is not changed\n"
	want := `{"v":"a\ud83d\u00e9"}` + "\n" + `a\ufffd\u00e9` + "\n" + `a\ud83d\ude00` + "\n" + refused + refused + "taken\n"
	output, err := exec.CommandContext(t.Context(), pwsh.Find(t), "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", command).CombinedOutput()
	if got := strings.ReplaceAll(string(output), "\r\n", "\n"); err != nil || got != want {
		t.Errorf("%v\n%s\nnot\n%s", err, got, want)
	}
}

// TestWhatConstrainedScriptsCannotDo asks the agent's own pattern what it sees in a script.
func TestWhatConstrainedScriptsCannotDo(t *testing.T) {
	t.Parallel()
	command := `$script:FullOnly = [regex]::Match((Get-Content '` + agentFile(t) + `' -Raw), "(?m)^.script:FullOnly = '(.*)'").Groups[1].Value`
	want := ""
	for _, one := range [][2]string{
		{"[IO.File]::Delete('x')", "[IO.File]::Delete("}, {"$x = [System.Math]::Round(1.5)", "[System.Math]::Round("}, {"[math]::Floor(1)", "[math]::Floor("},
		{"add-type -AssemblyName System.Web", "add-type"}, {"$w = New-Object -ComObject WScript.Shell", "New-Object -Com"}, {"a\n class Thing {", "class Thing {"},
		{"enum One{", "enum One{"}, {"[stringbuilder]::new()", "[stringbuilder]::new("}, {"[Convert]::ToInt32('1')", "[Convert]::ToInt32("},
		{"[guid]::NewGuid()", ""}, {"[System.String]::Join(' ', 1)", ""}, {"[UInt32]::Parse('1')", ""}, {"[int]::Parse('1')", ""},
		{"[regex]::Replace('a', 'b', 'c')", ""}, {"[Environment]::MachineName", ""}, {"New-Object PSObject", ""}, {"# a class of its own", ""},
		{"[DateTime]::UtcNow.AddDays(1)", ""}, {"$enum = 1", ""}, {"[xml]$x", ""}, {"'first-class service'", ""},
	} {
		command += "\n[regex]::Match('" + strings.ReplaceAll(one[0], "'", "''") + "', $script:FullOnly, 'IgnoreCase, CultureInvariant, Multiline').Value.Trim()"
		want += one[1] + "\n"
	}
	output, err := exec.CommandContext(t.Context(), pwsh.Find(t), "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", command).CombinedOutput()
	if got := strings.ReplaceAll(string(output), "\r\n", "\n"); err != nil || got != want {
		t.Errorf("%v\n%s\nnot\n%s", err, got, want)
	}
}

// TestArgumentsArriveWhole starts a program with arguments that a C program reads from its command line.
func TestArgumentsArriveWhole(t *testing.T) {
	t.Parallel()
	command := functions(t, "Join-Arguments") + `
		$all = @('a', '', 'b c', '{current}', 'x"y', 'C:\Program Files\', 'C:\a b\\', '\\"', 'p:2:4')
		Join-Arguments $all
		$out = Join-Path ([IO.Path]::GetTempPath()) ([Guid]::NewGuid())
		(Start-Process /usr/bin/printf ('<%s> ' + (Join-Arguments $all)) -PassThru -RedirectStandardOutput $out).WaitForExit()
		Get-Content -LiteralPath $out; Remove-Item -LiteralPath $out`
	output, err := exec.CommandContext(t.Context(), pwsh.Find(t), "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", command).CombinedOutput()
	line, seen, _ := strings.Cut(strings.ReplaceAll(string(output), "\r\n", "\n"), "\n")
	if want := `a "" "b c" {current} "x\"y" "C:\Program Files\\" "C:\a b\\\\" "\\\\\"" p:2:4`; err != nil || line != want {
		t.Errorf("%v\n%s\nnot\n%s", err, line, want)
	}
	if want := `<a><><b c><{current}><x"y><C:\Program Files\><C:\a b\\><\\"><p:2:4>`; !strings.HasPrefix(seen, want) {
		t.Errorf("%s\nnot\n%s", seen, want)
	}
}

// TestFullDisk leaves the agent so many bytes of room for what it writes: no change is made without its record, and undo takes back all that
// was changed. Every byte takes a quarter of an hour.
func TestFullDisk(t *testing.T) {
	if os.Getenv("FLEETMEND_PROVE") == "" {
		t.Skip("fills the disk at every byte: make prove ONLY=full-disk-powershell")
	}
	output, err := runScript(t, "trouble.ps1", "-Disk", "-Case", "'put-replace,registry-set'")
	if err != nil || strings.Count(output, "ok   ") != 2 {
		t.Errorf("%v\n%s", err, output)
	}
	t.Log(output)
}

// TestEndedAnywhere ends the agent at outward calls of a fix and an undo, and asks again: at every nineteenth machine that this leaves of one
// case, at all of them of all kinds where it is to be proved.
func TestEndedAnywhere(t *testing.T) {
	t.Parallel()
	cases, step := "channel-file-affected", 19
	switch {
	case os.Getenv("FLEETMEND_PROVE") != "":
		cases, step = "order-of-undo,channel-file-affected,service-disable,service-ran-though-disabled,delayed-start,dependents-stay-stopped,"+
			"safe-mode-without-winrm,put-makes-folders,bcd-replace,registry-set,script-action", 1
	case os.Getenv("FLEETMEND_LONG") != "":
		cases, step = "order-of-undo,service-disable,bcd-replace", 11
	}
	endAnywhere(t, filepath.Join("..", "testdata", "conformance"), cases, step)
}

// endAnywhere gives every case a process, because two of them are done side by side then.
func endAnywhere(t *testing.T, folder, cases string, step int) {
	t.Helper()
	for name := range strings.SplitSeq(cases, ",") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			output, err := runScript(t, "trouble.ps1", "-Path", folder, "-Case", name, "-Step", strconv.Itoa(step))
			if err != nil || !strings.Contains(output, "ok   "+name) {
				t.Errorf("%v\n%s", err, output)
			}
			t.Log(output)
		})
	}
}

// TestHowLongALockHolds asks the agent's own functions whether a lock still holds somebody: which process made it, on which computer and
// when. No case can name the process that runs it.
func TestHowLongALockHolds(t *testing.T) {
	t.Parallel()
	command := functions(t, "Get-Field", "Get-UnixTime", "Get-Started", "Test-Stale") + `
		$script:Nonce = 'n-1'
		$here = [Environment]::MachineName; $began = Get-Started $PID; $now = Get-UnixTime; $other = [int](Get-Process -Id $PID).Parent.Id
		foreach ($lock in @{ host = $here; pid = $PID; nonce = 'n-1'; started = 1 }, @{ host = $here; pid = $PID; nonce = 'n-2'; started = $began },
			@{ host = $here; pid = $PID; nonce = 'n-2'; started = $began - 2 }, @{ host = $here; pid = $PID; nonce = 'n-2'; started = $began + 2 },
			@{ host = $here; pid = $PID; nonce = 'n-2'; started = $began - 3 }, @{ host = $here; pid = $PID; nonce = 'n-2'; started = $began + 3 },
			@{ host = $here; pid = 2147483000; nonce = 'n-2'; started = $began }, @{ host = $here; pid = $other; nonce = 'n-1'; started = (Get-Started $other) },
			@{ host = 'other'; pid = $PID; nonce = 'n-1'; taken = $now - 110 }, @{ host = 'other'; pid = 1; nonce = 'n-2'; taken = $now - 121 },
			@{ host = 'other'; pid = 1; nonce = 'n-2'; renewed = $now - 110 }, @{ host = 'other'; pid = 1; nonce = 'n-2' }) {
			[string](Test-Stale (New-Object PSObject -Property $lock))
		}`
	want := "True\nFalse\nFalse\nFalse\nTrue\nTrue\nTrue\nFalse\nFalse\nTrue\nFalse\nTrue\n"
	output, err := exec.CommandContext(t.Context(), pwsh.Find(t), "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", command).CombinedOutput()
	if got := strings.ReplaceAll(string(output), "\r\n", "\n"); err != nil || got != want {
		t.Errorf("%v\n%s\nnot\n%s", err, got, want)
	}
}
