package agent

import (
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/bounded"
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
	line := CommandLine()
	if len(line) >= maxCommandLine {
		t.Fatalf("%d characters: cmd.exe takes %d", len(line), maxCommandLine)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(line, commandPrefix))
	if err != nil || len(raw) != 2*len(bootstrapText) {
		t.Fatalf("bootstrap: %d bytes, %v", len(raw), err)
	}
	for i := range len(bootstrapText) {
		if raw[2*i] != bootstrapText[i] || raw[2*i+1] != 0 {
			t.Fatalf("byte %d differs", i)
		}
	}
}

func TestEnvelopeRoundTrip(t *testing.T) {
	stdin, err := Encode(request())
	if err != nil {
		t.Fatal(err)
	}
	if len(stdin) > 97_000 { // the agent travels with every request; it is to stay on the machine one day
		t.Errorf("%d bytes on stdin: keep it below 97,000", len(stdin))
	}
	lines := strings.Split(string(stdin), "\n")
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
	for name, input := range map[string][]byte{"lf": stdin, "crlf": []byte(strings.ReplaceAll(string(stdin), "\n", "\r\n"))} {
		script, got, err := DecodeStdin(input)
		if err != nil || script != Script() {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, request()) {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	if _, _, err := DecodeStdin(stdin[:len(stdin)-10]); !errors.Is(err, ErrStdin) {
		t.Errorf("cut: %v", err)
	}
	changed := strings.Replace(string(stdin), "Set-StrictMode", "Set-Strictmode", 1)
	if _, _, err := DecodeStdin([]byte(changed)); !errors.Is(err, ErrStdin) {
		t.Errorf("changed script: %v", err)
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
	f.Add([]byte("fleetmend/1 1 1\na\n{}\nfleetmend/end\n"))
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
