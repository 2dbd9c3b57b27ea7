package agent

import (
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/remediate/agent/pack"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

func request() Request {
	return Request{Run: "r-1", Nonce: "n-1", Mode: Fix, Playbook: playbook.Playbook{
		Name:   "t",
		Detect: []playbook.Condition{{File: `C:\Über "x"\😀*.sys`}},
		Fix:    []playbook.Action{{Registry: &playbook.RegistryChange{Key: `HKEY_LOCAL_MACHINE\X`, Name: "v", Value: strings.Repeat("é", 500)}}},
	}}
}

func TestCommandLine(t *testing.T) {
	for text, line := range map[string]string{bootstrapText: CommandLine(), keptText: KeptCommandLine()} {
		if len(line) >= maxCommandLine {
			t.Fatalf("%d characters: cmd.exe takes %d", len(line), maxCommandLine)
		}
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(line, commandPrefix))
		if err != nil || len(raw) != 2*len(text) {
			t.Fatalf("bootstrap: %d bytes, %v", len(raw), err)
		}
		for i := range len(text) {
			if raw[2*i] != text[i] || raw[2*i+1] != 0 {
				t.Fatalf("byte %d differs", i)
			}
		}
	}
}

// The budgets of what travels, in bytes of stdin; base64 makes a third more of them. With the command lines and WS-Man's own envelopes a
// machine that is fixed, restarted and verified stays below 110 KB on the wire (test/bench/wire).
const (
	wholeBudget = 50_000 // the agent, packed, and a large playbook
	namedBudget = 4_000
)

func TestEnvelopeRoundTrip(t *testing.T) {
	for name, c := range map[string]struct {
		encode func(Request) ([]byte, error)
		script string
		budget int
	}{"whole": {Encode, Script(), wholeBudget}, "named": {EncodeKept, "", namedBudget}} {
		stdin, err := c.encode(request())
		if err != nil {
			t.Fatal(err)
		}
		if len(stdin) > c.budget {
			t.Errorf("%s: %d bytes on stdin: keep it below %d", name, len(stdin), c.budget)
		}
		lines := strings.Split(string(stdin), "\n")
		if !strings.HasPrefix(lines[0], "fleetmend/2 "+Digest()+" ") {
			t.Errorf("%s: first line %q", name, lines[0])
		}
		for i, line := range lines {
			for _, c := range []byte(line) {
				if c < 0x20 || c > 0x7e {
					t.Fatalf("line %d has byte %#x", i+1, c)
				}
			}
			if strings.HasPrefix(line, "{") && len(line) > envelopeWidth {
				t.Errorf("line %d has %d characters", i+1, len(line))
			}
		}
		for ends, input := range map[string][]byte{"lf": stdin, "crlf": []byte(strings.ReplaceAll(string(stdin), "\n", "\r\n"))} {
			script, got, err := DecodeStdin(input)
			if err != nil || script != c.script {
				t.Fatalf("%s, %s: %v", name, ends, err)
			}
			if !reflect.DeepEqual(got, request()) {
				t.Errorf("%s, %s: got %+v", name, ends, got)
			}
		}
		if _, _, err := DecodeStdin(stdin[:len(stdin)-10]); !errors.Is(err, ErrStdin) {
			t.Errorf("%s, cut: %v", name, err)
		}
		other := strings.Replace(string(stdin), Digest(), strings.Repeat("0", 64), 1)
		if _, _, err := DecodeStdin([]byte(other)); !errors.Is(err, ErrStdin) {
			t.Errorf("%s, another agent: %v", name, err)
		}
	}
	stdin, _ := Encode(request())
	changed := strings.Replace(string(stdin), "Set-StrictMode", "Set-Strictmode", 1)
	if _, _, err := DecodeStdin([]byte(changed)); !errors.Is(err, ErrStdin) {
		t.Errorf("changed script: %v", err)
	}
}

// A request carries of its playbook what its mode needs.
func TestEncodeByMode(t *testing.T) {
	r := request()
	r.Playbook.Verify = []playbook.Condition{{NoFile: `C:\x`}}
	for mode, want := range map[Mode][3]int{Detect: {1, 0, 0}, Fix: {1, 1, 1}, Verify: {0, 0, 1}, Undo: {0, 0, 0}} {
		r.Mode = mode
		stdin, err := EncodeKept(r)
		if err != nil {
			t.Fatal(err)
		}
		_, got, err := DecodeStdin(stdin)
		if has := [3]int{len(got.Playbook.Detect), len(got.Playbook.Fix), len(got.Playbook.Verify)}; err != nil || has != want {
			t.Errorf("%s: %v, not %v (%v)", mode, has, want, err)
		}
	}
	if len(r.Playbook.Detect) != 1 {
		t.Error("the caller's playbook was cut")
	}
}

func TestWanted(t *testing.T) {
	for text, want := range map[string]bool{
		Send(Digest()): true, "a banner\r\n" + Send(Digest()) + " \r\n": true, "\ufeff" + Send(Digest()) + "\n": true,
		"": false, Send(strings.Repeat("0", 64)): false, "x" + Send(Digest()): false, Send(Digest())[:70]: false,
	} {
		if Wanted([]byte(text)) != want {
			t.Errorf("%q", text)
		}
	}
}

// TestTravels: what travels is the agent, in the form that a bootstrap takes apart.
func TestTravels(t *testing.T) {
	if packedText != pack.Pack(strings.TrimSuffix(Script(), "\n"))+"\n" {
		t.Error("agent.packed is not agent.ps1: run go generate ./remediate/agent")
	}
	for name, lines := range map[string]string{"damaged": "abcdefgh~##", "another": "Write-Output 1"} {
		if _, err := scriptOf([]string{lines}); !errors.Is(err, ErrStdin) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := scriptOf(strings.Split(strings.TrimSuffix(Script(), "\n"), "\n")); err != nil || got != Script() { // as conformance.ps1 sends it
		t.Errorf("what was never packed: %v", err)
	}
}

func TestEncodeDropsWhatTheMachineDoesNotNeed(t *testing.T) {
	r := request()
	r.Playbook.Params = map[string]playbook.Param{"name": {Pattern: ".*"}}
	r.Playbook.References = []string{"https://example.com"}
	stdin, err := Encode(r)
	if err != nil || strings.Contains(string(stdin), "example.com") || strings.Contains(string(stdin), `"params"`) {
		t.Errorf("parameters or references crossed the wire (%v)", err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*Request){
		"climbing run": func(r *Request) { r.Run = `..\x` },
		"empty run":    func(r *Request) { r.Run = "" },
		"long run":     func(r *Request) { r.Run = strings.Repeat("a", 65) },
		"nonce":        func(r *Request) { r.Nonce = "a b" },
		"mode":         func(r *Request) { r.Mode = "FIX" },
	} {
		r := request()
		change(&r)
		if _, err := Encode(r); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDecode(t *testing.T) {
	want := Result{Run: "r-1", Outcome: Fixed, Changed: 2, Message: "Zugriff verweigert ü 😀 | @@fm", Uptime: -1,
		Steps: []StepDone{{Action: "put", Target: `C:\x`, Changed: 1, Note: strings.Repeat("n ", 200)}}}
	lines := Lines("n-1", want)
	rand.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	noise := "#< CLIXML\r\n<Objs></Objs>\r\nhello\r\n"
	got, err := Decode([]byte(noise+strings.Join(lines, " \r\n")+"\r\n"+noise), "n-1")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"nothing":   {"hello\n", ErrNoResult},
		"missing":   {strings.Join(lines[1:], "\n"), ErrMissing},
		"duplicate": {strings.Join(append(lines[:1:1], lines...), "\n"), ErrDuplicate},
		"foreign":   {strings.Join(Lines("n-2", want), "\n"), ErrForeign},
		"garbled":   {"@@fm n-1 1/1 {}|\n", ErrGarbled},
		"numbers":   {"@@fm n-1 2/1 {}|\n", ErrGarbled},
		"huge":      {"@@fm n-1 1/99999999 {}|\n", ErrGarbled},
		"cut":       {"@@fm n-1 1/1 {", ErrGarbled},
		"unread":    {strings.Join(Lines("none", want), "\n"), ErrUnread},
		"busy":      {strings.Join(Lines("n-1", Result{Outcome: Busy}), "\n"), ErrBusy},
	} {
		if _, err := Decode([]byte(c.text), "n-1"); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// PowerShell may write a mark before its first output, whichever stream that is.
func TestByteOrderMark(t *testing.T) {
	want := Result{Outcome: Clean, Message: "x"}
	if got, err := Decode([]byte("\ufeff"+strings.Join(Lines("n-1", want), "\r\n")), "n-1"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if !IsCLIXML("\ufeff#< CLIXML\r\n") || !IsCLIXML("#< CLIXML") || IsCLIXML("\ufeffAccess is denied.") {
		t.Error("CLIXML is not told from other text")
	}
}

func TestWithinRoom(t *testing.T) {
	whole := Result{Outcome: Fixed, Message: strings.Repeat("m", 1000), Steps: []StepDone{{Action: "script", Note: strings.Repeat("n", 1500)}, {Action: "put", Target: strings.Repeat("p", 800)}}}
	for _, room := range []int{0, 10_000, 3200, 2200, 600} {
		got := whole.Within(Request{Nonce: "n-1", Room: room})
		if n := size(Lines("n-1", got)); room > 0 && n > room || got.Clipped != (room == 3200 || room == 2200 || room == 600) {
			t.Errorf("room %d: %d bytes, clipped: %v", room, n, got.Clipped)
		}
	}
	if whole.Steps[0].Note == "" {
		t.Error("the result itself was clipped")
	}
}

func TestDecodeCLIXML(t *testing.T) {
	in := "#< CLIXML\r\n<Objs Version=\"1.1.0.1\"><S S=\"progress\">no</S><S S=\"Error\">_x001B_[31;1mZugriff &lt;x&gt; verweigert_x000D__x000A_</S>" +
		"<S S=\"Error\">_xD83D__xDE00_ zwei_x001B_[0m</S></Objs>"
	if got, want := DecodeCLIXML(in), "Zugriff <x> verweigert\n😀 zwei"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := DecodeCLIXML("plain\x1b[0m text\r\n"); got != "plain text" {
		t.Errorf("%q", got)
	}
	if got := DecodeCLIXML(strings.Repeat("x", 1<<20)); len(got) > maxText+3 {
		t.Errorf("%d bytes", len(got))
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(strings.Join(Lines("n-1", Result{Outcome: Fixed}), "\n")), "n-1")
	f.Add([]byte("@@fm n-1 1/2 {|\n@@fm n-1 2/2 }|"), "n-1")
	f.Fuzz(func(t *testing.T, stdout []byte, nonce string) {
		defer bounded.Input(t, len(stdout)+len(nonce))()
		if r, err := Decode(stdout, nonce); err == nil && r.Outcome == "" {
			t.Error("a result without outcome")
		}
	})
}

func FuzzDecodeStdin(f *testing.F) {
	good, _ := Encode(request())
	f.Add(good)
	kept, _ := EncodeKept(request())
	f.Add(kept)
	f.Add([]byte("fleetmend/2 " + Digest() + " 1 1\nabcdefgh~###\n{}\nfleetmend/end\n"))
	f.Fuzz(func(t *testing.T, stdin []byte) {
		defer bounded.Input(t, len(stdin))()
		_, _, _ = DecodeStdin(stdin)
	})
}

func FuzzDecodeCLIXML(f *testing.F) {
	f.Add("#< CLIXML\n<S S=\"Error\">_x001B_[31;1m</S>")
	f.Fuzz(func(t *testing.T, text string) {
		defer bounded.Input(t, len(text))()
		if len(DecodeCLIXML(text)) > 4*maxText {
			t.Error("unbounded")
		}
	})
}
