//go:build unix

// Command floor measures what a run takes beside the least that it could take. A fleetmend process looks at a simulated fleet, NTLM sealed
// over HTTP, and a bare client asks the same machines the same: as many requests, as many bytes, and nothing else. Then a fleet of which every
// machine is affected is fixed, with its restarts. CPU and memory are those of the operating system for the finished processes, requests and
// bytes are counted by the simulated machines. Ansible does a sample of the same machines.
//
//	bash test/bench/floor.sh
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	binary := flag.String("fleetmend", "", "the program to measure")
	machines := flag.Int("machines", 10000, "machines that are looked at")
	fixed := flag.Int("fixed", 1000, "machines that are fixed, with their restarts")
	forks := flag.Int("forks", 1000, "machines in flight at once")
	sample := flag.Int("sample", 40, "machines that Ansible does; 0: no comparison")
	bare := flag.String("bare", "", "be the bare client of the fleet in this folder")
	flag.Parse()
	var err error
	if *bare != "" {
		err = look(*bare, *forks)
	} else {
		err = errors.Join(looked(*binary, *machines, *forks, *sample), mended(*binary, *fixed, *forks))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

type stats struct {
	Requests int64 `json:"requests"`
	Received int64 `json:"received"`
	Written  int64 `json:"written"`
	Boots    int64 `json:"boots"`
}

// figures are those of a finished process, and what the fleet saw of it, for one machine.
type figures struct {
	cpu             time.Duration
	memory          int64
	requests, bytes float64
}

// fleet is a simulated fleet in a process of its own.
type fleet struct {
	dir, control string
	machines     int
	sim          *exec.Cmd
}

func serve(binary string, machines int, more ...string) (*fleet, error) {
	dir, err := os.MkdirTemp("", "floor-")
	if err != nil {
		return nil, err
	}
	f := &fleet{dir: dir, machines: machines}
	f.sim = exec.Command(binary, append([]string{"sim", "--dir", dir, "--machines", fmt.Sprint(machines), "--seed", "7"}, more...)...)
	f.sim.Stderr = os.Stderr
	out, err := f.sim.StdoutPipe()
	if err == nil {
		err = f.sim.Start()
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	var ready struct {
		Control string `json:"control"`
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil {
		f.close()
		return nil, fmt.Errorf("the fleet does not start: %w", err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	f.control = ready.Control
	if out, err := exec.Command(binary, "--config", f.config(), "inventory", "import", filepath.Join(dir, "machines.csv")).CombinedOutput(); err != nil {
		f.close()
		return nil, fmt.Errorf("import: %w\n%s", err, out)
	}
	return f, nil
}

func (f *fleet) config() string { return filepath.Join(f.dir, "fleetmend.yaml") }

func (f *fleet) close() {
	_ = f.sim.Process.Signal(os.Interrupt)
	_ = f.sim.Wait()
	_ = os.RemoveAll(f.dir)
}

func (f *fleet) stats() (s stats, err error) {
	answer, err := http.Get(f.control + "/stats")
	if err != nil {
		return s, err
	}
	defer func() { _ = answer.Body.Close() }()
	return s, json.NewDecoder(answer.Body).Decode(&s)
}

// measure runs a process to its end. The exit codes are those that are no failure.
func (f *fleet) measure(cmd *exec.Cmd, codes ...int) (figures, []byte, error) {
	before, err := f.stats()
	if err != nil {
		return figures{}, nil, err
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		for _, code := range codes {
			if exit.ExitCode() == code {
				err = nil
			}
		}
	}
	if err != nil {
		return figures{}, out, err
	}
	after, err := f.stats()
	if err != nil {
		return figures{}, out, err
	}
	n := float64(f.machines)
	m := figures{
		cpu:      (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()) / time.Duration(f.machines),
		requests: float64(after.Requests-before.Requests) / n, bytes: float64(after.Received+after.Written-before.Received-before.Written) / n,
	}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		m.memory = usage.Maxrss << 10
	}
	return m, out, nil
}

func (f *fleet) run(binary string, forks int, more ...string) (figures, map[string]int, error) {
	cmd := exec.Command(binary, append([]string{"--config", f.config(), "run", "crowdstrike-channel-file-291", "--waves", "100%", "--max-fail", "none", "--forks", fmt.Sprint(forks),
		"--yes", "--quiet", "-o", "json", "--foreground"}, more...)...)
	m, out, err := f.measure(cmd, 3, 10)
	if err != nil {
		return m, nil, fmt.Errorf("run: %w", err)
	}
	var report struct {
		Run struct {
			Counts map[string]int `json:"counts"`
		} `json:"run"`
	}
	err = json.Unmarshal(out, &report)
	return m, report.Run.Counts, err
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func looked(binary string, machines, forks, sample int) error {
	f, err := serve(binary, machines, "--plain")
	if err != nil {
		return err
	}
	defer f.close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ours, counts, err := f.run(binary, forks, "--dry-run")
	if err != nil {
		return err
	}
	if n := counts["affected"] + counts["clean"]; n < machines*99/100 {
		return fmt.Errorf("of %d machines only %d were looked at: %v", machines, n, counts)
	}
	floor, _, err := f.measure(exec.Command(self, "-bare", f.dir, "-forks", fmt.Sprint(forks)))
	if err != nil {
		return fmt.Errorf("bare client: %w", err)
	}
	fmt.Printf("looked at              %d machines, %d in flight: %.1f requests and %.1f KB each; the bare client %.1f and %.1f KB\n",
		machines, forks, ours.requests, ours.bytes/1000, floor.requests, floor.bytes/1000)
	fmt.Printf("figure floor-looked-at %.2f ms-CPU/machine\n", milliseconds(ours.cpu))
	fmt.Printf("figure floor-bare-client %.2f ms-CPU/machine\n", milliseconds(floor.cpu))
	fmt.Printf("ratio floor-cpu %.2f bare-client budget <= 2.2\n", float64(ours.cpu)/float64(floor.cpu))
	fmt.Printf("figure floor-memory %d MB budget <= 200\n", ours.memory>>20)
	return beside(f, ours, sample)
}

func mended(binary string, machines, forks int) error {
	f, err := serve(binary, machines, "--mix", fmt.Sprintf("affected=%d", machines))
	if err != nil {
		return err
	}
	defer f.close()
	ours, counts, err := f.run(binary, forks)
	if err != nil {
		return err
	}
	if counts["fixed"] < machines*99/100 {
		return fmt.Errorf("of %d machines only %d were fixed: %v", machines, counts["fixed"], counts)
	}
	fmt.Printf("figure floor-fixed-cpu %.2f ms-CPU/machine budget <= 3\n", milliseconds(ours.cpu))
	fmt.Printf("figure floor-fixed-requests %.1f requests/machine budget <= 14\n", ours.requests)
	fmt.Printf("fixed                  %d machines, %d in flight, %.1f KB each, %d MB\n", machines, forks, ours.bytes/1000, ours.memory>>20)
	return nil
}

// beside has Ansible do a sample of the same machines.
func beside(f *fleet, ours figures, sample int) error {
	program := "ansible"
	if venv := os.Getenv("FLEETMEND_VENV"); venv != "" {
		program = filepath.Join(venv, "bin", "ansible")
	}
	if _, err := exec.LookPath(program); err != nil || sample == 0 {
		fmt.Println("skip: Ansible was not measured; FLEETMEND_VENV names a virtual environment with ansible-core and pywinrm")
		return nil
	}
	sample = min(sample, f.machines)
	cmd := exec.Command(program, "-i", filepath.Join(f.dir, "ansible.ini"), fmt.Sprintf("all[0:%d]", sample-1), "-f", "20", "-m", "raw", "-a", "hostname")
	cmd.Env = append(os.Environ(), "ANSIBLE_HOST_KEY_CHECKING=False")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Printf("skip: Ansible was not measured: %v: %.200s\n", err, out)
		return nil
	}
	theirs := (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()) / time.Duration(sample)
	fmt.Printf("Ansible raw            %.1f ms CPU per machine on %d of the same machines\n", milliseconds(theirs), sample)
	fmt.Printf("ratio floor-ansible %.5f ansible budget <= %.5f\n", float64(ours.cpu)/float64(theirs), 1.0/220)
	return nil
}
