package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is exported is what travels: the agent that a request carries and that a machine keeps under its hash, and the command lines that start it.
func TestTheExportIsWhatTravels(t *testing.T) {
	files := map[string]string{}
	for _, f := range Export() {
		files[f.Name] = f.Content
	}
	envelope, err := Encode(Request{Run: "r-1", Nonce: Nonce(), Mode: Detect})
	if err != nil {
		t.Fatal(err)
	}
	script, _, err := DecodeStdin(envelope)
	if err != nil || script != files["agent.ps1"] {
		t.Errorf("what a request carries is not the exported agent (%v)", err)
	}
	for _, line := range []string{CommandLine(), KeptCommandLine()} {
		if !strings.Contains(files["command-lines.txt"], line+"\n") {
			t.Errorf("not exported: %s", line)
		}
	}
	if encodeCommand(files["bootstrap.ps1"]) != strings.TrimPrefix(CommandLine(), commandPrefix) || encodeCommand(files["kept.ps1"]) != strings.TrimPrefix(KeptCommandLine(), commandPrefix) {
		t.Error("the exported starters are not those of the command lines")
	}
	if !strings.Contains(files["SHA256SUMS"], Digest()+"  agent.ps1\n") || !strings.Contains(files["README.txt"], Digest()+".ps1") {
		t.Error("the hash is missing")
	}
	for name, text := range files {
		if strings.ContainsFunc(text, func(r rune) bool { return r > 126 }) {
			t.Errorf("%s is not ASCII", name)
		}
	}
}

func TestExportWritesOnceAndOverwritesNothing(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "agent")
	if err := ExportTo(folder); err != nil {
		t.Fatal(err)
	}
	for _, f := range Export() {
		if got, err := os.ReadFile(filepath.Join(folder, f.Name)); err != nil || string(got) != f.Content {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	if err := ExportTo(folder); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("%v", err)
	}
}
