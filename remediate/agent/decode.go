package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

// What comes back on stdout: "@@fm NONCE I/N CHUNK|", I from 1 to N, 48 characters a chunk, so that no console width
// wraps a line and no trimmed blank loses a character.
const (
	marker     = "@@fm "
	chunkWidth = 48
	maxStdout  = 16 << 20
	maxChunks  = 20_000
	maxText    = 8 << 10
)

// What can be wrong with a machine's answer. Without a whole result nobody knows what the machine did: ask it again by
// its run ID.
var (
	ErrNoResult  = errors.New("the machine's output holds no result")
	ErrMissing   = errors.New("the machine's result is incomplete")
	ErrDuplicate = errors.New("the machine's result has a part twice")
	ErrForeign   = errors.New("the machine's output holds a result of another request")
	ErrGarbled   = errors.New("the machine's result is damaged")
	ErrTooLarge  = errors.New("the machine's output is too large")
	// ErrUnread is an agent's answer to a request that it could not read: nothing was done.
	ErrUnread = errors.New("the agent could not read the request")
	// ErrBusy is an answer without an outcome: another request of the same run is at work on the machine. Ask again.
	ErrBusy = errors.New("the machine is busy")
)

// Decode finds the result with this nonce in a machine's stdout. Other lines (a banner, CLIXML, CRLF) are ignored. Errors
// wrap one of the sentinels above.
func Decode(stdout []byte, nonce string) (Result, error) {
	if len(stdout) > maxStdout {
		return Result{}, fmt.Errorf("decode result: %d bytes: %w", len(stdout), ErrTooLarge)
	}
	var chunks []string
	seen, foreign := 0, ""
	for line := range bytes.Lines(stdout) {
		text := withoutMark(strings.TrimRight(string(line), "\r\n \t"))
		rest, ok := strings.CutPrefix(text, marker)
		if !ok {
			continue
		}
		from, place, chunk, err := parseLine(rest)
		if err != nil {
			return Result{}, err
		}
		if from != nonce {
			foreign = from
			continue
		}
		if chunks == nil {
			chunks = make([]string, place.of)
		}
		switch {
		case place.of != len(chunks):
			return Result{}, fmt.Errorf("decode result: %d parts and %d parts: %w", len(chunks), place.of, ErrGarbled)
		case chunks[place.at-1] != "":
			return Result{}, fmt.Errorf("decode result: part %d of %d: %w", place.at, place.of, ErrDuplicate)
		}
		chunks[place.at-1] = chunk
		seen++
	}
	switch {
	case foreign == unreadNonce && chunks == nil:
		return Result{}, fmt.Errorf("decode result: %w", ErrUnread)
	case foreign != "":
		return Result{}, fmt.Errorf("decode result: nonce %.64q: %w", foreign, ErrForeign)
	case chunks == nil:
		return Result{}, ErrNoResult
	case seen < len(chunks):
		return Result{}, fmt.Errorf("decode result: %d of %d parts: %w", seen, len(chunks), ErrMissing)
	}
	return decodeJSON(strings.Join(chunks, ""))
}

// unreadNonce is what agent.ps1 answers with as long as it has not read a nonce.
const unreadNonce = "none"

// withoutMark takes a byte order mark off, which PowerShell may write before its first output in code page 65001.
func withoutMark(text string) string { return strings.TrimPrefix(text, "\ufeff") }

func decodeJSON(text string) (Result, error) {
	var r Result
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Result{}, fmt.Errorf("decode result: %v: %w", err, ErrGarbled)
	}
	switch r.Outcome {
	case Affected, Clean, Fixed, Undone, Failed:
		return r, nil
	case Busy:
		return Result{}, fmt.Errorf("%w: %s", ErrBusy, r.Message)
	}
	return Result{}, fmt.Errorf("decode result: outcome %.40q: %w", r.Outcome, ErrGarbled)
}

type place struct{ at, of int }

// parseLine reads "NONCE I/N CHUNK|".
func parseLine(rest string) (nonce string, p place, chunk string, err error) {
	bad := func() (string, place, string, error) {
		return "", place{}, "", fmt.Errorf("decode result: line %.80q: %w", rest, ErrGarbled)
	}
	nonce, rest1, ok := strings.Cut(rest, " ")
	if !ok {
		return bad()
	}
	numbers, chunk, ok := strings.Cut(rest1, " ")
	if !ok || !strings.HasSuffix(chunk, "|") || len(chunk) < 2 {
		return bad()
	}
	at, of, ok := strings.Cut(numbers, "/")
	if !ok {
		return bad()
	}
	i, errI := strconv.Atoi(at)
	n, errN := strconv.Atoi(of)
	if errI != nil || errN != nil || n < 1 || n > maxChunks || i < 1 || i > n {
		return bad()
	}
	return nonce, place{i, n}, strings.TrimSuffix(chunk, "|"), nil
}

// Lines returns the result lines as agent.ps1 prints them, without their ends.
func Lines(nonce string, r Result) []string {
	text, err := asciiJSON(r)
	if err != nil { // a Result holds nothing that JSON cannot say
		panic(err)
	}
	chunks := split(text, chunkWidth)
	lines := make([]string, len(chunks))
	for i, chunk := range chunks {
		lines[i] = fmt.Sprintf("%s%s %d/%d %s|", marker, nonce, i+1, len(chunks), chunk)
	}
	return lines
}

var (
	clixmlError  = lazyregexp.New(`(?s)<S S="Error">(.*?)</S>`)
	clixmlEscape = lazyregexp.New(`(?:_x[0-9A-Fa-f]{4}_)+`)
	ansi         = lazyregexp.New("\x1b\\[[0-9;?]*[ -/]*[@-~]")
)

// DecodeCLIXML turns what PowerShell writes to stderr into text: the error strings of its CLIXML without escapes and
// colours, or the text itself where it is no CLIXML. At most 8 KiB are returned.
func DecodeCLIXML(stderr string) string {
	if len(stderr) > maxStdout {
		stderr = stderr[:maxStdout]
	}
	stderr = withoutMark(stderr)
	text := stderr
	if at := strings.Index(stderr, "#< CLIXML"); at >= 0 {
		var out strings.Builder
		out.WriteString(stderr[:at])
		for _, m := range clixmlError.FindAllStringSubmatch(stderr[at:], -1) {
			if out.Len() > maxText*2 {
				break
			}
			out.WriteString(unescapeCLIXML(html.UnescapeString(m[1])))
		}
		text = out.String()
	}
	text = strings.TrimSpace(strings.ReplaceAll(ansi.ReplaceAllString(text, ""), "\r\n", "\n"))
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "..."
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// unescapeCLIXML resolves _xHHHH_, which are UTF-16 code units.
func unescapeCLIXML(text string) string {
	return clixmlEscape.ReplaceAllStringFunc(text, func(s string) string {
		units := make([]uint16, 0, len(s)/7)
		for i := 0; i+7 <= len(s); i += 7 {
			n, _ := strconv.ParseUint(s[i+2:i+6], 16, 16)
			units = append(units, uint16(n))
		}
		return string(utf16.Decode(units))
	})
}

// IsCLIXML reports whether stderr is PowerShell's own: then it has started.
func IsCLIXML(stderr string) bool { return strings.HasPrefix(withoutMark(stderr), "#< CLIXML") }

// Blocked reports whether antivirus (AMSI) kept PowerShell from running the agent's text: nothing was done. The error's ID is
// the same in every language.
func Blocked(stderr string) bool { return strings.Contains(stderr, "ScriptContainedMaliciousContent") }
