package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What agent.ps1 and bootstrap.ps1 may use: what was seen to work in Constrained Language Mode, on 5.1 and on 7.
var (
	allowedCmdlets = strings.Fields(`ConvertFrom-Json ConvertTo-Json ForEach-Object Where-Object Sort-Object New-Object New-Item Get-Item
		Remove-Item Move-Item Rename-Item Set-Item Get-ChildItem Test-Path Join-Path Get-Content Set-Content Get-FileHash Get-ItemProperty
		Set-ItemProperty Remove-ItemProperty Get-Service Stop-Service Get-Process Get-ExecutionPolicy Start-Process Wait-Process Stop-Process
		Get-Command Get-CimInstance Get-Acl Set-Service Write-Output Invoke-Expression Set-StrictMode Start-Sleep`)
	allowedTypes = strings.Fields(`string string[] int long bool array byte byte[] uint32 uint64 char datetime regex guid wildcardpattern void cultureinfo environment`)
	// The runner and its stand-ins run in Full Language Mode: any type, but on 5.1 as well.
	runnerCmdlets = strings.Fields(`Add-Member New-PSDrive Select-Object Split-Path Write-Error Copy-Item Set-Service New-ItemProperty`)
)

var (
	comment     = regexp.MustCompile(`(?m)(^|\s)#[^!].*$`)
	cmdlet      = regexp.MustCompile(`(?:^|[^\w$:'.-])([A-Z][a-z]+-[A-Z]\w+)`)
	definition  = regexp.MustCompile(`function ([A-Z]\w+-\w+)`)
	typeLiteral = regexp.MustCompile(`(?:^|[^\w$\])'"\\^}{,])\[([A-Za-z][A-Za-z0-9.]*(?:\[\])?)\]`)
	text        = regexp.MustCompile(`'[^'\n]*'`)
	alias       = regexp.MustCompile(`(?m)(?:^|[|({;])\s*(?:%|\?|gc|gci|gi|gp|sp|cat|ls|dir|cd|rm|del|mv|move|cp|copy|ren|echo|iex|icm|select|sort|where|foreach|ni|ri|si|sc|ps|kill|sleep|type|measure)\s+[^=(\s]`)
	forbidden   = map[string]*regexp.Regexp{
		"a ternary":            regexp.MustCompile(`\?[^:'"\n]*\s:\s`),
		"?? or ?. or ?[":       regexp.MustCompile(`\?\?|\$\{?\w+\}?\?[.\[]`),
		"a pipeline chain":     regexp.MustCompile(`&&|\|\|`),
		"-AsHashtable":         regexp.MustCompile(`(?i)-AsHashtable`),
		"a clean block":        regexp.MustCompile(`(?i)\bclean\s*\{`),
		"Write-Host":           regexp.MustCompile(`(?i)Write-Host`),
		"Add-Type":             regexp.MustCompile(`(?i)Add-Type`),
		"a class, enum, using": regexp.MustCompile(`(?im)^\s*(class|enum|using)\s`),
		"[pscustomobject]":     regexp.MustCompile(`(?i)\[pscustomobject\]`),
		"a string to run":      regexp.MustCompile(`(?i)\[scriptblock\]|\.Invoke\(`),
		// Windows PowerShell 5.1 writes "C:\Program Files\" for a tool, where the last backslash escapes the quote.
		"a folder that ends in a backslash": regexp.MustCompile(`Substring\(0, \$\w+ \+ 1\)`),
		"-Parallel or -NoProxy":             regexp.MustCompile(`(?i)-Parallel\b`),
	}
)

// breaches lists what in a script is against the rules, as words.
func breaches(script string, cmdlets, types []string) []string {
	var found []string
	for i := range len(script) {
		if c := script[i]; c > 0x7e || c < 0x20 && c != '\n' {
			found = append(found, "a character outside printable ASCII")
			break
		}
	}
	code := comment.ReplaceAllString(script, "")
	own := map[string]bool{}
	for _, m := range definition.FindAllStringSubmatch(code, -1) {
		own[m[1]] = true
	}
	bare := text.ReplaceAllString(code, "''")
	for _, m := range cmdlet.FindAllStringSubmatch(bare, -1) {
		if !own[m[1]] && !slices.Contains(cmdlets, m[1]) {
			found = append(found, "cmdlet "+m[1])
		}
	}
	for _, m := range typeLiteral.FindAllStringSubmatch(bare, -1) {
		if !slices.Contains(types, strings.ToLower(m[1])) {
			found = append(found, "type "+m[1])
		}
	}
	for what, pattern := range forbidden {
		if m := pattern.FindString(bare); m != "" {
			found = append(found, what+": "+m)
		}
	}
	if m := alias.FindString(bare); m != "" {
		found = append(found, "an alias: "+strings.TrimSpace(m))
	}
	return found
}

func readScript(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(raw), "\r\n", "\n")
}

func TestScriptsKeepTheRules(t *testing.T) {
	for _, name := range []string{"agent.ps1", "bootstrap.ps1", "kept.ps1"} {
		for _, b := range breaches(readScript(t, name), allowedCmdlets, allowedTypes) {
			t.Errorf("%s: %s", name, b)
		}
	}
	files, err := filepath.Glob("conformance/*.ps1")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	runner := readScript(t, "conformance.ps1") + readScript(t, "trouble.ps1")
	for _, name := range files {
		runner += readScript(t, name)
	}
	// Tools are shell scripts and PowerShell in here-strings.
	runner = regexp.MustCompile(`(?s)@'\n.*?\n'@`).ReplaceAllString(runner, "''")
	for _, b := range breaches(runner, append(runnerCmdlets, allowedCmdlets...), nil) {
		if !strings.HasPrefix(b, "type ") && !strings.HasPrefix(b, "a string to run") {
			t.Errorf("the runner: %s", b)
		}
	}
}

// TestRulesFindBreaches shows that the rule test can fail.
func TestRulesFindBreaches(t *testing.T) {
	agent := readScript(t, "agent.ps1")
	for name, bad := range map[string]string{
		"cmdlet":     "Invoke-WebRequest -Uri $x",
		"type":       "$x = [IO.File]::Exists($y)",
		"convert":    "return [Convert]::ToBase64String($y)",
		"ternary":    "$x = $a ? $b : $c",
		"coalesce":   "$x = $a ?? $b",
		"null dot":   "${x}?.Name",
		"chain":      "Get-Item x && Get-Item y",
		"hashtable":  "ConvertFrom-Json $x -AsHashtable",
		"clean":      "clean { }",
		"host":       "Write-Host x",
		"alias":      "$x | % { 1 }",
		"alias line": "gci C:\\",
		"backslash":  "return $Full.Substring(0, $at + 1)",
		"umlaut":     "'\u00fc'",
		"custom":     "[pscustomobject]@{ a = 1 }",
	} {
		if len(breaches(agent+bad+"\n", allowedCmdlets, allowedTypes)) == 0 {
			t.Errorf("%s: %q was not noticed", name, bad)
		}
	}
}

// TestScriptsParse runs the scripts through tree-sitter's PowerShell grammar where it is installed.
func TestScriptsParse(t *testing.T) {
	folder := filepath.Join("..", "..", "test", "powershell")
	if _, err := os.Stat(filepath.Join(folder, "node_modules")); err != nil {
		t.Skip("the PowerShell grammar is not installed: run npm ci in test/powershell")
	}
	if os.Getenv("FLEETMEND_LONG") == "" {
		t.Skip("parsing takes seconds: set FLEETMEND_LONG=1, or run node parse.mjs in test/powershell")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	parse := func(files ...string) (string, error) {
		output, err := exec.Command(node, append([]string{filepath.Join(folder, "parse.mjs")}, files...)...).CombinedOutput()
		return string(output), err
	}
	if output, err := parse("agent.ps1", "bootstrap.ps1", "kept.ps1", "conformance.ps1"); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	broken := filepath.Join(t.TempDir(), "broken.ps1")
	if err := os.WriteFile(broken, []byte(strings.Replace(readScript(t, "bootstrap.ps1"), "-join ''", "-join '", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := parse(broken); err == nil {
		t.Errorf("an unclosed string was not noticed\n%s", output)
	}
}
