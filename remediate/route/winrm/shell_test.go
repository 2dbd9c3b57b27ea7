package winrm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/route/routetest"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
)

func started(t *testing.T, change func(*host)) (*host, *winrm.Route, route.Target) {
	h := newHost(t)
	h.agent = fixed1
	if change != nil {
		change(h)
	}
	h.startTLS()
	return h, basicRoute(t, h, nil), route.Target{Name: "WS1", Address: h.address()}
}

func TestOneMachineCostsFiveRequestsOnOneConnection(t *testing.T) {
	var log bytes.Buffer
	h, _, target := started(t, nil)
	r := basicRoute(t, h, func(c *winrm.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	if _, err := r.Do(t.Context(), target, routetest.Request("run", agent.Fix)); err != nil || log.Len() > 0 { // such as a shell that could not be deleted
		t.Fatal(err, log.String())
	}
	if got := h.seen(); !slices.Equal(got, []string{"create", "command", "send", "receive", "delete"}) || h.accepted.Load() != 1 {
		t.Errorf("requests %q over %d connections", got, h.accepted.Load())
	}
	for _, want := range []string{
		`<w:Option Name="WINRS_NOPROFILE">TRUE</w:Option>`, `<w:Option Name="WINRS_CODEPAGE">65001</w:Option>`, `<w:Option Name="WINRS_SKIP_CMD_SHELL">FALSE</w:Option>`,
		`<rsp:InputStreams>stdin</rsp:InputStreams>`, `<rsp:OutputStreams>stdout stderr</rsp:OutputStreams>`, `xml:lang="en-US"`, `153600</w:MaxEnvelopeSize>`,
		`<rsp:IdleTimeOut>PT900.000S</rsp:IdleTimeOut>`,
		`<w:Option Name="WINRS_CONSOLEMODE_STDIN">FALSE</w:Option>`, `<w:OperationTimeout>PT20S</w:OperationTimeout>`,
		`End="true"`, `<w:Selector Name="ShellId">SHELL-1</w:Selector>`, "<a:To>https://" + h.address() + "/wsman</a:To>",
	} {
		if !strings.Contains(strings.Join(h.bodies, ""), want) {
			t.Errorf("%s was never sent", want)
		}
	}
}

func TestCommandLineIsEscapedAndStdinIsSplit(t *testing.T) {
	stdin := bytes.Repeat([]byte("0123456789abcdef"), 20_000) // 320,000 bytes: four Sends
	h, r, target := started(t, func(h *host) { h.stdout = func(in []byte) []byte { return in }; h.exit = 4294967295 })
	line := `cmd /c echo "a" & b < ]]> é` + "\t'"
	out, err := r.Run(t.Context(), target, line, stdin)
	if err != nil || !bytes.Equal(out.Stdout, stdin) || out.ExitCode != 4294967295 || !out.Done {
		t.Fatalf("exit %d, %d bytes, %v", out.ExitCode, len(out.Stdout), err)
	}
	sent := commandOf.FindStringSubmatch(h.bodies[1])
	if sent == nil || sent[1] != "cmd /c echo &#34;a&#34; &amp; b &lt; ]]&gt; é&#x9;&#39;" {
		t.Errorf("command line %q", sent)
	}
	if n := strings.Count(strings.Join(h.seen(), " "), "send"); n != 4 {
		t.Errorf("%d Sends", n)
	}
}

func TestReceivePollsUntilDone(t *testing.T) {
	n := 0
	h, r, target := started(t, func(h *host) {
		h.on["receive"] = func(c *call) {
			switch n++; n {
			case 1, 2:
				c.fault(2150858793, "Der Vorgang dauert an.")
			case 3:
				c.receive([]byte("one "), []byte("warn"), false, 0)
			case 4:
				c.receive(nil, nil, false, 0)
			default:
				c.receive([]byte("two"), nil, true, 3)
			}
		}
		h.stdout = func([]byte) []byte { return nil }
	})
	out, err := r.Run(t.Context(), target, "x", []byte("x"))
	if err != nil || string(out.Stdout) != "one two" || string(out.Stderr) != "warn" || out.ExitCode != 3 {
		t.Errorf("%q %q %d %v", out.Stdout, out.Stderr, out.ExitCode, err)
	}
	if h.shell {
		t.Error("the shell was left behind")
	}
}

// A machine that answers "no output yet" at once must not be asked thousands of times a second.
func TestReceiveDoesNotSpin(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const enough = 6
	var asked []time.Time
	h, r, target := started(t, func(h *host) {
		h.on["receive"] = func(c *call) {
			c.fault(2150858793, "")
			if asked = append(asked, time.Now()); len(asked) == enough {
				cancel()
			}
		}
		h.stdout = func([]byte) []byte { return nil }
	})
	_, err := r.Run(ctx, target, "x", []byte("x"))
	check(t, "cancel", err, route.Unknown, "receive")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v does not wrap the reason", err)
	}
	if len(asked) != enough {
		t.Fatalf("%d Receives", len(asked))
	}
	// The pauses double from 10 ms on. How much longer it takes is the computer's affair.
	if took := asked[enough-1].Sub(asked[0]); took < 300*time.Millisecond {
		t.Errorf("%d Receives in %v", enough, took)
	}
	if h.shell {
		t.Error("the shell was left behind")
	}
}

func TestProfileUnloadingGetsANewShellOnce(t *testing.T) {
	for _, op := range []string{"create", "command", "send"} {
		n := 0
		h, r, target := started(t, func(h *host) {
			h.on[op] = func(c *call) {
				if n++; n == 1 {
					c.fault(2147943418, "")
					return
				}
				c.normal()
			}
		})
		if _, err := r.Do(t.Context(), target, routetest.Request("run", agent.Fix)); err != nil || n != 2 || h.shell {
			t.Errorf("%s: %v after %d", op, err, n)
		}
	}
}

// A machine that first says nothing of the account and then refuses it has not judged it.
func TestSignInAfterAnAnswerThatSaysNothing(t *testing.T) {
	for _, offered := range []string{`Basic realm="WSMAN"`, "Negotiate"} {
		n := 0
		_, r, target := started(t, func(h *host) {
			h.on["create"] = func(c *call) {
				if n++; n == 1 {
					c.answerAs(400, "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault", c.id, `<s:Fault/><f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="2147943418"/>`)
					return
				}
				c.unauthorized(offered)
			}
		})
		_, err := r.Do(t.Context(), target, routetest.Request("run", agent.Fix))
		check(t, offered, err, route.Unreachable, "create")
		if n != 2 {
			t.Errorf("%d requests", n)
		}
	}
}

func TestCancelAmidReceiveDeletesTheShell(t *testing.T) {
	reached := make(chan struct{})
	h, r, target := started(t, func(h *host) {
		h.on["receive"] = func(c *call) { close(reached); c.hang() }
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("second Ctrl-C")
	go func() { <-reached; cancel(reason) }()
	_, err := r.Do(ctx, target, routetest.Request("run", agent.Fix))
	check(t, "cancel", err, route.Unknown, "receive")
	if !errors.Is(err, reason) || h.shell || h.accepted.Load() != 2 {
		t.Errorf("%v, shell left %v, %d connections", err, h.shell, h.accepted.Load())
	}
}

func TestTooMuchOutput(t *testing.T) {
	var nonce string
	flood := func(head func() []byte) func(*host) {
		return func(h *host) {
			h.agent = func(q agent.Request) agent.Result { nonce = q.Nonce; return fixed1(q) }
			first := true
			h.on["receive"] = func(c *call) {
				if first {
					c.receive(head(), nil, false, 0)
				} else {
					c.receive(bytes.Repeat([]byte("x"), 100<<10), nil, false, 0)
				}
				first = false
			}
		}
	}
	h, r, target := started(t, flood(func() []byte { return []byte("head") }))
	out, err := r.Run(t.Context(), target, "x", nil)
	check(t, "flood", err, route.Overflow, "receive")
	if text := "the output is larger than the limit of 1.0 MiB: 1.0 MiB came"; !strings.Contains(err.Error(), text) {
		t.Errorf("%v", err)
	}
	if len(out.Stdout) != 1<<20 || !bytes.HasPrefix(out.Stdout, []byte("headxxx")) || h.shell || len(hint.Of(err)) == 0 {
		t.Errorf("%d bytes kept, shell left %v, %v", len(out.Stdout), h.shell, err)
	}
	// The result came first: the machine has answered, whatever follows.
	_, r, target = started(t, flood(func() []byte {
		return []byte(strings.Join(agent.Lines(nonce, agent.Result{Run: "run", Outcome: agent.Fixed}), "\n") + "\n")
	}))
	if result, err := r.Do(t.Context(), target, routetest.Request("run", agent.Fix)); err != nil || result.Outcome != agent.Fixed {
		t.Errorf("%+v, %v", result, err)
	}
}

func TestAnswersWithoutResult(t *testing.T) {
	const clixml = "#< CLIXML\r\n<Objs><S S=\"Error\">Out of memory_x000D__x000A_</S></Objs>"
	for name, row := range map[string]struct {
		stdout, stderr string
		exit           int
		class          route.Class
		words          string
	}{
		"no envelope":       {"fleetmend: no envelope (0 lines)\r\n", "", 90, route.Unreachable, "incomplete"},
		"cut envelope":      {"fleetmend: cut short\r\n", "", 91, route.Unreachable, "incomplete"},
		"no PowerShell":     {"", "'powershell.exe' is not recognized", 9009, route.Refused, "not found"},
		"blocked":           {"", "This program is blocked by group policy.", 1, route.Refused, "did not start"},
		"died":              {"", "", 1, route.Unknown, "exit code 1"},
		"failed with error": {"", clixml, 1, route.Unknown, "Out of memory"},
		"only noise":        {"noise", "", 0, route.Unknown, "no result"},
		"damaged":           {"@@fm x 1/2 abc|\r\n", "", 0, route.Unknown, "result"},
	} {
		_, r, target := started(t, func(h *host) {
			h.on["receive"] = func(c *call) { c.receive([]byte(row.stdout), []byte(row.stderr), true, row.exit) }
		})
		_, err := r.Do(t.Context(), target, routetest.Request("run", agent.Fix))
		check(t, name, err, row.class, "receive")
		if err == nil || !strings.Contains(err.Error(), row.words) || len(hint.Of(err)) == 0 {
			t.Errorf("%s: %v %q", name, err, hint.Of(err))
		}
	}
}

func TestWrongPasswordReachesOneMachineOnly(t *testing.T) {
	h := newHost(t).startTLS()
	r := basicRoute(t, h, func(c *winrm.Config) { c.Credential = fixed(user, "wrong") })
	classes := map[route.Class]int{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			_, err := r.Do(t.Context(), route.Target{Name: fmt.Sprint("WS", i), Address: h.address()}, routetest.Request("run", agent.Fix))
			mu.Lock()
			classes[route.ClassOf(err)]++
			mu.Unlock()
		})
	}
	group.Wait()
	if classes[route.Auth] != 1 || classes[route.Stopped] != 99 || len(h.seen()) != 1 {
		t.Errorf("classes %v, %d requests", classes, len(h.seen()))
	}
}

func TestNoSecretLeaves(t *testing.T) {
	var log bytes.Buffer
	h, _, target := started(t, func(h *host) { h.on["delete"] = func(c *call) { c.fault(5, "no") } })
	r := basicRoute(t, h, func(c *winrm.Config) {
		c.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	var seen bytes.Buffer
	_, err := r.Do(t.Context(), target, routetest.Request("run", agent.Fix))
	fmt.Fprintf(&seen, "%v %+v %#v", err, r, winrm.Credential{User: "u", Password: secret.New(password)})
	h.on["create"] = func(c *call) { c.unauthorized("Basic") }
	_, err = r.Do(t.Context(), target, routetest.Request("run", agent.Fix))
	fmt.Fprintf(&seen, "%v %q", err, hint.Of(err))
	seen.Write(log.Bytes())
	if log.Len() == 0 {
		t.Error("nothing was logged")
	}
	for _, body := range h.bodies {
		seen.WriteString(body)
	}
	if strings.Contains(seen.String(), password) {
		t.Error("the password was shown")
	}
}

func TestParseUser(t *testing.T) {
	for in, want := range map[string][2]string{
		`CORP\admin`: {"admin", "CORP"}, `.\local`: {"local", ""}, "admin": {"admin", ""},
		"admin@corp.example": {"admin@corp.example", ""}, ` CORP\jörg `: {"jörg", "CORP"},
	} {
		if user, domain, err := winrm.ParseUser(in); err != nil || user != want[0] || domain != want[1] {
			t.Errorf("%q: %q %q %v", in, user, domain, err)
		}
	}
	for _, in := range []string{"", " ", `CORP\`, `\x`, `a\b\c`, "a\nb"} {
		if _, _, err := winrm.ParseUser(in); err == nil {
			t.Errorf("%q was accepted", in)
		}
	}
}

// A machine that answers at once, a byte at a time, is not asked thousands of times a second.
func TestATrickleIsNotPolled(t *testing.T) {
	h, r, target := started(t, func(h *host) {
		h.on["receive"] = func(c *call) { c.receive([]byte("x"), nil, false, 0) }
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := r.Do(ctx, target, routetest.Request("run", agent.Fix))
	check(t, "trickle", err, route.Unknown, "receive")
	if total := len(h.seen()); total > 30 || total < 8 {
		t.Errorf("%d requests in two seconds", total)
	}
}

// All machines together may send no more than a few may: the others wait, and come to their end.
func TestLargeOutputsTakeTurns(t *testing.T) {
	h := newHost(t)
	var mu sync.Mutex
	inside, most, sent := 0, 0, map[string]int{}
	block := bytes.Repeat([]byte("y"), 128<<10)
	h.on["receive"] = func(c *call) {
		mu.Lock()
		sent[c.r.RemoteAddr]++
		switch n := sent[c.r.RemoteAddr]; n {
		case 4: // above what any may send
			inside++
			most = max(most, inside)
		case 7:
			inside--
		}
		over := sent[c.r.RemoteAddr] == 7
		mu.Unlock()
		c.receive(block, nil, over, 0)
	}
	h.startTLS()
	r := basicRoute(t, h, nil)
	var group sync.WaitGroup
	for i := range 30 {
		group.Go(func() {
			out, err := r.Run(t.Context(), route.Target{Name: fmt.Sprint("WS", i), Address: h.address()}, "x", nil)
			if err != nil || len(out.Stdout) != 7*len(block) {
				t.Errorf("%d bytes, %v", len(out.Stdout), err)
			}
		})
	}
	group.Wait()
	if most > 6 || most < 2 {
		t.Errorf("%d at once", most)
	}
}
