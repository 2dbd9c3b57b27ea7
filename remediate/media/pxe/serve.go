package pxe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/net/ipv4"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Config describes a [Server].
type Config struct {
	Dir     string     // the bundle
	Address netip.Addr // IPv4 of this computer in the network of the machines

	// Ports; 0 switches a service off, except that Boot follows DHCP. The usual ones are 67, 4011, 69 and 8080.
	DHCP, Boot, TFTP, HTTP int

	// Loaders names the first program by kind of firmware (bios, x64, arm64, ia32); what is missing is found by its name.
	Loaders map[string]string
	// Machine gives the files of one machine, none if it has none. It is called from many goroutines.
	Machine func(context.Context, Client) ([]File, error)
	// TLS, if set, makes the HTTP port speak HTTPS. HTTP Boot and iPXE must know its authority.
	TLS *tls.Config
	// Once leaves a machine alone that has fetched boot.wim, so that one whose firmware prefers the network does not start
	// Windows PE again and again.
	Once bool
	// DryRun reports who asks and what would be answered, and answers nothing. Only DHCP ports are opened.
	DryRun bool
	// OnEvent is called by one goroutine at a time.
	OnEvent func(Event)
}

// Server is a PXE server. Make it with [New] and run it once.
type Server struct {
	config  Config
	folder  folder
	link    net.Interface // the one with the address
	respond responder
	tickets tickets
	mu      sync.Mutex // OnEvent, known
	known   acquaintances
	packets []packets
	tftp    *net.UDPConn
	http    net.Listener
}

type packets struct {
	conn *net.UDPConn
	port int // what it stands for: 67 or 4011
}

// New opens the folder and the ports. Close what it returns if Serve is not called.
func New(ctx context.Context, c Config) (_ *Server, err error) {
	if !c.Address.Is4() {
		return nil, fmt.Errorf("the address %s of this server is not IPv4", c.Address)
	}
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("open the folder to serve: %w", err), "Make it with `fleetmend media bundle`.")
	}
	s := &Server{config: c, folder: folder{root}}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	link, ok := interfaceOf(c.Address)
	if !ok {
		return nil, hint.Wrapf(fmt.Errorf("no interface of this computer has the address %s", c.Address), "It has %s; give the one in the network of the machines.", ownAddresses())
	}
	s.link, s.respond.address, s.respond.tftp = link, c.Address, c.TFTP != 0
	if s.respond.loaders, err = s.folder.loaders(c.Loaders); err != nil {
		return nil, err
	}
	f, _, _, err := s.folder.open("boot.wim")
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("there is no boot.wim in %q: %w", c.Dir, err), "Make the folder with `fleetmend media bundle`.")
	}
	f.Close()
	if f, st, name, err := s.folder.open("wimboot"); err == nil {
		if f.Close(); st.Size() == 0 {
			return nil, fmt.Errorf("%s: %w", name, errEmpty)
		}
	}
	if err := s.listen(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) listen(ctx context.Context) error {
	c := s.config
	for _, p := range []packets{{port: dhcpPort}, {port: bootPort}} {
		port := c.DHCP
		if p.port == bootPort {
			port = c.Boot
		}
		if c.DHCP == 0 || port == 0 {
			continue
		}
		// Windows delivers broadcasts to a socket bound to one address and sends them out there; others need all addresses.
		host := ""
		if runtime.GOOS == "windows" || c.Address.IsLoopback() {
			host = c.Address.String()
		}
		conn, err := listenUDP(ctx, host, port)
		if err != nil {
			return err
		}
		p.conn = conn
		s.packets = append(s.packets, p)
	}
	if c.HTTP != 0 {
		scheme := "http"
		if c.TLS != nil {
			scheme = "https"
		}
		s.respond.base = fmt.Sprintf("%s://%s", scheme, netip.AddrPortFrom(c.Address, uint16(max(c.HTTP, 0))))
	}
	if c.DryRun {
		return nil
	}
	var err error
	if c.TFTP != 0 {
		if s.tftp, err = listenUDP(ctx, c.Address.String(), c.TFTP); err != nil {
			return err
		}
	}
	if c.HTTP != 0 {
		var l net.ListenConfig
		at := netip.AddrPortFrom(c.Address, uint16(max(c.HTTP, 0))).String()
		if s.http, err = l.Listen(ctx, "tcp4", at); err != nil {
			return portHint(err, c.HTTP)
		}
		if c.HTTP < 0 {
			s.respond.base = fmt.Sprintf("%s://%s", s.respond.base[:len(s.respond.base)-len("://"+at)], s.http.Addr())
		}
	}
	return nil
}

// listenUDP opens a port; a negative one means any, for tests.
func listenUDP(ctx context.Context, host string, port int) (*net.UDPConn, error) {
	var l net.ListenConfig
	conn, err := l.ListenPacket(ctx, "udp4", net.JoinHostPort(host, fmt.Sprint(max(port, 0))))
	if err != nil {
		return nil, portHint(err, port)
	}
	return conn.(*net.UDPConn), nil
}

func portHint(err error, port int) error {
	if errors.Is(err, os.ErrPermission) {
		return hint.Wrapf(err, "Port %d is for administrators: run it with sudo, or on Windows as administrator.", port)
	}
	switch port {
	case dhcpPort, bootPort:
		return hint.Wrapf(err, "Does a DHCP server, WDS or another PXE server on this computer use port %d? Stop it, or run this one on another computer.", port)
	case 69:
		return hint.Wrap(err, "Does another TFTP server or WDS on this computer use port 69? Stop it, or run this one on another computer.")
	}
	return hint.Wrapf(err, "Does another server on this computer use port %d? Choose another one with --http-port.", port)
}

// Loaders says what each kind of firmware gets first.
func (s *Server) Loaders() map[string]string { return s.respond.loaders }

// Lacking says what cannot be done with what is in the folder.
func (s *Server) Lacking() []string {
	names, err := s.folder.names()
	if err != nil {
		return []string{err.Error()}
	}
	return lacking(names)
}

// Base is the address of the HTTP service, empty without one.
func (s *Server) Base() string { return s.respond.base }

// Close closes the ports.
func (s *Server) Close() error {
	var err error
	for _, p := range s.packets {
		err = errors.Join(err, p.conn.Close())
	}
	if s.tftp != nil {
		err = errors.Join(err, s.tftp.Close())
	}
	if s.http != nil {
		err = errors.Join(err, s.http.Close())
	}
	return errors.Join(err, s.folder.root.Close())
}

// Serve answers until ctx ends, then waits for what is running and closes the ports.
func (s *Server) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	start := func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	for _, p := range s.packets {
		start("dhcp", func(ctx context.Context) error { return s.serveDHCP(ctx, p) })
	}
	if s.tftp != nil {
		start("tftp", s.serveTFTP)
	}
	if s.http != nil {
		start("http", s.serveHTTP)
	}
	<-ctx.Done()
	wg.Wait()
	for _, p := range s.packets {
		_ = p.conn.Close()
	}
	if s.tftp != nil {
		_ = s.tftp.Close()
	}
	_ = s.folder.root.Close()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

func (s *Server) event(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Time = time.Now()
	s.known.note(&e)
	if s.config.OnEvent != nil {
		s.config.OnEvent(e)
	}
}

// serveDHCP reads one message after the other; an answer costs microseconds, so there is no goroutine for each.
func (s *Server) serveDHCP(ctx context.Context, p packets) error {
	stop := context.AfterFunc(ctx, func() { _ = p.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	conn := ipv4.NewPacketConn(p.conn)
	index := s.link.Index
	// Not every system can tell the interface; then all are listened to.
	_ = conn.SetControlMessage(ipv4.FlagInterface, true)
	b := make([]byte, 4096)
	for {
		n, control, peer, err := conn.ReadFrom(b)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if temporary(err) {
				continue
			}
			return err
		}
		if control != nil && index != 0 && control.IfIndex != 0 && control.IfIndex != index {
			continue
		}
		udp, ok := peer.(*net.UDPAddr)
		if !ok {
			continue
		}
		if answer, to := s.message(b[:n], udp, p.port); answer != nil {
			var out *ipv4.ControlMessage
			if index != 0 && runtime.GOOS != "windows" {
				out = &ipv4.ControlMessage{IfIndex: index}
			}
			if _, err := conn.WriteTo(answer, out, to); err != nil && ctx.Err() == nil {
				s.event(Event{Service: service(p.port), What: "could not be answered: " + err.Error()})
			}
		}
	}
}

// temporary tells errors that Windows reports for an earlier answer that nobody took.
func temporary(err error) bool {
	return !errors.Is(err, net.ErrClosed) && runtime.GOOS == "windows"
}

func (s *Server) started(mac string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known.started[mac]
}

func service(port int) string {
	if port == bootPort {
		return "boot"
	}
	return "dhcp"
}

// message handles one datagram and returns the answer to send.
func (s *Server) message(b []byte, peer *net.UDPAddr, port int) ([]byte, *net.UDPAddr) {
	m, err := dhcpv4.FromBytes(b)
	if err != nil {
		return nil, nil
	}
	c, ok := client(m)
	if !ok {
		return nil, nil
	}
	for _, ip := range []net.IP{peer.IP, m.ClientIPAddr, m.RequestedIPAddress()} {
		if a, ok := netip.AddrFromSlice(ip.To4()); ok && !a.IsUnspecified() {
			c.Address = a
			break
		}
	}
	answer, why := s.respond.reply(m, c, port)
	if answer != nil && s.config.Once && s.started(c.MAC) {
		answer, why = nil, "has been started already and is left alone"
	}
	e := Event{Service: service(port), Client: c, What: why, Answered: answer != nil && !s.config.DryRun}
	if answer != nil {
		e.File = bootFile(answer)
		if s.config.DryRun {
			e.What = "would be told to start"
		}
	}
	s.event(e)
	if answer == nil || s.config.DryRun {
		return nil, nil
	}
	return answer.ToBytes(), destination(m, peer, port)
}

// interfaceOf returns the interface with an address.
func interfaceOf(a netip.Addr) (net.Interface, bool) {
	list, err := net.Interfaces()
	if err != nil {
		return net.Interface{}, false
	}
	for _, i := range list {
		if slices.Contains(addressesOf(i), a) {
			return i, true
		}
	}
	if a.IsLoopback() { // all of 127.0.0.0/8 belongs to it
		for _, i := range list {
			if i.Flags&net.FlagLoopback != 0 {
				return i, true
			}
		}
	}
	return net.Interface{}, false
}

func addressesOf(i net.Interface) (list []netip.Addr) {
	addresses, err := i.Addrs()
	if err != nil {
		return nil
	}
	for _, x := range addresses {
		if n, ok := x.(*net.IPNet); ok {
			if a, ok := netip.AddrFromSlice(n.IP.To4()); ok {
				list = append(list, a)
			}
		}
	}
	return list
}

// ownAddresses are the IPv4 addresses of this computer, for a person to choose from.
func ownAddresses() string {
	var list []string
	interfaces, err := net.Interfaces()
	for _, i := range interfaces {
		for _, a := range addressesOf(i) {
			if !a.IsLoopback() {
				list = append(list, fmt.Sprintf("%s (%s)", a, i.Name))
			}
		}
	}
	if err != nil || len(list) == 0 {
		return "no IPv4 address"
	}
	return strings.Join(list, ", ")
}
