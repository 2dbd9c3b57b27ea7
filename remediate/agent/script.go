package agent

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"sync"
	"unicode/utf16"
)

//go:generate go run ./assemble

//go:embed agent.ps1
var agentText string

//go:embed agent.packed
var packedText string

//go:embed bootstrap.ps1
var bootstrapText string

//go:embed kept.ps1
var keptText string

// maxCommandLine is the longest line cmd.exe takes, and WinRM's shell is cmd.exe.
const maxCommandLine = 8191

const commandPrefix = "powershell.exe -NoLogo -NoProfile -NonInteractive -ExecutionPolicy Bypass -EncodedCommand "

// The command lines are fixed at build time; a test holds them below maxCommandLine.
var commandLine, keptCommandLine = commandPrefix + encodeCommand(bootstrapText), commandPrefix + encodeCommand(keptText)

// CommandLine returns the command that starts the agent on a machine. It is the same for every machine and every
// request: all that differs goes through stdin (see [Encode]), so nothing of a playbook lands in process lists or in
// the event log's command lines. It is ASCII and shorter than the 8,191 characters that cmd.exe takes.
func CommandLine() string { return commandLine }

// KeptCommandLine is [CommandLine] for what [EncodeKept] makes: it starts the agent that the machine has kept, once it has proven
// that nobody but SYSTEM and administrators could have changed it and that it has the hash.
func KeptCommandLine() string { return keptCommandLine }

// Script returns the text of the agent as it is run, kept, signed and allow-listed: ASCII lines that end with LF.
func Script() string { return agentText }

// Digest returns the SHA-256 of agent.ps1 in lower-case hex, for allow lists. The agent is kept under it.
func Digest() string { return digest() }

var digest = sync.OnceValue(func() string {
	return hashOf(agentText)
})

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// encodeCommand is what powershell.exe -EncodedCommand takes: base64 of UTF-16LE.
func encodeCommand(text string) string {
	units := utf16.Encode([]rune(text))
	raw := make([]byte, 0, 2*len(units))
	for _, u := range units {
		raw = append(raw, byte(u), byte(u>>8))
	}
	return base64.StdEncoding.EncodeToString(raw)
}
