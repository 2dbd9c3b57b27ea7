package winrm_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/route/routetest"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
)

func TestSuite(t *testing.T) { routetest.Suite(t, &harness{}) }

// harness brings up scripted hosts with Basic over TLS, or with sealed NTLM over HTTP.
type harness struct {
	sealed bool
	mu     sync.Mutex
	hosts  []*host
}

func (h *harness) Stages() []routetest.Stage {
	return []routetest.Stage{
		{Name: "connect"}, {Name: "create"}, {Name: "command", Started: true}, {Name: "send", Started: true}, {Name: "receive", Started: true},
	}
}

func (h *harness) Open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, host := range h.hosts {
		n += int(host.open.Load())
	}
	return n
}

func (h *harness) Start(t testing.TB, m routetest.Machine) (route.Route, route.Target) {
	target := route.Target{ID: "1", Name: "WS1"}
	host := newHost(t)
	host.agent = m.Agent
	reached := func() {
		if m.Reached != nil {
			m.Reached()
		}
	}
	trouble := map[routetest.Trouble]func(*call){
		routetest.Hang:    func(c *call) { reached(); c.hang() },
		routetest.Drop:    func(c *call) { reached(); c.drop("") },
		routetest.Garbage: func(c *call) { reached(); c.write(200, "<html>It works!</html>") },
	}[m.Trouble]
	switch {
	case m.Trouble == routetest.Dead:
		target.Address = deadAddress(t)
	case m.Stage == "connect":
		target.Address = rawServer(t, m.Trouble, reached)
	case trouble != nil:
		host.on[m.Stage] = trouble
	case m.Trouble == routetest.Foreign:
		host.stdout = func([]byte) []byte {
			return []byte(strings.Join(agent.Lines("another", agent.Result{Run: "run", Outcome: agent.Fixed}), "\n"))
		}
	case m.Trouble == routetest.Silent:
		host.stdout = func([]byte) []byte { return []byte("nothing to see\r\n") }
	case m.Trouble == routetest.Flood:
		host.on["receive"] = func(c *call) { c.receive(make([]byte, 100<<10), []byte("noise"), false, 0) }
	}
	if h.sealed {
		host.startSealed()
	} else {
		host.startTLS()
	}
	if target.Address == "" {
		target.Address = host.address()
	}
	h.mu.Lock()
	h.hosts = append(h.hosts, host)
	h.mu.Unlock()
	if h.sealed {
		return sealedRoute(t), target
	}
	return basicRoute(t, host, nil), target
}

// basicRoute is a route that trusts host.
func basicRoute(t testing.TB, host *host, change func(*winrm.Config)) *winrm.Route {
	t.Helper()
	config := winrm.Config{
		Scheme: "https", Auth: winrm.AuthBasic, RootCAs: host.roots(), Credential: fixed(user, password),
		CleanupTimeout: patience, MaxOutput: 1 << 20,
	}
	if change != nil {
		change(&config)
	}
	r, err := winrm.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func fixed(name, password string) func(context.Context, route.Target) (winrm.Credential, error) {
	return func(context.Context, route.Target) (winrm.Credential, error) {
		user, domain, err := winrm.ParseUser(name)
		return winrm.Credential{User: user, Domain: domain, Password: secret.New(password)}, err
	}
}

// deadAddress is a port of loopback on which nothing listens.
func deadAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return address
}

// rawServer has its trouble before any TLS.
func rawServer(t testing.TB, trouble routetest.Trouble, reached func()) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); group.Wait() })
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer func() { _ = conn.Close() }()
				buffer := make([]byte, 4<<10)
				if _, err := conn.Read(buffer); err != nil {
					return
				}
				reached()
				switch trouble {
				case routetest.Garbage:
					_, _ = fmt.Fprint(conn, "220 mail.example.com ESMTP\r\n")
				case routetest.Hang:
					for err == nil {
						_, err = conn.Read(buffer)
					}
				}
			})
		}
	})
	return l.Addr().String()
}
