// Command wire measures what a machine costs the network and the controller. Bytes are counted at the sockets of the route, both ways, NTLM
// sealed over HTTP, against a simulated machine. What WinRM itself takes (handshake, shell, command, output, and their answers) is measured beside
// them by a command that does nothing. CPU is that of the process that carries a run out, for this tree and for an older commit, in turn.
//
//	go run ./test/bench/wire -machines 1000 -turns 3 -against c3ee017
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
)

func main() {
	machines := flag.Int("machines", 1000, "simulated machines of each CPU measurement")
	turns := flag.Int("turns", 3, "how often each program is measured; the median counts")
	against := flag.String("against", "c3ee017", "commit to compare with")
	flag.Parse()
	if err := errors.Join(wire(context.Background()), cpu(*machines, *turns, *against)); err != nil {
		fmt.Fprintln(os.Stderr, "wire:", err)
		os.Exit(1)
	}
}

const kilobyte = 1000

func wire(ctx context.Context) error {
	f, err := simfleet.New(simfleet.Options{Machines: 1, Seed: 4, Mix: &simfleet.Mix{Affected: 1}})
	if err != nil {
		return err
	}
	if err := f.Start(ctx); err != nil {
		return err
	}
	defer f.Close()
	var bytes atomic.Int64
	user, domain, password := f.Account()
	r, err := winrm.New(winrm.Config{
		Credential: func(context.Context, route.Target) (winrm.Credential, error) {
			return winrm.Credential{User: user, Domain: domain, Password: password}, nil
		},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			return &counted{conn, &bytes}, err
		},
	})
	if err != nil {
		return err
	}
	source, err := playbook.Builtin("crowdstrike-channel-file-291")
	if err != nil {
		return err
	}
	bound, err := source.Bind(nil)
	if err != nil {
		return err
	}
	bound.Reboot = playbook.RebootNever
	machine := f.Machines()[0]
	target := route.Target{ID: machine.Name, Name: machine.Name, Address: machine.Address}
	if _, err := r.Run(ctx, target, "rem", nil); err != nil {
		return err
	}
	empty := bytes.Swap(0)
	var rounds []int64
	for _, mode := range []agent.Mode{agent.Fix, agent.Verify, agent.Verify} {
		result, err := r.Do(ctx, target, agent.Request{Run: "wire", Nonce: agent.Nonce(), Mode: mode, Playbook: bound})
		if err != nil || result.Outcome != agent.Fixed {
			return fmt.Errorf("%s: %+v, %w", mode, result, err)
		}
		rounds = append(rounds, bytes.Swap(0))
	}
	travels, err := agentTravels()
	if err != nil {
		return err
	}
	kb := func(n int64) float64 { return float64(n) / kilobyte }
	fmt.Printf("agent.ps1              %.1f KB, %.1f KB as it travels (packed, base64)\n", kb(int64(len(agent.Script()))), kb(travels))
	fmt.Printf("a round of WinRM       %.1f KB in which nothing is said (six requests and their answers)\n", kb(empty))
	fmt.Printf("rounds on the wire     %.1f KB fix, %.1f KB verify, %.1f KB verify again\n", kb(rounds[0]), kb(rounds[1]), kb(rounds[2]))
	fmt.Printf("figure wire-first-round-beside-the-agent %.1f KB-more-than-an-empty-round budget <= 15\n", kb(rounds[0]-travels-empty))
	fmt.Printf("figure wire-later-round %.1f KB-more-than-an-empty-round budget <= 8\n", kb(max(rounds[1], rounds[2])-empty))
	fmt.Printf("figure wire-fixed-and-verified %.1f KB budget <= 110\n", kb(rounds[0]+rounds[1]))
	fmt.Printf("figure wire-fixed-and-verified-twice %.1f KB\n", kb(rounds[0]+rounds[1]+rounds[2]))
	return nil
}

// agentTravels is the agent's part of a request, in base64.
func agentTravels() (int64, error) {
	request := agent.Request{Run: "r", Nonce: "n", Mode: agent.Undo}
	whole, err := agent.Encode(request)
	named, namedErr := agent.EncodeKept(request)
	return int64(base64.StdEncoding.EncodedLen(len(whole) - len(named))), errors.Join(err, namedErr)
}

type counted struct {
	net.Conn
	bytes *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

// program is a built fleetmend, and what it took.
type program struct {
	name, binary string
	args         []string // that make a run stay in its process
	took         []time.Duration
}

func cpu(machines, turns int, against string) error {
	dir, err := os.MkdirTemp("", "wire-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ours := &program{name: "this tree", binary: filepath.Join(dir, "ours"), args: []string{"--foreground"}}
	if out, err := exec.Command("go", "build", "-trimpath", "-o", ours.binary, "./cmd/fleetmend").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	theirs := &program{name: against, binary: filepath.Join(dir, "theirs")}
	tree := filepath.Join(dir, "tree")
	build := fmt.Sprintf("mkdir %q && git archive %q | tar -x -C %q && cd %q && go build -trimpath -o %q ./cmd/fleetmend", tree, against, tree, tree, theirs.binary)
	if out, err := exec.Command("bash", "-o", "pipefail", "-c", build).CombinedOutput(); err != nil {
		fmt.Printf("skip: CPU was not compared: %s cannot be built here: %s\n", against, lastLine(out))
		return nil
	}
	for turn := range turns {
		for _, p := range []*program{theirs, ours} {
			took, err := carryOut(filepath.Join(dir, fmt.Sprintf("%s-%d", filepath.Base(p.binary), turn)), p, machines)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			p.took = append(p.took, took)
		}
	}
	each := func(p *program) float64 {
		slices.Sort(p.took)
		return float64(p.took[len(p.took)/2].Microseconds()) / 1000 / float64(machines)
	}
	fmt.Printf("CPU for a machine      %.2f ms, %.2f ms of %s (median of %d turns, %d machines)\n", each(ours), each(theirs), against, turns, machines)
	fmt.Printf("ratio wire-cpu %.2f %s budget <= 1\n", each(ours)/each(theirs), against)
	return nil
}

// carryOut fixes a simulated fleet once and returns the CPU that the run's process took.
func carryOut(dir string, p *program, machines int) (time.Duration, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return 0, err
	}
	sim := exec.Command(p.binary, "sim", "--dir", dir, "--machines", fmt.Sprint(machines), "--seed", "7", "--plain")
	out, err := sim.StdoutPipe()
	if err != nil {
		return 0, err
	}
	sim.Stderr = os.Stderr
	if err := sim.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = sim.Process.Signal(os.Interrupt)
		_ = sim.Wait()
	}()
	if _, err := bufio.NewReader(out).ReadBytes('\n'); err != nil {
		return 0, fmt.Errorf("the fleet does not start: %w", err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	config := filepath.Join(dir, "fleetmend.yaml")
	if out, err := exec.Command(p.binary, "--config", config, "inventory", "import", filepath.Join(dir, "machines.csv")).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("import: %w\n%s", err, out)
	}
	run := exec.Command(p.binary, append([]string{"--config", config, "run", "crowdstrike-channel-file-291", "--reboot", "never", "--waves", "100%",
		"--forks", "200", "--yes", "--quiet", "-o", "json"}, p.args...)...)
	run.Stderr = os.Stderr
	text, err := run.Output()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) {
		return 0, fmt.Errorf("run: %w", err)
	}
	var report struct {
		Run struct {
			Counts map[string]int `json:"counts"`
		} `json:"run"`
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return 0, fmt.Errorf("read the report: %w", err)
	}
	if done := report.Run.Counts["fixed"] + report.Run.Counts["clean"]; done < machines*9/10 {
		return 0, fmt.Errorf("the fleet was not fixed: %v", report.Run.Counts)
	}
	return run.ProcessState.UserTime() + run.ProcessState.SystemTime(), nil
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
