//go:build unix

package winrm_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
	"github.com/fleetmend/fleetmend/remediate/signin"
)

// serveFleet names the environment variable that turns the test binary into a fleet, so that a benchmark measures the
// client's CPU alone.
const serveFleet = "FLEETMEND_TEST_FLEET"

type remoteFleet struct {
	Machines []simfleet.Info
	User     string
	Domain   string
	Password string
	CA       []byte
}

func TestMain(m *testing.M) {
	if os.Getenv(serveFleet) == "" {
		for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} { // Go looks at them once; see TestNoProxyIsAsked
			if err := os.Setenv(name, "http://192.0.2.1:3128"); err != nil {
				panic(err)
			}
		}
		os.Exit(m.Run())
	}
	machines, latency := 0, time.Duration(0)
	_, err := fmt.Sscan(os.Getenv(serveFleet), &machines, &latency)
	if err == nil {
		err = serve(machines, latency)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(machines int, latency time.Duration) error {
	f, err := simfleet.New(simfleet.Options{Machines: machines, Seed: 7, Mix: &simfleet.Mix{Affected: 1}, AllowBasic: true, Latency: latency})
	if err != nil {
		return err
	}
	if err := f.Start(context.Background()); err != nil {
		return err
	}
	defer f.Close()
	user, domain, password := f.Account()
	if err := json.NewEncoder(os.Stdout).Encode(remoteFleet{f.Machines(), user, domain, password.Reveal(), f.CAPEM()}); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// startRemote runs a fleet in a process of its own until the benchmark ends.
func startRemote(b *testing.B, machines int, latency time.Duration) remoteFleet {
	b.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), fmt.Sprintf("%s=%d %v", serveFleet, machines, latency))
	command.Stderr = os.Stderr
	stdin, err := command.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = stdin.Close(); _ = command.Wait() })
	var fleet remoteFleet
	if err := json.NewDecoder(bufio.NewReader(stdout)).Decode(&fleet); err != nil {
		b.Fatal(err)
	}
	return fleet
}

// BenchmarkMachine asks one machine after the other one question, 64 at a time, and reports what the client alone costs.
func BenchmarkMachine(b *testing.B) {
	fleet := startRemote(b, 256, 0)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(fleet.CA)
	for name, config := range map[string]winrm.Config{
		"ntlm-sealed": {},
		"ntlm-https":  {Scheme: "https", RootCAs: roots},
		"basic-https": {Scheme: "https", RootCAs: roots, Auth: winrm.AuthBasic},
	} {
		b.Run(name, func(b *testing.B) { fan(b, fleet, config, 64) })
	}
}

// BenchmarkThousandInFlight holds a thousand machines that answer slowly, for the memory it takes.
func BenchmarkThousandInFlight(b *testing.B) {
	fleet := startRemote(b, 1000, 200*time.Millisecond)
	fan(b, fleet, winrm.Config{}, 1000)
	b.ReportMetric(peakMiB(), "peak-MiB")
}

// BenchmarkRoundTrip is the price of signing in to few machines at a time: how many of 200 in flight come through in a second, by the
// time that a machine takes to answer.
func BenchmarkRoundTrip(b *testing.B) {
	fleet := startRemote(b, 256, 0)
	for _, rtt := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond} {
		for _, limit := range []int{signin.Limit, 5, 1000} {
			b.Run(fmt.Sprintf("%s/sign-ins-%d", rtt, limit), func(b *testing.B) {
				began := time.Now()
				fan(b, fleet, winrm.Config{Ledger: signin.New(&signin.Memory{}, signin.Rule{Limit: limit}), Dial: far(rtt)}, 200)
				b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "machines/s")
			})
		}
	}
}

// far makes machines whose answers take so long.
func far(rtt time.Duration) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		time.Sleep(rtt)
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return &farConn{Conn: conn, rtt: rtt}, err
	}
}

type farConn struct {
	net.Conn
	rtt  time.Duration
	sent time.Time
}

func (c *farConn) Write(p []byte) (int, error) { c.sent = time.Now(); return c.Conn.Write(p) }

func (c *farConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	time.Sleep(time.Until(c.sent.Add(c.rtt)))
	return n, err
}

func fan(b *testing.B, fleet remoteFleet, config winrm.Config, width int) {
	var requests, open atomic.Int64
	dial := config.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		open.Add(1)
		return &counted{conn, &requests, &open}, nil
	}
	config.Credential = func(context.Context, route.Target) (winrm.Credential, error) {
		return winrm.Credential{User: fleet.User, Domain: fleet.Domain, Password: secret.New(fleet.Password)}, nil
	}
	r := mustRoute(b, config)
	question := channelFile(b)
	jobs := make(chan simfleet.Info)
	var group sync.WaitGroup
	b.ReportAllocs()
	before := cpu()
	b.ResetTimer()
	for range width {
		group.Go(func() {
			for info := range jobs {
				result, err := r.Do(b.Context(), targetOf(info), agent.Request{Run: "bench", Nonce: agent.Nonce(), Mode: agent.Detect, Playbook: question})
				if err != nil || result.Outcome != agent.Affected {
					b.Errorf("%s: %+v, %v", info.Name, result, err)
				}
			}
		})
	}
	for i := range b.N {
		jobs <- fleet.Machines[i%len(fleet.Machines)]
	}
	close(jobs)
	group.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpu()-before).Microseconds())/1000/float64(b.N), "cpu-ms/machine")
	if config.Scheme == "" { // under TLS writes are not requests
		b.ReportMetric(float64(requests.Load())/float64(b.N), "requests/machine")
	}
	b.ReportMetric(float64(open.Load()), "open-at-end")
}

// counted counts writes, each of which is one request over plain HTTP.
type counted struct {
	net.Conn
	writes, open *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) { c.writes.Add(1); return c.Conn.Write(p) }
func (c *counted) Close() error                { c.open.Add(-1); return c.Conn.Close() }

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // fails for bad arguments only
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakMiB is the largest resident set so far. Linux counts it in KiB.
func peakMiB() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Maxrss) / 1024
}
