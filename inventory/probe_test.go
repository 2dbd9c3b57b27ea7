package inventory

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetmend/fleetmend/internal/leaktest"
)

type identify func(ctx context.Context, address string) (Identity, error)

func (f identify) Identify(ctx context.Context, address string, _ []string) (Identity, error) {
	return f(ctx, address)
}

type named func(address string, names []string)

func (f named) Identify(_ context.Context, address string, names []string) (Identity, error) {
	f(address, names)
	return Identity{}, nil
}

// Whoever is asked may prove to be the machine by any name that the inventory has of it.
func TestProbeKnowsEveryName(t *testing.T) {
	s := open(t)
	put(t, s, "a", record("", "1", "name", "WS1", "fqdn", "ws1.x.test", "address", "10.0.0.1:5986", "claims.sid", "S-1-5-21-1-2-3-1001"))
	put(t, s, "b", record("", "1", "name", "OLD1", "fqdn", "old1.x.test", "claims.sid", "S-1-5-21-1-2-3-1001"))
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }()
	var got []string
	err := s.Probe(t.Context(), pick(t, s, "all"), ProbeOptions{
		Dial:       func(context.Context, string, string) (net.Conn, error) { return near, nil },
		Identifier: named(func(_ string, names []string) { got = names }),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ws1.x.test", "old1.x.test", "ws1", "old1"} {
		if !slices.ContainsFunc(got, func(n string) bool { return strings.EqualFold(n, want) }) {
			t.Errorf("%q is not among %q", want, got)
		}
	}
}

func TestProbeStoresWhatItFinds(t *testing.T) {
	leaktest.Check(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t)
	put(t, s, "csv", record("", "1", "name", "WS1", "address", l.Addr().String()), record("", "2", "name", "WS2", "address", refused),
		record("", "3", "name", "WS3", "address", strings.Replace(l.Addr().String(), "127.0.0.1", "localhost", 1)))
	var told atomic.Int32
	err = s.Probe(t.Context(), pick(t, s, "all"), ProbeOptions{OnResult: func(Machine, ProbeResult) { told.Add(1) },
		Identifier: identify(func(_ context.Context, address string) (Identity, error) {
			if strings.HasPrefix(address, "localhost") {
				return Identity{}, errors.New("speaks no WS-Management")
			}
			return Identity{Auth: []string{"Negotiate"}, Product: "Microsoft Corporation"}, nil
		})})
	if err != nil || told.Load() != 3 {
		t.Fatalf("%v, %d results", err, told.Load())
	}
	for sel, want := range map[string]string{"probe.winrm": "WS1", "probe.open && !probe.winrm": "WS3", "probe.done && !probe.open": "WS2",
		`"Negotiate" in probe.auth`: "WS1", `last_seen > ago("1h")`: "WS1"} {
		if got := pick(t, s, sel); len(got) != 1 || got[0].Name != want {
			t.Errorf("%s: %v", sel, got)
		}
	}
	if m := pick(t, s, "WS2")[0]; !strings.Contains(m.Probe.Error, "refuses the connection") {
		t.Errorf("error %q", m.Probe.Error)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	<-done
	if err := s.Close(); err != nil { // its connection opener is a goroutine of its own
		t.Error(err)
	}
}

func TestProbeIsBoundedAndStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		machines := make([]Machine, 1000)
		for i := range machines {
			machines[i] = Machine{ID: fmt.Sprint(i), Name: fmt.Sprintf("WS%d", i)}
		}
		var mu sync.Mutex
		var now, most, results int
		o := ProbeOptions{Concurrency: 10, Timeout: 3 * time.Second,
			Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				<-ctx.Done()
				mu.Lock()
				now--
				mu.Unlock()
				return nil, ctx.Err()
			},
			OnResult: func(_ Machine, r ProbeResult) {
				results++
				if r.Open || r.Error != "no answer in time" || r.Latency != 3*time.Second {
					t.Errorf("result %+v", r)
				}
			}}
		start := time.Now()
		if err := probe(t.Context(), machines, o); err != nil || results != 1000 || most != 10 || time.Since(start) != 300*time.Second {
			t.Errorf("%v, %d results, %d at once, %v", err, results, most, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		results, start = 0, time.Now()
		if err := probe(ctx, machines, o); !errors.Is(err, context.DeadlineExceeded) || results != 10 || time.Since(start) != 4*time.Second {
			t.Errorf("%v, %d results after %v", err, results, time.Since(start))
		}
	})
}

func TestTarget(t *testing.T) {
	for want, m := range map[string]Machine{"WS1:5985": {Name: "WS1"}, "ws1.fleet.test:5985": {Name: "WS1", FQDN: "ws1.fleet.test"},
		"10.1.2.3:5985": {Address: "10.1.2.3"}, "10.1.2.3:15985": {Address: "10.1.2.3:15985"}, "[fe80::1]:5985": {Address: "fe80::1"},
		"[fe80::2]:5985": {Address: "[fe80::2]"}, "[fe80::3]:99": {Address: "[fe80::3]:99"}} {
		if got := m.Target(5985); got != want {
			t.Errorf("%+v: %s, want %s", m, got, want)
		}
	}
}
