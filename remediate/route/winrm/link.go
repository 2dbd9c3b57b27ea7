package winrm

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/remediate/route"
)

const (
	maxReply      = 4 << 20 // bytes of one HTTP answer with its header; far above any envelope we ask for
	keptBuffer    = 1 << 20 // buffers above this size are not kept for reuse
	maxHeader     = 2 << 10 // room for a request's header; more is allocated when needed
	userAgent     = "fleetmend"
	contentSOAP   = "application/soap+xml;charset=UTF-8"
	mutualProfile = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"
)

var (
	errTLSPort  = errors.New("the port speaks TLS, not plain HTTP")
	errNotHTTP  = errors.New("the answer is not HTTP")
	errTooLarge = errors.New("the answer is larger than any WinRM answer")
	errClosed   = errors.New("the machine closed the connection")
)

// buffers holds the scratch space of requests and answers, so that a thousand machines that wait hold none.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

func putBuffer(b *[]byte) {
	if cap(*b) <= keptBuffer {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// link is one connection to one machine. It is used by one goroutine.
type link struct {
	conn    net.Conn // plain or TLS
	limit   io.LimitedReader
	reader  *bufio.Reader
	peer    *tls.ConnectionState // nil over plain HTTP
	host    string               // for the Host header
	path    string
	url     string // for the SOAP header To
	receive time.Duration
	most    time.Duration // less than that, while others wait; 0: no less
	waited  time.Duration // for the answer to the last request
	stop    func()        // ends the watch on ctx

	authorization string      // sent with every request: Basic and client certificate
	signedIn      bool        // the connection itself is: NTLM
	sealer        sealer      // of every SOAP message; nil: none is sealed
	trial         route.Trial // of the secret that was sent; nil: none, or it was not judged
	settled       bool        // the machine has said what it thinks of it

	requests int
	pending  bool // a request was written and its answer not read to the end
	closing  bool // the machine announced that it closes the connection
}

// answer is an HTTP answer. Its body is only valid until release.
type answer struct {
	status      int
	contentType string
	challenges  []string // WWW-Authenticate
	body        []byte
	buffer      *[]byte
}

func (a *answer) release() {
	if a.buffer != nil {
		putBuffer(a.buffer)
		a.buffer, a.body = nil, nil
	}
}

// ioError is a failure below HTTP. sent tells whether any byte of the request may have reached the machine.
type ioError struct {
	sent bool
	err  error
}

func (e *ioError) Error() string { return e.err.Error() }
func (e *ioError) Unwrap() error { return e.err }

func newLink(conn net.Conn, receive time.Duration) *link {
	l := &link{conn: conn, receive: receive, stop: func() {}}
	l.limit.R = conn
	l.reader = bufio.NewReaderSize(&l.limit, 4<<10)
	return l
}

// watch makes the end of ctx interrupt whatever the connection is doing. It interrupts nothing any more once another is watched.
func (l *link) watch(ctx context.Context) {
	l.stop()
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(over)
		_ = l.conn.SetDeadline(time.Unix(1, 0))
	})
	l.stop = sync.OnceFunc(func() {
		if !stop() {
			<-over // it has begun, and would hit who comes next
		}
	})
}

func (l *link) close() {
	l.stop()
	if l.trial != nil && !l.settled {
		l.trial.Unanswered()
	}
	_ = l.conn.Close()
}

// unjudged tells the ledger that the machine did not look at the secret.
func (l *link) unjudged() {
	l.trial.Unjudged()
	l.trial = nil
}

// usable reports whether another request can be sent on this connection.
func (l *link) usable() bool { return !l.pending && !l.closing }

// post sends one request and reads its answer. authorization, when not empty, replaces the link's own.
func (l *link) post(ctx context.Context, contentType, authorization string, body []byte, extra ...string) (*answer, error) {
	if err := l.write(ctx, contentType, authorization, body, extra...); err != nil {
		return nil, err
	}
	return l.await(ctx)
}

// write sends one request. When it returns, body is no longer needed.
func (l *link) write(ctx context.Context, contentType, authorization string, body []byte, extra ...string) error {
	if !l.usable() {
		return &ioError{false, errClosed}
	}
	_ = l.conn.SetDeadline(time.Now().Add(l.patience()))
	if ctx.Err() != nil { // after SetDeadline: the watch may have fired before it
		return &ioError{false, context.Cause(ctx)}
	}
	buffer := buffers.Get().(*[]byte)
	defer putBuffer(buffer)
	request := slices.Grow((*buffer)[:0], len(body)+maxHeader)
	request = append(l.appendHeader(request, contentType, authorization, len(body), extra), body...)
	*buffer = request
	l.requests++
	l.pending = true
	if n, err := l.conn.Write(request); err != nil {
		return &ioError{n > 0 || l.peer != nil, l.cause(ctx, err)}
	}
	return nil
}

// firstAnswer is how long a machine may take to say its first word on a new connection. Windows does so at once; what
// accepts connections and stays silent is something else, or is going down.
const firstAnswer = 10 * time.Second

func (l *link) patience() time.Duration {
	l.waited = l.receive
	if l.requests == 0 {
		l.waited = min(l.receive, firstAnswer)
	}
	if l.most > 0 {
		l.waited = min(l.waited, l.most)
	}
	return l.waited
}

// await reads the answer to the request that was written.
func (l *link) await(ctx context.Context) (*answer, error) {
	a, err := l.read()
	if err != nil {
		return nil, &ioError{true, l.cause(ctx, err)}
	}
	l.pending = false
	return a, nil
}

func (l *link) appendHeader(b []byte, contentType, authorization string, length int, extra []string) []byte {
	b = append(b, "POST "+l.path+" HTTP/1.1\r\nHost: "+l.host+"\r\nUser-Agent: "+userAgent+"\r\nContent-Type: "...)
	b = append(b, contentType...)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(length), 10)
	if authorization == "" {
		authorization = l.authorization
	}
	if authorization != "" {
		b = append(b, "\r\nAuthorization: "+authorization...)
	}
	for _, line := range extra {
		b = append(b, "\r\n"+line...)
	}
	return append(b, "\r\n\r\n"...)
}

// read reads the next answer that is not provisional.
func (l *link) read() (*answer, error) {
	l.limit.N = maxReply
	first, err := l.reader.Peek(1)
	if err != nil {
		return nil, l.short(err)
	}
	if first[0] == 0x15 || first[0] == 0x16 { // TLS alert or handshake record
		return nil, errTLSPort
	}
	start, _ := l.reader.Peek(5)
	isHTTP := strings.HasPrefix("HTTP/", string(start))
	for range 5 {
		response, err := http.ReadResponse(l.reader, postRequest)
		if err != nil {
			if isIO(err) {
				return nil, l.short(err)
			}
			// A header that ends in the middle of a line is cut, not garbage.
			if _, end := l.reader.Peek(1); isHTTP && end != nil {
				return nil, l.short(end)
			}
			return nil, fmt.Errorf("%w: %v", errNotHTTP, err)
		}
		if response.StatusCode < 200 {
			continue
		}
		return l.readBody(response)
	}
	return nil, errNotHTTP
}

// postRequest tells ReadResponse which method it answers.
var postRequest = &http.Request{Method: http.MethodPost}

func (l *link) readBody(response *http.Response) (*answer, error) {
	a := &answer{
		status:      response.StatusCode,
		contentType: response.Header.Get("Content-Type"),
		challenges:  response.Header.Values("WWW-Authenticate"),
	}
	l.closing = l.closing || response.Close
	if response.ContentLength == 0 {
		return a, nil
	}
	if response.ContentLength > maxReply {
		return nil, errTooLarge
	}
	a.buffer = buffers.Get().(*[]byte)
	w := bytes.NewBuffer((*a.buffer)[:0])
	if response.ContentLength > 0 {
		w.Grow(int(response.ContentLength) + bytes.MinRead)
	}
	_, err := w.ReadFrom(response.Body)
	_ = response.Body.Close()
	*a.buffer = w.Bytes()
	if err != nil {
		a.release()
		return nil, l.short(err)
	}
	a.body = *a.buffer
	return a, nil
}

// short names the reason why an answer ended early.
func (l *link) short(err error) error {
	if l.limit.N <= 0 {
		return errTooLarge
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w before its answer was complete", errClosed)
	}
	return err
}

func isIO(err error) bool {
	_, isNet := errors.AsType[net.Error](err)
	return isNet || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// cause prefers the reason of our own ctx to the timeout that it provoked.
func (l *link) cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return &said{fmt.Sprintf("no answer within %v", l.waited), err}
	}
	if e, ok := errors.AsType[*net.OpError](err); ok { // its text names addresses and system calls
		cause := e.Err
		if call, ok := errors.AsType[*os.SyscallError](cause); ok {
			cause = call.Err
		}
		return &said{fmt.Sprintf("the connection broke (%v)", cause), err}
	}
	return err
}

// schemes lists the names of the authentication schemes in WWW-Authenticate headers, each once, without parameters.
func schemes(challenges []string) []string {
	var names []string
	for _, challenge := range challenges {
		for field := range strings.SplitSeq(challenge, ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(field), " ")
			if name == "" || strings.ContainsAny(name, "=\"") || hasFold(names, name) {
				continue
			}
			names = append(names, clip(name, 40))
		}
	}
	return names
}

func hasFold(names []string, name string) bool {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// negotiateToken finds the token that follows Negotiate.
func negotiateToken(challenges []string) []byte {
	for _, challenge := range challenges {
		for field := range strings.SplitSeq(challenge, ",") {
			scheme, token, ok := strings.Cut(strings.TrimSpace(field), " ")
			if !ok || !strings.EqualFold(scheme, "Negotiate") {
				continue
			}
			if b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(token)); err == nil && len(b) > 0 {
				return b
			}
		}
	}
	return nil
}
