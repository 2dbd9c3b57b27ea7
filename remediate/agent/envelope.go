package agent

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/remediate/agent/pack"
)

// What goes to stdin: "fleetmend/2 HASH A B", A lines of the packed agent ([pack.Pack]), B lines of the envelope's JSON, "fleetmend/end". HASH
// is [Digest]; with A = 0 it names the agent that the machine has kept. All of it is ASCII with LF, so no code page, BOM or base64
// decoder is needed on the way (Constrained Language Mode has none).
const (
	firstLine     = "fleetmend/2"
	lastLine      = "fleetmend/end"
	sendLine      = "fleetmend: send "
	envelopeWidth = 400
	maxStdin      = 4 << 20
)

var idPattern = lazyregexp.New(`^[0-9A-Za-z-]{1,64}$`)

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

// Encode returns the bytes for the stdin of [CommandLine]: the whole agent and the request. It refuses a request that fails
// [Request.Check].
func Encode(r Request) ([]byte, error) { return AppendEncode(nil, r) }

// AppendEncode is [Encode] behind what b holds.
func AppendEncode(b []byte, r Request) ([]byte, error) { return encode(b, r, packedText) }

// EncodeKept is [Encode] for the stdin of [KeptCommandLine]: the agent is named by its hash. A machine that does not have it, or cannot
// prove it, does nothing and asks for the whole; see [Wanted].
func EncodeKept(r Request) ([]byte, error) { return AppendEncodeKept(nil, r) }

// AppendEncodeKept is [EncodeKept] behind what b holds.
func AppendEncodeKept(b []byte, r Request) ([]byte, error) { return encode(b, r, "") }

// Needed is the request with what the machine needs of it, and that is what travels: of the playbook the parts for its mode.
func (r Request) Needed() Request {
	r.Playbook.Params, r.Playbook.References, r.Playbook.Summary, r.Playbook.Tool = nil, nil, "", false
	r.Kept = false
	switch r.Mode {
	case Detect:
		r.Playbook.Fix, r.Playbook.Verify = nil, nil
	case Verify:
		r.Playbook.Detect, r.Playbook.Fix = nil, nil
	case Undo: // is done from the machine's records
		r.Playbook.Detect, r.Playbook.Fix, r.Playbook.Verify = nil, nil, nil
	}
	return r
}

// encode is done for each machine: the agent is copied as it is.
func encode(b []byte, r Request, agent string) ([]byte, error) {
	if err := r.Check(); err != nil {
		return b, fmt.Errorf("encode request: %w", err)
	}
	text, err := asciiJSON(r.Needed())
	if err != nil {
		return b, fmt.Errorf("encode request: %w", err)
	}
	parts := split(text, envelopeWidth)
	out := slices.Grow(b, len(agent)+len(text)+len(parts)+200)
	out = fmt.Appendf(out, "%s %s %d %d\n", firstLine, Digest(), strings.Count(agent, "\n"), len(parts))
	out = append(out, agent...)
	for _, line := range append(parts, lastLine) {
		out = append(append(out, line...), '\n')
	}
	return out, nil
}

// Send is the line, without its end, by which a machine asks for the whole agent: what it has kept under this hash is not there, or
// not proven. Nothing was done then.
func Send(hash string) string { return sendLine + hash }

// Wanted reports whether this is all that a machine answered to [EncodeKept]: send the whole agent. Noise around the line is let be.
func Wanted(stdout []byte) bool {
	for line := range bytes.Lines(stdout) {
		if withoutMark(strings.TrimRight(string(line), "\r\n \t")) == Send(Digest()) {
			return true
		}
	}
	return false
}

// DecodeStdin takes apart what [Encode] or [EncodeKept] made, as the bootstrap does, and insists that the agent is exactly that of
// this build. Script is "" where the agent is only named: whoever answers has to prove that he has kept it. It is for a simulated machine,
// which executes the request by itself. Errors wrap [ErrStdin].
func DecodeStdin(stdin []byte) (script string, r Request, err error) {
	if len(stdin) > maxStdin {
		return "", Request{}, fmt.Errorf("decode stdin: %d bytes: %w", len(stdin), ErrStdin)
	}
	lines := strings.Split(strings.ReplaceAll(string(stdin), "\r\n", "\n"), "\n")
	head := strings.Split(lines[0], " ")
	if len(head) != 4 || head[0] != firstLine || head[1] != Digest() {
		return "", Request{}, fmt.Errorf("decode stdin: first line %.90q: %w", lines[0], ErrStdin)
	}
	a, errA := strconv.Atoi(head[2])
	b, errB := strconv.Atoi(head[3])
	if errA != nil || errB != nil || a < 0 || b < 1 || a > len(lines) || b > len(lines) || len(lines) < a+b+2 ||
		lines[a+b+1] != lastLine {
		return "", Request{}, fmt.Errorf("decode stdin: cut short (%d lines, %q): %w", len(lines), lines[0], ErrStdin)
	}
	if a > 0 {
		if script, err = scriptOf(lines[1 : a+1]); err != nil {
			return "", Request{}, err
		}
	}
	decoder := json.NewDecoder(strings.NewReader(strings.Join(lines[a+1:a+b+1], "")))
	decoder.UseNumber() // a qword does not fit a float64
	if err := decoder.Decode(&r); err != nil {
		return script, Request{}, fmt.Errorf("decode stdin: %v: %w", err, ErrStdin)
	}
	return script, r, nil
}

func scriptOf(lines []string) (string, error) {
	joined := strings.Join(lines, "\n")
	if joined+"\n" == packedText { // a simulated fleet of thousands does not take it apart each time
		return Script(), nil
	}
	text, err := pack.Unpack(joined, maxStdin)
	if err != nil {
		return "", fmt.Errorf("unpack the agent: %w: %w", err, ErrStdin)
	}
	if text+"\n" != Script() {
		return "", fmt.Errorf("decode stdin: the script is not the agent of this build: %w", ErrStdin)
	}
	return Script(), nil
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
