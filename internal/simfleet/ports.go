package simfleet

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// The range that machines listen in. It lies below the ephemeral ports of Linux, Windows and macOS, so that no outgoing
// connection can take the port of a machine that is off for a moment. Machines that are switched off for good get a
// port of the reserved range, where no fleet ever listens.
const (
	firstPort     = 10240
	lastPort      = 32700
	firstReserved = 9700
)

// ports deals out the ports of a fleet.
type ports struct {
	address string

	mu       sync.Mutex
	next     int
	tried    int
	reserved int
}

func newPorts(address string) *ports {
	// Two fleets on one computer begin in different places, mostly.
	return &ports{address: address, next: firstPort + os.Getpid()*613%(lastPort-firstPort), reserved: firstReserved}
}

// listen opens the port that *port names, or the next free one when it is 0.
func (p *ports) listen(port *int) (net.Listener, error) {
	if *port != 0 {
		return net.Listen("tcp", net.JoinHostPort(p.address, strconv.Itoa(*port)))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.tried < lastPort-firstPort {
		at := p.next
		p.tried++
		if p.next++; p.next >= lastPort {
			p.next = firstPort
		}
		listener, err := net.Listen("tcp", net.JoinHostPort(p.address, strconv.Itoa(at)))
		if err == nil {
			*port = at
			return listener, nil
		}
		if !inUse(err) {
			return nil, fmt.Errorf("listen for a machine: %w", err)
		}
	}
	return nil, fmt.Errorf("listen for a machine: no free port from %d to %d", firstPort, lastPort)
}

// inUse also covers ports that the system keeps for itself (Windows reserves ranges and says "access denied").
func inUse(err error) bool {
	const wsaInUse, wsaAccess = syscall.Errno(10048), syscall.Errno(10013)
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaInUse) || errors.Is(err, wsaAccess)
}

// dead returns a port where nothing listens.
func (p *ports) dead() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range firstPort - firstReserved {
		at := p.reserved
		if p.reserved++; p.reserved >= firstPort {
			p.reserved = firstReserved
		}
		probe, err := net.Listen("tcp", net.JoinHostPort(p.address, strconv.Itoa(at)))
		if err == nil {
			_ = probe.Close()
			return at
		}
	}
	return firstReserved
}

func itoa(n int) string { return strconv.Itoa(n) }
