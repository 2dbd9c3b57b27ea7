package inventory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/internal/network"
)

// Identifier asks what is behind an address (host:port) in WS-Management's words (DMTF DSP0226, Identify). It is
// called by many goroutines. Latency is that of its TCP connect, zero where it does not know. Any of names proves it to be the machine.
type Identifier interface {
	Identify(ctx context.Context, address string, names []string) (Identity, error)
}

// Identity is the answer to Identify.
type Identity struct {
	Auth    []string      // schemes offered, as in WWW-Authenticate
	Product string        // ProductVendor and ProductVersion
	Latency time.Duration // of the TCP connect
}

// ProbeOptions say how to probe. The zero value asks for a TCP connection to port 5985 only.
type ProbeOptions struct {
	Identifier  Identifier    // nil: TCP only
	Port        int           // for addresses without one; 0: 5985
	Concurrency int           // machines at once; 0: 256
	Timeout     time.Duration // for one machine; 0: 5 s
	// OnResult is told each result as it comes in, one at a time.
	OnResult func(Machine, ProbeResult)
	// Dial replaces the TCP connect.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	aliases map[string][]string // of [Store.Aliases]
}

func (o ProbeOptions) withDefaults() ProbeOptions {
	if o.Port == 0 {
		o.Port = 5985
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 256
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	return o
}

// Target gives host:port to connect to: the address, else the FQDN, else the name, with the port where it has none.
func (m *Machine) Target(port int) string {
	host := m.Address
	if host == "" {
		host = m.FQDN
	}
	if host == "" {
		host = m.Name
	}
	if hostOf(host) != host {
		return host
	}
	if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
		host = host[1 : n-1]
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// probeBatch is how many results are stored in one transaction.
const probeBatch = 500

// Probe connects to the machines, asks each what it is, and stores the results. It ends early when ctx does; results
// that came in until then are stored.
func (s *Store) Probe(ctx context.Context, machines []Machine, o ProbeOptions) error {
	batch := map[string]ProbeResult{}
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		defer clear(batch)
		// What was found is kept also when the caller has had enough.
		return s.setProbes(context.WithoutCancel(ctx), maps.Clone(batch))
	}
	var stored error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.Identifier != nil {
		var err error
		if o.aliases, err = s.Aliases(ctx); err != nil {
			return err
		}
	}
	told := o.OnResult
	o.OnResult = func(m Machine, r ProbeResult) {
		if told != nil {
			told(m, r)
		}
		batch[m.ID] = r
		if len(batch) >= probeBatch && stored == nil {
			if stored = flush(); stored != nil {
				cancel()
			}
		}
	}
	err := probe(ctx, machines, o)
	if stored != nil {
		return fmt.Errorf("probe machines: %w", stored)
	}
	if e := errors.Join(err, flush()); e != nil {
		return fmt.Errorf("probe machines: %w", e)
	}
	return nil
}

// probe asks all machines and tells each result from one goroutine. All goroutines have ended when it returns.
func probe(ctx context.Context, machines []Machine, o ProbeOptions) error {
	o = o.withDefaults()
	type found struct {
		machine int
		result  ProbeResult
	}
	todo := make(chan int)
	results := make(chan found)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(todo)
		for i := range machines {
			select {
			case todo <- i:
			case <-ctx.Done():
				return
			}
		}
	})
	for range min(o.Concurrency, len(machines)) {
		wg.Go(func() {
			for i := range todo {
				r := o.one(ctx, &machines[i])
				if ctx.Err() != nil { // the failure is ours, not the machine's
					return
				}
				results <- found{i, r}
			}
		})
	}
	go func() {
		wg.Wait()
		close(results)
	}()
	for f := range results {
		o.OnResult(machines[f.machine], f.result)
	}
	return ctx.Err()
}

func (o *ProbeOptions) one(ctx context.Context, m *Machine) ProbeResult {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	address := m.Target(o.Port)
	start := time.Now()
	r := ProbeResult{At: start.UTC()}
	conn, err := o.Dial(ctx, "tcp", address)
	r.Latency = time.Since(start)
	if err != nil {
		r.Error = reason(err)
		return r
	}
	r.Open = true
	if err := conn.Close(); err != nil {
		r.Error = reason(err)
	}
	if o.Identifier == nil {
		return r
	}
	who, err := o.Identifier.Identify(ctx, address, append([]string{m.FQDN, m.Name}, o.aliases[m.ID]...))
	if err != nil {
		r.Error = reason(err)
		return r
	}
	r.WinRM, r.Auth, r.Product = true, slices.Clone(who.Auth), who.Product
	if who.Latency > 0 {
		r.Latency = who.Latency
	}
	return r
}

// reason gives the error in a few words.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return network.Plain("the machine", err).Error()
}
