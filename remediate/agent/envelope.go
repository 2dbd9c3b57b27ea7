package agent

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
)

// What goes to stdin: "fleetmend/1 A B", A lines of the agent, B lines of the envelope's JSON, "fleetmend/end". All of it
// is ASCII with LF, so no code page, BOM or base64 decoder is needed on the way (Constrained Language Mode has none).
const (
	firstLine     = "fleetmend/1"
	lastLine      = "fleetmend/end"
	envelopeWidth = 400
	maxStdin      = 4 << 20
)

var idPattern = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

// ErrStdin is what a text that is no envelope of [Encode] is: cut short, changed, or something else.
var ErrStdin = errors.New("no complete envelope")

// ValidRun reports whether id can be a run ID: 1 to 64 letters, digits and hyphens. It names a folder on the machine.
func ValidRun(id string) bool { return idPattern.MatchString(id) }

// Nonce returns a fresh nonce for one request.
func Nonce() string {
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // never fails since Go 1.24
	return hex.EncodeToString(raw[:])
}

// Check reports what makes a request unfit to be sent.
func (r Request) Check() error {
	switch {
	case !ValidRun(r.Run):
		return fmt.Errorf("run id %q: must be 1 to 64 letters, digits or hyphens", r.Run)
	case !idPattern.MatchString(r.Nonce):
		return fmt.Errorf("nonce %q: must be 1 to 64 letters, digits or hyphens", r.Nonce)
	}
	switch r.Mode {
	case Detect, Fix, Verify, Undo:
		return nil
	}
	return fmt.Errorf("mode %q: must be detect, fix, verify or undo", r.Mode)
}

// Encode returns the bytes for the agent's stdin. It refuses a request that fails [Request.Check].
func Encode(r Request) ([]byte, error) {
	if err := r.Check(); err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	// What the machine does not need stays here.
	r.Playbook.Params, r.Playbook.References, r.Playbook.Summary, r.Playbook.Tool = nil, nil, "", false
	text, err := asciiJSON(r)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	agent, parts := scriptLines(), split(text, envelopeWidth)
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %d %d\n", firstLine, len(agent), len(parts))
	for _, line := range agent {
		out.WriteString(line)
		out.WriteByte('\n')
	}
	for _, line := range parts {
		out.WriteString(line)
		out.WriteByte('\n')
	}
	out.WriteString(lastLine + "\n")
	return out.Bytes(), nil
}

// DecodeStdin takes apart what [Encode] made, as the bootstrap does, and insists that the script is exactly the agent of
// this build. It is for a simulated machine, which executes the request by itself. Errors wrap [ErrStdin].
func DecodeStdin(stdin []byte) (script string, r Request, err error) {
	if len(stdin) > maxStdin {
		return "", Request{}, fmt.Errorf("decode stdin: %d bytes: %w", len(stdin), ErrStdin)
	}
	lines := strings.Split(strings.ReplaceAll(string(stdin), "\r\n", "\n"), "\n")
	head := strings.Split(lines[0], " ")
	if len(head) != 3 || head[0] != firstLine {
		return "", Request{}, fmt.Errorf("decode stdin: first line %.40q: %w", lines[0], ErrStdin)
	}
	a, errA := strconv.Atoi(head[1])
	b, errB := strconv.Atoi(head[2])
	if errA != nil || errB != nil || a < 1 || b < 1 || a > len(lines) || b > len(lines) || len(lines) < a+b+2 ||
		lines[a+b+1] != lastLine {
		return "", Request{}, fmt.Errorf("decode stdin: cut short (%d lines, %q): %w", len(lines), lines[0], ErrStdin)
	}
	script = strings.Join(lines[1:a+1], "\n") + "\n"
	if script != strings.Join(scriptLines(), "\n")+"\n" {
		return script, Request{}, fmt.Errorf("decode stdin: the script is not the agent of this build: %w", ErrStdin)
	}
	decoder := json.NewDecoder(strings.NewReader(strings.Join(lines[a+1:a+b+1], "")))
	decoder.UseNumber() // a qword does not fit a float64
	if err := decoder.Decode(&r); err != nil {
		return script, Request{}, fmt.Errorf("decode stdin: %v: %w", err, ErrStdin)
	}
	return script, r, nil
}

// asciiJSON is JSON with every character outside printable ASCII as \uXXXX.
func asciiJSON(v any) (string, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return "", err
	}
	var out strings.Builder
	for _, r := range strings.TrimRight(buffer.String(), "\n") {
		if r >= 0x20 && r < 0x7f {
			out.WriteByte(byte(r))
			continue
		}
		if r > 0xffff {
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
			continue
		}
		fmt.Fprintf(&out, `\u%04x`, r)
	}
	return out.String(), nil
}

// split cuts an ASCII text into pieces of at most width characters.
func split(text string, width int) []string {
	var parts []string
	for len(text) > width {
		parts = append(parts, text[:width])
		text = text[width:]
	}
	return append(parts, text)
}
