package pxe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"

	"golang.org/x/net/netutil"
)

const mostConnections = 512

func (s *Server) serveHTTP(ctx context.Context) error {
	server := &http.Server{
		Handler: http.HandlerFunc(s.get), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: s.config.TLS,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-ctx.Done()
		_ = server.Close()
	}()
	var err error
	if l := netutil.LimitListener(s.http, mostConnections); s.config.TLS != nil {
		err = server.ServeTLS(l, "", "")
	} else {
		err = server.Serve(l)
	}
	if ctx.Err() == nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-done
	return nil
}

// get serves the script, the files of a machine, and the folder.
func (s *Server) get(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	c := Client{}
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		c.Address = a.Addr().Unmap()
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch own, isOwn := strings.CutPrefix(r.URL.Path, "/machine/"); {
	case r.URL.Path == "/"+ScriptName:
		s.script(w, r, c)
	case isOwn:
		s.own(w, r, own, c)
	default:
		s.file(w, r, c)
	}
}

// script answers with the iPXE script. A machine that says who it is gets a token for its files.
func (s *Server) script(w http.ResponseWriter, r *http.Request, c Client) {
	q := r.URL.Query()
	c.MAC, _ = parseMAC(q.Get("mac"))
	c.UUID, _ = parseUUID(q.Get("uuid"))
	c.IPXE = true
	names, err := s.folder.names()
	if err != nil {
		http.Error(w, "the folder cannot be read", http.StatusInternalServerError)
		return
	}
	var links []Link
	if s.config.Machine != nil && (c.MAC != "" || c.UUID != "") && r.Method == http.MethodGet {
		files, err := s.config.Machine(r.Context(), c)
		if err == nil {
			err = checkFiles(files)
		}
		if err != nil {
			// The machine starts all the same; it can be repaired without its own files, or says that they are missing.
			s.event(Event{Service: "http", Client: c, File: ScriptName, What: "its own files could not be had: " + err.Error()})
			files = nil
		}
		if len(files) > 0 {
			token := s.tickets.issue(c, files, time.Now())
			for _, f := range files {
				links = append(links, Link{f.Name, "machine/" + token + "/" + f.Name})
			}
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	n, _ := io.WriteString(w, Script(names, links))
	s.event(Event{Service: "http", Client: c, File: ScriptName, What: fmt.Sprintf("fetched, with %d files of its own", len(links)), Bytes: int64(n), Answered: true})
}

func checkFiles(files []File) error {
	total := 0
	for _, f := range files {
		if _, err := clean(f.Name); err != nil || strings.ContainsAny(f.Name, "/\\ %?#&") {
			return fmt.Errorf("the name %q does not fit into a script", f.Name)
		}
		total += len(f.Content)
	}
	if len(files) > mostFiles || total > mostContent {
		return fmt.Errorf("%d files with %d bytes are too many for one machine (%d, %d)", len(files), total, mostFiles, mostContent)
	}
	return nil
}

// own hands out a file of one machine, once.
func (s *Server) own(w http.ResponseWriter, r *http.Request, rest string, from Client) {
	token, name, _ := strings.Cut(rest, "/")
	if r.Method != http.MethodGet {
		http.NotFound(w, r)
		return
	}
	b, c, ok := s.tickets.redeem(token, name, from.Address, time.Now())
	if !ok {
		s.event(Event{Service: "http", Client: from, File: "machine/.../" + clip(path.Base(name)), What: "asked with a token that is used up, too old or another's"})
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	w.Header().Set("Cache-Control", "no-store")
	n, err := w.Write(b)
	s.event(Event{Service: "http", Client: c, File: name, What: "fetched its own file", Bytes: int64(n), Answered: err == nil})
}

// file serves the folder, with ranges.
func (s *Server) file(w http.ResponseWriter, r *http.Request, c Client) {
	f, st, name, err := s.folder.open(r.URL.Path)
	e := Event{Service: "http", Client: c, File: clip(strings.TrimPrefix(r.URL.Path, "/"))}
	if err != nil {
		e.What = "asked for a file that is not here"
		s.event(e)
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	if strings.EqualFold(path.Ext(name), ".efi") {
		w.Header().Set("Content-Type", "application/efi")
	}
	counted := &counter{ResponseWriter: w}
	http.ServeContent(counted, r, name, st.ModTime(), f)
	e.File, e.Bytes = name, counted.n
	e.What, e.whole, e.Answered = fetched(r, counted.n, st.Size())
	s.event(e)
}

// counter counts what a client took, and gives up on one that takes next to nothing: a machine that was switched off would
// hold one of the connections for a quarter of an hour.
type counter struct {
	http.ResponseWriter
	n int64
}

const (
	piece      = 4 << 20         // of a file, for which a client
	pieceTakes = 2 * time.Minute // has so long
)

func (c *counter) Write(p []byte) (int, error) {
	c.wait()
	n, err := c.ResponseWriter.Write(p)
	c.n += int64(n)
	return n, err
}

// ReadFrom lets the system copy from file to network by itself where it can.
func (c *counter) ReadFrom(r io.Reader) (total int64, err error) {
	whole, ok := r.(*io.LimitedReader)
	if !ok {
		whole = &io.LimitedReader{R: r, N: math.MaxInt64}
	}
	for whole.N > 0 {
		c.wait()
		part := &io.LimitedReader{R: whole.R, N: min(whole.N, piece)}
		n, err := io.Copy(c.ResponseWriter, part)
		total, c.n, whole.N = total+n, c.n+n, whole.N-n
		if err != nil || part.N > 0 {
			return total, err
		}
	}
	return total, nil
}

func (c *counter) wait() {
	_ = http.NewResponseController(c.ResponseWriter).SetWriteDeadline(time.Now().Add(pieceTakes)) // a writer of tests has none
}
