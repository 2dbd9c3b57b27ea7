package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/fleetmend/fleetmend/internal/pwsh"
)

// TestAgentIsAssembled: agent.ps1 is what its source gives.
func TestAgentIsAssembled(t *testing.T) {
	want, err := assemble(os.DirFS(filepath.Join("..", "source")))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join("..", "agent.ps1"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("agent.ps1 is not what remediate/agent/source gives: run go generate ./remediate/agent")
	}
}

func TestAssemble(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	got, err := assemble(fstest.MapFS{
		"1.ps1":  file("# what it is\n# of whom\n$a = 1\n# why\n    # and how\n$b = @'\n# text\n'@\n# gone\n"),
		"2.ps1":  file("# gone\n$c = 3 # stays\n"),
		"README": file("no part of it\n"),
	})
	want := "# what it is\n# of whom\n" + header + "$a = 1\n$b = @'\n# text\n'@\n$c = 3 # stays\n"
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s\nnot\n%s", err, got, want)
	}
	for name, bad := range map[string]string{"an open text": "$a = @'\n# text\n", "nothing": "# only words\n"} {
		if _, err := assemble(fstest.MapFS{"1.ps1": file(bad)}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// TestNothingButComments asks PowerShell: the agent has the words of its source and no others, apart from comments.
func TestNothingButComments(t *testing.T) {
	t.Parallel()
	command := `$source = -join @(Get-ChildItem ../source/*.ps1 | Sort-Object Name | ForEach-Object { [IO.File]::ReadAllText($_.FullName) })
		$words = foreach ($text in $source, [IO.File]::ReadAllText((Resolve-Path ../agent.ps1))) {
			$tokens = $null
			[void][Management.Automation.Language.Parser]::ParseInput($text, [ref]$tokens, [ref]$null)
			@($tokens | Where-Object { $_.Kind -notin 'Comment', 'NewLine' } | ForEach-Object { "$($_.Kind) $($_.Text)" }) -join [char]10
		}
		"$($words[0].Length -gt 50000) $($words[0].Equals($words[1]))"`
	output, err := exec.CommandContext(t.Context(), pwsh.Find(t), "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", command).CombinedOutput()
	if err != nil || string(output) != "True True\n" {
		t.Errorf("%v %s", err, output)
	}
}
