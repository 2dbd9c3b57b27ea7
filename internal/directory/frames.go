package directory

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// maxFrame is the largest message we take: AD sends at most 10 MB.
const maxFrame = 10 << 20

// firstSearchID is where the IDs of our own searches begin; those of go-ldap count up from 1.
const firstSearchID = 1 << 30

var errFrame = errors.New("the domain controller sent a message that is not LDAP")

// frames lies between the connection and go-ldap and takes the answers to our searches out. go-ldap makes a tree of some
// hundred parts of every entry, which costs more than everything else about a search of 20,000 computers; here an entry
// is one allocation and slices of it. Everything but searches goes through untouched.
type frames struct {
	net.Conn // what protects: TLS, SASL layer
	in       *bufio.Reader
	pending  []byte // of a message for go-ldap

	writing sync.Mutex
	mu      sync.Mutex
	lastID  int
	current *answers
	failed  error // reading ended
}

// answers are the messages of one search, as they come.
type answers struct {
	id   int
	next chan []byte   // whole messages; closed when the connection ends
	done chan struct{} // closed by the search when it has had enough
}

func newFrames(c net.Conn) *frames {
	return &frames{Conn: c, in: bufio.NewReaderSize(c, 64<<10), lastID: firstSearchID}
}

// Read is called by go-ldap's reader. It hands over answers to searches and returns the rest.
func (f *frames) Read(p []byte) (int, error) {
	for len(f.pending) == 0 {
		message, err := readFrame(f.in)
		if err != nil {
			f.end(err)
			return 0, err
		}
		if id, _ := frameID(message); id > firstSearchID {
			f.deliver(id, message)
			continue
		}
		f.pending = message
	}
	n := copy(p, f.pending)
	f.pending = f.pending[n:]
	return n, nil
}

func (f *frames) Write(p []byte) (int, error) {
	f.writing.Lock()
	defer f.writing.Unlock()
	return f.Conn.Write(p)
}

// deliver waits until the search takes the message, or has ended.
func (f *frames) deliver(id int, message []byte) {
	f.mu.Lock()
	a := f.current
	f.mu.Unlock()
	if a == nil || a.id != id {
		return // of a search that was given up
	}
	select {
	case a.next <- message:
	case <-a.done:
	}
}

func (f *frames) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed == nil {
		f.failed = err
		if f.current != nil {
			close(f.current.next)
		}
	}
}

func (f *frames) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// ask sends a search and returns its answers. The caller ends it with finish.
func (f *frames) ask(q *ldap.SearchRequest) (*answers, error) {
	f.mu.Lock()
	if f.failed != nil {
		defer f.mu.Unlock()
		return nil, f.failed
	}
	f.lastID++
	a := &answers{id: f.lastID, next: make(chan []byte, 256), done: make(chan struct{})}
	f.current = a
	f.mu.Unlock()
	request, err := encodeSearch(a.id, q)
	if err == nil {
		_, err = f.Write(request)
	}
	if err != nil {
		f.finish(a, true)
		return nil, err
	}
	return a, nil
}

// finish ends a search; one that is not complete is abandoned (RFC 4511 4.11).
func (f *frames) finish(a *answers, complete bool) {
	f.mu.Lock()
	if f.current == a {
		f.current = nil
	}
	alive := f.failed == nil
	f.mu.Unlock()
	close(a.done)
	if complete || !alive {
		return
	}
	p := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, a.id+firstSearchID/2, ""))
	p.AppendChild(ber.NewInteger(ber.ClassApplication, ber.TypePrimitive, ldap.ApplicationAbandonRequest, a.id, ""))
	_, _ = f.Write(p.Bytes()) // the caller has what it wants
}

func encodeSearch(id int, q *ldap.SearchRequest) ([]byte, error) {
	filter, err := ldap.CompileFilter(q.Filter)
	if err != nil {
		return nil, err
	}
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchRequest, nil, "")
	op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, q.BaseDN, ""))
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, q.Scope, ""))
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, q.DerefAliases, ""))
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, q.SizeLimit, ""))
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, q.TimeLimit, ""))
	op.AppendChild(ber.NewLDAPBoolean(ber.ClassUniversal, ber.TypePrimitive, ber.TagBoolean, q.TypesOnly, ""))
	op.AppendChild(filter)
	attributes := ber.NewSequence("")
	for _, a := range q.Attributes {
		attributes.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, a, ""))
	}
	op.AppendChild(attributes)
	message := ber.NewSequence("")
	message.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	message.AppendChild(op)
	if len(q.Controls) > 0 {
		controls := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
		for _, c := range q.Controls {
			controls.AppendChild(c.Encode())
		}
		message.AppendChild(controls)
	}
	return message.Bytes(), nil
}

// part takes the first BER element off b (definite lengths, RFC 4511 5.1).
func part(b []byte) (tag byte, contents, rest []byte, ok bool) {
	if len(b) < 2 || b[0]&0x1f == 0x1f {
		return 0, nil, nil, false
	}
	tag = b[0]
	n, at := int(b[1]), 2
	if n >= 0x80 {
		size := n & 0x7f
		if size == 0 || size > 4 || len(b) < 2+size {
			return 0, nil, nil, false
		}
		n = 0
		for _, c := range b[2 : 2+size] {
			n = n<<8 | int(c)
		}
		at += size
	}
	if n < 0 || n > len(b)-at {
		return 0, nil, nil, false
	}
	return tag, b[at : at+n], b[at+n:], true
}

// readFrame reads one whole LDAP message.
func readFrame(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(2)
	if err != nil {
		return nil, err
	}
	if head[0] != 0x30 {
		return nil, errFrame
	}
	n, at := int(head[1]), 2
	if n >= 0x80 {
		size := n & 0x7f
		if size == 0 || size > 4 {
			return nil, errFrame
		}
		at += size
		if head, err = r.Peek(at); err != nil {
			return nil, err
		}
		n = 0
		for _, c := range head[2:] {
			n = n<<8 | int(c)
		}
	}
	if n < 0 || n > maxFrame {
		return nil, fmt.Errorf("%w, or of %d bytes", errFrame, n)
	}
	message := make([]byte, at+n)
	_, err = io.ReadFull(r, message)
	return message, err
}

// frameID reads the ID of a message, and what follows it.
func frameID(message []byte) (id int, rest []byte) {
	_, body, _, ok := part(message)
	if !ok {
		return 0, nil
	}
	tag, digits, rest, ok := part(body)
	if !ok || tag != 2 || len(digits) == 0 || len(digits) > 4 || digits[0] >= 0x80 {
		return 0, nil
	}
	for _, d := range digits {
		id = id<<8 | int(d)
	}
	return id, rest
}

// entryParser reads SearchResultEntry. Names of attributes come again and again, so they are kept.
type entryParser struct {
	names map[string]string
	count int // attributes of the last entry, to make room for the next
}

func (p *entryParser) name(b []byte) string {
	if s, ok := p.names[string(b)]; ok {
		return s
	}
	if p.names == nil || len(p.names) > 1000 {
		p.names = map[string]string{}
	}
	s := string(b)
	p.names[s] = s
	return s
}

// entry reads the contents of a SearchResultEntry; its values are slices of b.
func (p *entryParser) entry(b []byte) (*Entry, bool) {
	_, dn, rest, ok := part(b)
	if !ok {
		return nil, false
	}
	_, list, _, ok := part(rest)
	if !ok {
		return nil, false
	}
	store := make([]ldap.EntryAttribute, 0, p.count+2)
	values := make([][]byte, 0, 2*p.count+8)
	for len(list) > 0 {
		var pair, name, set, after []byte
		if _, pair, list, ok = part(list); !ok {
			return nil, false
		}
		if _, name, after, ok = part(pair); !ok {
			return nil, false
		}
		if _, set, _, ok = part(after); !ok {
			return nil, false
		}
		from := len(values)
		for len(set) > 0 {
			var v []byte
			if _, v, set, ok = part(set); !ok {
				return nil, false
			}
			values = append(values, v[:len(v):len(v)])
		}
		store = append(store, ldap.EntryAttribute{Name: p.name(name), ByteValues: values[from:len(values):len(values)]})
	}
	p.count = len(store)
	e := &Entry{DN: string(dn), attr: make([]*ldap.EntryAttribute, len(store))}
	for i := range store {
		e.attr[i] = &store[i]
	}
	return e, true
}
