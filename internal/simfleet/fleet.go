// Package simfleet is a fleet of simulated Windows machines that speak real WinRM, for demos, drills and tests.
//
// [New] draws a fleet from a seed, [Fleet.Start] makes it listen on loopback, one port per machine; [Fleet.Write] leaves
// a folder with everything a client needs. Each machine speaks HTTP and HTTPS on its port with NTLM (sealed, SPNEGO or
// bare, with channel binding), Basic and client certificates, has Windows' quotas, time-outs and fault codes, and a
// small Windows in memory on which the agent's own envelope is executed. Independent clients can use it: nothing here
// shares code with our transport. It never listens on anything but loopback and never touches the computer it runs on.
package simfleet

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/simfleet/directory"
	"github.com/fleetmend/fleetmend/internal/simfleet/graph"
	"github.com/fleetmend/fleetmend/internal/simfleet/machine"
)

const loopback = "127.0.0.1"

// Fleet is a simulated fleet. It is safe for concurrent use.
type Fleet struct {
	options   Options
	account   *account   // of the first domain, the one whose directory is served
	logins    []*account // one in each domain
	authority *authority
	hosts     []*host
	byName    map[string]*host
	ports     *ports
	funnel    *funnel
	server    *http.Server
	control   *control
	lab       *machine.Lab // nil without a real PowerShell
	done      chan struct{}

	accounts   []directory.Account
	tree       *directory.Tree
	controller *directory.Server
	tenant     *graph.Server

	gate    sync.Mutex // guards closing, and running.Add against it
	started bool
	closing bool
	running sync.WaitGroup

	opened, requests  atomic.Int64
	received, written atomic.Int64 // bytes of the machines' connections

	address string // loopback address of the machines
}

// machineAddress is a loopback address for the machines of one fleet. While one of them restarts its port is free, and the
// machine of another fleet on this computer must not come up there: so every fleet takes an address of its own where the
// system has more than one (all of 127.0.0.0/8 on Linux and Windows).
func machineAddress() string {
	address := net.IPv4(127, byte(1+rand.N(250)), byte(rand.N(250)), byte(1+rand.N(250))).String()
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return loopback
	}
	_ = l.Close()
	return address
}

// New draws a fleet. Nothing listens before Start.
func New(options Options) (*Fleet, error) {
	if err := options.setDefaults(); err != nil {
		return nil, fmt.Errorf("make simulated fleet: %w", err)
	}
	f := &Fleet{
		options: options, byName: map[string]*host{}, ports: newPorts(machineAddress()), done: make(chan struct{}),
		account: newAccount(accountName, netbiosDomain, dnsDomain, options.Password, options.Lockout),
	}
	f.logins = f.domains()
	f.address = f.ports.address
	f.funnel = &funnel{links: make(chan *link), done: f.done}
	var err error
	if f.authority, err = newAuthority(f.account.full(), f.address); err != nil {
		return nil, err
	}
	f.makeAccounts()
	f.hosts = cast(&f.options)
	now := time.Now()
	for i, h := range f.hosts {
		h.fleet, h.account = f, f.logins[h.info.domain]
		h.identity = h.identify(i, &f.options)
		h.started = now.Add(-time.Duration(3600+h.seed%(40*86400)) * time.Second)
		if h.info.Kind == CrashLoop {
			h.started = now
		}
		f.byName[h.info.Name] = h
	}
	if options.PowerShell != "" {
		if f.lab, err = machine.NewLab(options.PowerShell); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Start makes every machine listen and serves until Close, or until ctx is done.
func (f *Fleet) Start(ctx context.Context) error {
	f.gate.Lock()
	if f.started {
		f.gate.Unlock()
		return errors.New("start simulated fleet: it was started before")
	}
	f.started = true
	f.gate.Unlock()
	f.server = &http.Server{
		Handler: f, ConnContext: withLink, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: log.New(io.Discard, "", 0),
		Protocols: new(http.Protocols),
	}
	f.server.Protocols.SetHTTP1(true)
	for _, h := range f.hosts {
		if err := f.open(h); err != nil {
			f.Close()
			return fmt.Errorf("start simulated fleet: %w", err)
		}
	}
	err := f.serveDirectory(ctx)
	if err != nil {
		f.Close()
		return fmt.Errorf("start simulated fleet: %w", err)
	}
	if err := f.serveTenant(ctx); err != nil {
		f.Close()
		return fmt.Errorf("start simulated fleet: %w", err)
	}
	if f.control, err = newControl(f); err != nil {
		f.Close()
		return fmt.Errorf("start simulated fleet: %w", err)
	}
	f.running.Go(func() { _ = f.server.Serve(f.funnel) }) // ends with ErrServerClosed or the funnel
	stop := context.AfterFunc(ctx, f.Close)
	f.running.Go(func() {
		<-f.done
		stop()
	})
	return nil
}

func (f *Fleet) open(h *host) error {
	if h.info.Kind == Refused {
		h.port = f.ports.dead()
	} else if err := h.up(); err != nil {
		return err
	}
	h.mu.Lock()
	h.info.Address = net.JoinHostPort(h.fleet.address, itoa(h.port))
	h.mu.Unlock()
	if h.info.Kind == CrashLoop {
		h.after(h.crashTime(f.options.CrashUpMin, f.options.CrashUpMax), h.crash)
	}
	return nil
}

// enter counts a piece of work that Close waits for; false once the fleet is closing.
func (f *Fleet) enter() bool {
	f.gate.Lock()
	defer f.gate.Unlock()
	if f.closing {
		return false
	}
	f.running.Add(1)
	return true
}

// Close switches every machine off and waits until nothing of the fleet runs any more. It may be called again.
func (f *Fleet) Close() {
	f.gate.Lock()
	first := !f.closing
	f.closing = true
	f.gate.Unlock()
	if first {
		close(f.done)
		for _, h := range f.hosts {
			h.close()
		}
		if f.server != nil {
			_ = f.server.Close() // only ever complains about the funnel
		}
		if f.control != nil {
			f.control.close()
		}
		if f.controller != nil {
			f.controller.Close()
		}
		if f.tenant != nil {
			f.tenant.Close()
		}
	}
	f.running.Wait()
	if first && f.lab != nil {
		_ = f.lab.Close() // a temporary folder
	}
}

// Machines describes every machine, in the order of their names.
func (f *Fleet) Machines() []Info {
	out := make([]Info, len(f.hosts))
	for i, h := range f.hosts {
		out[i] = h.describe()
	}
	sortByName(out)
	return out
}

func (h *host) describe() Info {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.info
}

// Expected returns the outcome that each machine must have in a run of crowdstrike-channel-file-291, by name.
func (f *Fleet) Expected() map[string]string {
	out := make(map[string]string, len(f.hosts))
	for _, h := range f.hosts {
		out[h.info.Name] = h.info.Expected
	}
	return out
}

// Account returns the account that every machine accepts.
func (f *Fleet) Account() (user, domain string, password secret.String) {
	return f.account.user, f.account.domain, f.account.current()
}

// CA returns the authority that signed the machines' certificates.
func (f *Fleet) CA() *x509.CertPool { return f.authority.pool() }

// CAPEM returns the certificate of that authority.
func (f *Fleet) CAPEM() []byte { return f.authority.pem() }

// ClientCertificate issues a certificate and key, as PEM, that log the account on over HTTPS.
func (f *Fleet) ClientCertificate() (certificate, key []byte, err error) { return f.authority.client() }

// SetFaults replaces what goes wrong with a machine on purpose.
func (f *Fleet) SetFaults(name string, faults Faults) error {
	h, ok := f.byName[name]
	if !ok {
		return fmt.Errorf("set faults: no simulated machine %q", name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = faults
	return nil
}

// PowerCycle restarts a machine at once; it comes up again after its boot time.
func (f *Fleet) PowerCycle(name string) error {
	h, ok := f.byName[name]
	if !ok {
		return fmt.Errorf("power cycle: no simulated machine %q", name)
	}
	if h.info.Kind != Refused && f.enter() {
		defer f.running.Done()
		h.powerCycle(h.bootTime())
	}
	return nil
}
