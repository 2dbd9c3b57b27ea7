package simfleet_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

const incident = "crowdstrike-channel-file-291"

// ask sends one request of the agent over a shell of its own and returns the machine's answer.
func (c *client) ask(run string, mode agent.Mode) (agent.Result, error) {
	c.t.Helper()
	return c.askOf(run, mode, cure(c.t))
}

// cure is the built-in playbook of the incident.
func cure(t testing.TB) playbook.Playbook {
	t.Helper()
	source, err := playbook.Builtin(incident)
	if err != nil {
		t.Fatal(err)
	}
	bound, err := source.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	return bound
}

func (c *client) askOf(run string, mode agent.Mode, bound playbook.Playbook) (agent.Result, error) {
	c.t.Helper()
	request := agent.Request{Run: run, Nonce: agent.Nonce(), Mode: mode, Playbook: bound}
	stdin, err := agent.Encode(request)
	if err != nil {
		c.t.Fatal(err)
	}
	shell := c.create()
	command := c.command(shell, agent.CommandLine(), false)
	if status, reply := c.input(shell, command, stdin, true); status != 200 {
		c.t.Fatalf("send: %d %s", status, reply)
	}
	out, reply, err := c.whole(shell, command)
	if err != nil {
		return agent.Result{}, err
	}
	result, err := agent.Decode(out, request.Nonce)
	if exit := between(reply, "<rsp:ExitCode>", "<"); err == nil && (exit == "1") != (result.Outcome == agent.Failed) {
		c.t.Errorf("exit code %s with outcome %s", exit, result.Outcome)
	}
	if !c.dead {
		c.remove(shell)
	}
	return result, err
}

// whole receives until the command is done, however long that takes: out is all that it said, reply the last one.
func (c *client) whole(shell, command string) (out []byte, reply string, err error) {
	c.t.Helper()
	for {
		var status int
		status, reply = c.receive(shell, command)
		if status == 500 && faultOf(reply) == "2150858793" { // nothing was said for so long: ask again
			continue
		}
		if status != 200 {
			return nil, "", fmt.Errorf("receive: %d %s", status, reply)
		}
		for _, m := range streams.FindAllStringSubmatch(reply, -1) {
			out = append(out, unbase64(c.t, m[2])...)
		}
		if strings.Contains(reply, "CommandState/Done") {
			return out, reply, nil
		}
	}
}

// until polls a state that timers of the fleet change.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func look(t *testing.T, f *simfleet.Fleet, name string) simfleet.State {
	t.Helper()
	s, err := f.Machine(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAnAffectedMachineIsFixedOnceAndUndone(t *testing.T) {
	fixedOnceAndUndone(t, open(1, simfleet.Mix{Affected: 1}))
}

func fixedOnceAndUndone(t *testing.T, o simfleet.Options) {
	t.Helper()
	o.BootMin, o.BootMax = time.Millisecond, time.Millisecond
	f := start(t, o)
	name := first(f)
	before := look(t, f, name)
	c := basic(t, f, name, "http")
	if r, err := c.ask("r-1", agent.Detect); err != nil || r.Outcome != agent.Affected {
		t.Fatalf("detect: %+v, %v", r, err)
	}
	r, err := c.ask("r-1", agent.Fix)
	if err != nil || r.Outcome != agent.Fixed || r.Changed != 1 || r.Reboot != "scheduled" {
		t.Fatalf("fix: %+v, %v", r, err)
	}
	until(t, "the restart", func() bool { s := look(t, f, name); return s.Boots == 1 && s.Up })
	after := look(t, f, name)
	if after.Changes != 1 || after.Crashes || !before.Crashes || !after.Booted.After(before.Booted) {
		t.Errorf("after the fix: %+v", after)
	}
	c = basic(t, f, name, "http")
	if r, err := c.ask("r-1", agent.Fix); err != nil || !r.Repeated || r.Outcome != agent.Fixed {
		t.Errorf("asked again: %+v, %v", r, err)
	}
	if r, err := c.ask("r-2", agent.Verify); err != nil || r.Outcome != agent.Fixed || r.Uptime > 60 {
		t.Errorf("verify: %+v, %v", r, err)
	}
	if r, err := c.ask("r-1", agent.Undo); err != nil || r.Outcome != agent.Undone {
		t.Fatalf("undo: %+v, %v", r, err)
	}
	undone := look(t, f, name)
	if undone.Changes != 2 || !undone.Crashes {
		t.Errorf("after undo: %d changes, crashes %v", undone.Changes, undone.Crashes)
	}
	files := map[string]string{}
	for _, x := range undone.Files {
		files[x.Path] = x.SHA256 + x.Modified.String()
	}
	for _, x := range before.Files {
		if files[x.Path] != x.SHA256+x.Modified.String() {
			t.Errorf("%s is not as it was", x.Path)
		}
	}
	if !reflect.DeepEqual(before.Registry, undone.Registry) {
		t.Error("the registry is not as it was")
	}
}

func TestEachKindBehavesAsItSays(t *testing.T) {
	kinds := map[simfleet.Kind]simfleet.Mix{
		simfleet.Clean: {}, simfleet.Slow: {Slow: 1}, simfleet.Busy: {Busy: 1}, simfleet.Broken: {Broken: 1}, simfleet.Denied: {Denied: 1},
		simfleet.DropBefore: {DropBefore: 1}, simfleet.DropAfter: {DropAfter: 1}, simfleet.Refused: {Refused: 1}, simfleet.BlackHole: {BlackHole: 1},
	}
	for kind, mix := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			o := open(1, mix)
			o.TimeScale = 1e6 // no restart within this test
			f := start(t, o)
			m := f.Machines()[0]
			if m.Kind != kind {
				t.Fatalf("kind %s", m.Kind)
			}
			c := basic(t, f, m.Name, "http")
			c.dead = true
			switch kind {
			case simfleet.Refused:
				if _, err := net.Dial("tcp", m.Address); err == nil {
					t.Error("it accepts")
				}
			case simfleet.BlackHole:
				c.http.Timeout = 50 * time.Millisecond
				if status, reply := c.post(soap, nil, ""); status != 0 {
					t.Errorf("it answers: %d %s", status, reply)
				}
			case simfleet.Denied, simfleet.Busy:
				want := map[simfleet.Kind]string{simfleet.Denied: "5", simfleet.Busy: "2150859173"}[kind]
				status, reply := c.call(transfer+"Create", "", "", "<rsp:Shell/>")
				if status != 500 || faultOf(reply) != want {
					t.Errorf("first create: %d %s", status, reply)
				}
				if status, _ = c.call(transfer+"Create", "", "", "<rsp:Shell/>"); (status == 200) != (kind == simfleet.Busy) {
					t.Errorf("second create: %d", status)
				}
			default:
				fixDespiteDrops(t, f, m, c)
			}
		})
	}
}

func fixDespiteDrops(t *testing.T, f *simfleet.Fleet, m simfleet.Info, c *client) {
	if m.Kind == simfleet.DropBefore {
		if status, reply := c.call(transfer+"Create", "", "", "<rsp:Shell/>"); status != 0 {
			t.Errorf("the first connection is not cut: %d %s", status, reply)
		}
	}
	r, err := c.ask("k", agent.Fix)
	if m.Kind == simfleet.DropAfter {
		if err == nil || look(t, f, m.Name).Changes != 1 {
			t.Errorf("the answer to the fix is not cut: %+v %v", r, err)
		}
		r, err = c.ask("k", agent.Fix)
		if !r.Repeated {
			t.Errorf("asked again: %+v", r)
		}
	}
	if err != nil || r.Outcome != m.Expected {
		t.Errorf("fix: %+v, %v, want %s", r, err, m.Expected)
	}
	if want := map[bool]int64{true: 1}[m.Expected == "fixed"]; look(t, f, m.Name).Changes != want {
		t.Errorf("%d changes, want %d", look(t, f, m.Name).Changes, want)
	}
}

func TestARestartIsAPowerCut(t *testing.T) {
	o := open(1, simfleet.Mix{})
	o.BootMin, o.BootMax = 200*time.Millisecond, 200*time.Millisecond
	f := start(t, o)
	m := f.Machines()[0]
	c := basic(t, f, m.Name, "http")
	shell := c.create()
	hanging := basic(t, f, m.Name, "http")
	hanging.dead = true
	command := hanging.command(shell, "more", true)
	lost := make(chan int, 1)
	go func() {
		status, _ := hanging.receive(shell, command)
		lost <- status
	}()
	until(t, "the receive is under way", func() bool { return look(t, f, m.Name).Requests >= 3 })
	c.dead = true
	// The reply may get out or not: the machine is going down.
	c.call(shellURI+"Command", shell, "", `<rsp:CommandLine><rsp:Command>shutdown /r /t 0</rsp:Command></rsp:CommandLine>`)
	if status := <-lost; status != 0 && status != 500 {
		t.Errorf("receive during the restart: %d", status)
	}
	until(t, "it is off, or back already", func() bool { s := look(t, f, m.Name); return !s.Up || s.Boots == 1 })
	if conn, err := net.Dial("tcp", m.Address); err == nil {
		_ = conn.Close()
		if look(t, f, m.Name).Boots == 0 {
			t.Error("it accepts while it is off")
		}
	}
	until(t, "it is up", func() bool { s := look(t, f, m.Name); return s.Up && s.Boots == 1 })
	if _, reply := basic(t, f, m.Name, "http").receive(shell, command); faultOf(reply) != "2150858843" {
		t.Errorf("the shell survived: %s", reply)
	}
}

func TestACrashLoopEndsWithTheFix(t *testing.T) {
	o := open(1, simfleet.Mix{CrashLoop: 1})
	o.CrashUpMin, o.CrashUpMax = 250*time.Millisecond, 250*time.Millisecond
	o.CrashDownMin, o.CrashDownMax = 10*time.Millisecond, 10*time.Millisecond
	o.BootMin, o.BootMax, o.DiskCheck, o.TimeScale = time.Millisecond, time.Millisecond, time.Millisecond, 1e-6
	f := start(t, o)
	name := first(f)
	until(t, "two crashes", func() bool { s := look(t, f, name); return s.Boots >= 2 && s.Up })
	// Knock until an answer gets out between two crashes, as a client that chases the machine would.
	until(t, "the fix", func() bool {
		if look(t, f, name).Changes == 0 && look(t, f, name).Up {
			c := basic(t, f, name, "http")
			c.dead = true
			_, _ = c.askOnce(agent.Fix)
		}
		return look(t, f, name).Changes == 1
	})
	until(t, "the restart that the fix asked for", func() bool { return look(t, f, name).Up })
	boots := look(t, f, name).Boots
	<-time.After(400 * time.Millisecond) // more than a crash would take to come
	until(t, "it is up", func() bool { return look(t, f, name).Up })
	if got := look(t, f, name).Boots; got > boots+1 {
		t.Errorf("it still crashes: %d starts, then %d", boots, got)
	}
}

// askOnce is ask for a connection that may be lost anywhere.
func (c *client) askOnce(mode agent.Mode) (status int, reply string) {
	source, err := playbook.Builtin(incident)
	if err != nil {
		c.t.Fatal(err)
	}
	bound, _ := source.Bind(nil)
	stdin, err := agent.Encode(agent.Request{Run: "chase", Nonce: agent.Nonce(), Mode: mode, Playbook: bound})
	if err != nil {
		c.t.Fatal(err)
	}
	if status, reply = c.call(transfer+"Create", "", "", "<rsp:Shell/>"); status != 200 {
		return status, reply
	}
	shell := between(reply, "<rsp:ShellId>", "</rsp:ShellId>")
	if status, reply = c.call(shellURI+"Command", shell, "", `<rsp:CommandLine><rsp:Command>`+agent.CommandLine()+`</rsp:Command></rsp:CommandLine>`); status != 200 {
		return status, reply
	}
	command := between(reply, "<rsp:CommandId>", "</rsp:CommandId>")
	if status, reply = c.input(shell, command, stdin, true); status != 200 {
		return status, reply
	}
	return c.receive(shell, command)
}

func TestDropsGarbageAndFlood(t *testing.T) {
	f := start(t, open(1, simfleet.Mix{Affected: 1}))
	name := first(f)
	set := func(faults simfleet.Faults) {
		t.Helper()
		if err := f.SetFaults(name, faults); err != nil {
			t.Fatal(err)
		}
	}
	set(simfleet.Faults{Flood: 3 << 20})
	look(t, f, name) // makes the machine, with the flood
	for _, at := range []int64{0, 1, 17, 300} {
		set(simfleet.Faults{Drops: []simfleet.Drop{{Operation: "create", Byte: at, Times: 1}}})
		c := basic(t, f, name, "http")
		c.dead = true
		if status, body := c.call(transfer+"Create", "", "", "<rsp:Shell/>"); status == 200 && !strings.Contains(body, "EOF") {
			t.Errorf("cut at %d: %d %s", at, status, body)
		}
	}
	if s := look(t, f, name); s.Drops != 4 || s.Shells != 4 {
		t.Errorf("%d drops, %d shells; the machine acted each time", s.Drops, s.Shells)
	}
	set(simfleet.Faults{Garbage: []byte("<html>proxy error</html>")})
	if status, reply := basic(t, f, name, "http").call(transfer+"Create", "", "", "<rsp:Shell/>"); status != 200 || reply != "<html>proxy error</html>" {
		t.Errorf("garbage: %d %s", status, reply)
	}
	set(simfleet.Faults{Refuse: []simfleet.Refusal{{Operation: "command", Code: 2150859174, Times: 1}}})
	c := basic(t, f, name, "http")
	shell := c.create()
	if _, reply := c.call(shellURI+"Command", shell, "", `<rsp:CommandLine><rsp:Command>ver</rsp:Command></rsp:CommandLine>`); faultOf(reply) != "2150859174" {
		t.Errorf("refusal: %s", reply)
	}
	command := c.command(shell, agent.CommandLine(), false)
	c.input(shell, command, []byte("x"), true)
	if out, _, exit, _ := c.output(shell, command); exit != "91" || !strings.HasPrefix(out, "fleetmend: ") {
		t.Errorf("no envelope: %q, exit %s", out, exit)
	}
}

// TestASeedIsAFleet draws the same fleet twice and another one with another seed.
func TestASeedIsAFleet(t *testing.T) {
	draw := func(seed uint64) []simfleet.Info {
		f, err := simfleet.New(simfleet.Options{Machines: 1000, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.Close)
		return f.Machines()
	}
	a, b, c := draw(7), draw(7), draw(8)
	if !reflect.DeepEqual(a, b) || reflect.DeepEqual(a, c) {
		t.Error("a fleet does not follow from its seed")
	}
	count, names := map[simfleet.Kind]int{}, map[string]bool{}
	classes := map[string]int{}
	for _, m := range a {
		count[m.Kind]++
		classes[m.Class]++
		names[m.Name] = true
	}
	if count[simfleet.Affected] != 550 || count[simfleet.Clean] != 300 || count[simfleet.CrashLoop] != 20 || len(names) != 1000 {
		t.Errorf("kinds %v, %d names", count, len(names))
	}
	if classes["dc"] != 6 || classes["server"] < 50 || classes["server"] > 150 {
		t.Errorf("classes %v", classes)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []simfleet.Options{{Machines: -1}, {Machines: 20_001}, {Mix: &simfleet.Mix{Affected: 1.1}}, {Mix: &simfleet.Mix{Affected: .6, Broken: .6}}, {CBT: "Maybe"}} {
		if f, err := simfleet.New(o); err == nil {
			f.Close()
			t.Errorf("accepted: %+v", o)
		}
	}
}

func TestWriteAndControl(t *testing.T) {
	const planted = "Planted-Passw0rd!"
	f := start(t, simfleet.Options{Machines: 30, Seed: 3, Password: secret.New(planted)})
	dir := t.TempDir()
	if err := f.Write(dir); err != nil {
		t.Fatal(err)
	}
	var seen bytes.Buffer
	for name, mode := range map[string]os.FileMode{"fleetmend.yaml": 0o644, "machines.csv": 0o644, "ca.pem": 0o644, "ansible.ini": 0o644, "client.pem": 0o644, "client-key.pem": 0o600, "password": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Separator == '/' && info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "password" {
			if string(raw) != planted {
				t.Error("the password file is wrong")
			}
			continue
		}
		seen.Write(raw)
	}
	if lines := strings.Count(seen.String(), ",127."); lines != 30 {
		t.Errorf("%d addresses in machines.csv", lines)
	}
	ready, err := json.Marshal(f.Ready(dir))
	if err != nil {
		t.Fatal(err)
	}
	seen.Write(ready)
	for _, path := range []string{"/stats", "/machines", "/machines/" + first(f)} {
		r, err := http.Get(f.Control() + path) //nolint:noctx // a test
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(&seen, r.Body)
		_ = r.Body.Close()
		if err != nil || r.StatusCode != 200 || n < 100 {
			t.Errorf("%s: %d, %d bytes, %v", path, r.StatusCode, n, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if strings.Contains(seen.String(), planted) {
		t.Error("the password is in a file or an answer that must not have it")
	}
	if !strings.Contains(seen.String(), `C-00000291-00000000-000000`) || !strings.Contains(seen.String(), `"event":"ready"`) {
		t.Error("the control endpoint shows no files, or ready is wrong")
	}
}
