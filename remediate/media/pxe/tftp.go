package pxe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/pin/tftp/v3"
)

// mostTransfers is how many files are read over TFTP at once, each with 130 kB of memory. Firmware that is turned away goes
// on to its next boot entry, so there are many.
const mostTransfers = 512

// serveTFTP gives out files, read only. Block sizes up to what the network carries and the size of the file are agreed upon
// as the client wants.
func (s *Server) serveTFTP(ctx context.Context) error {
	slots := make(chan struct{}, mostTransfers)
	server := tftp.NewServer(func(name string, to io.ReaderFrom) error {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			return errors.New("too many transfers, try again")
		}
		return s.send(ctx, name, to)
	}, nil)
	server.SetTimeout(time.Second)
	server.SetRetries(6)
	// The library takes the headers of IP and UDP from the size of a packet, but not that of TFTP: without this, a client
	// that wants large blocks gets each in two fragments, which much firmware cannot put together.
	server.SetBlockSize(min(s.link.MTU-32, 65464))
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		<-ctx.Done()
		server.Shutdown()
	}()
	err := server.Serve(s.tftp)
	if ctx.Err() == nil {
		return err
	}
	<-stop
	return nil
}

func (s *Server) send(ctx context.Context, name string, to io.ReaderFrom) error {
	e := Event{Service: "tftp", File: clip(name)}
	if p, ok := to.(tftp.OutgoingTransfer); ok {
		a := p.RemoteAddr()
		if ip, ok := netip.AddrFromSlice(a.IP.To4()); ok {
			e.Client.Address = ip
		}
	}
	f, st, name, err := s.folder.open(name)
	if err != nil {
		e.What = "asked for a file that is not here"
		s.event(e)
		return errors.New("file not found")
	}
	defer f.Close()
	if t, ok := to.(tftp.OutgoingTransfer); ok {
		t.SetSize(st.Size())
	}
	e.File = name
	e.Bytes, err = to.ReadFrom(&untilDone{ctx, f})
	e.What, e.Answered, e.whole = "fetched", err == nil, err == nil
	switch {
	case err != nil && e.Bytes == 0 && strings.Contains(err.Error(), "code=8"):
		e.What = "asked for the size of" // UEFI does so first, and breaks off
	case err != nil:
		e.What = fmt.Sprintf("did not get all: %v", err)
	}
	s.event(e)
	return err
}

// untilDone ends a transfer with the context.
type untilDone struct {
	ctx context.Context //nolint:containedctx // lives as long as one transfer
	f   *os.File
}

func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.f.Read(p)
}
