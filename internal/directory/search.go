package directory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Scope is the depth of a search.
type Scope int

// The scopes (RFC 4511 4.5.1.2).
const (
	Subtree Scope = iota
	OneLevel
	Base
)

// Query is one search. Attributes are named: an empty list asks for none.
type Query struct {
	Base       string // empty: the domain
	Scope      Scope
	Filter     string // empty: every object
	Attributes []string
	Deleted    bool   // also tombstones and deleted objects (MS-ADTS 3.1.1.3.4.1.14)
	PageSize   uint32 // 0: 1000, AD's own limit
	Limit      int    // stop after so many entries; 0: none
}

// Summary says what a search gave besides its entries.
type Summary struct {
	Entries   int
	Pages     int
	Referrals []string // LDAP URLs the answer points to; none was followed
	Cut       bool     // Limit was reached
}

// maxReferrals bounds what is kept of them.
const maxReferrals = 100

// errEnough ends a search because the caller has had enough; it is no failure.
var errEnough = errors.New("enough")

// How far a search reads ahead of its caller: batches, and entries in one. While the caller works the next page is on its way.
const (
	aheadBatches = 16
	aheadEntries = 64
)

// Search streams the entries to emit, in the goroutine of the caller, while one of its own reads on, page by page. An error of emit
// ends it. The end of ctx closes the connection, because LDAP servers may not look up while they write.
func (c *Conn) Search(ctx context.Context, q Query, emit func(*Entry) error) (Summary, error) {
	if q.Base == "" && q.Scope != Base { // the base object of no name is the root
		q.Base = c.Root.DefaultNamingContext
	}
	if q.Filter == "" {
		q.Filter = "(objectClass=*)"
	}
	if len(q.Attributes) == 0 {
		q.Attributes = []string{"1.1"} // RFC 4511 4.5.1.8: none
	}
	if q.PageSize == 0 {
		q.PageSize = 1000
	}
	release := context.AfterFunc(ctx, func() { _ = c.socket.Close() })
	defer release()
	s := &search{conn: c, query: q, found: make(chan []*Entry, aheadBatches), enough: make(chan struct{})}
	go s.run(ctx)
	emitted := 0
	var failed error
	for some := range s.found {
		for _, e := range some {
			if failed != nil {
				break
			}
			emitted++
			if failed = emit(e); failed != nil {
				close(s.enough)
			}
		}
	}
	s.sum.Entries = emitted
	err := s.err
	if failed != nil {
		err = failed
	}
	if errors.Is(err, errEnough) {
		s.sum.Cut = true
		return s.sum, nil
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return s.sum, fmt.Errorf("search %q: %w", q.Base, c.explainSearch(err, q.Base))
	}
	return s.sum, nil
}

// search is a search under way.
type search struct {
	conn    *Conn
	query   Query
	parser  entryParser
	read    int
	pending []*Entry
	found   chan []*Entry // closed when nothing more comes; then the others are set
	enough  chan struct{} // closed by the caller, who still takes what is found
	sum     Summary
	err     error
}

func (s *search) run(ctx context.Context) {
	defer close(s.found)
	defer func() { s.found <- s.pending }()
	paging := ldap.NewControlPaging(s.query.PageSize)
	for {
		cookie, err := s.page(ctx, paging)
		if err != nil {
			s.err = err
			return
		}
		s.sum.Pages++
		if len(cookie) == 0 {
			return
		}
		paging.SetCookie(cookie)
	}
}

// give takes one more entry.
func (s *search) give(e *Entry) error {
	s.read++
	if s.pending = append(s.pending, e); len(s.pending) == aheadEntries {
		s.found <- s.pending
		s.pending = make([]*Entry, 0, aheadEntries)
	}
	if s.query.Limit > 0 && s.read >= s.query.Limit {
		return errEnough
	}
	return nil
}

func (s *search) page(ctx context.Context, paging *ldap.ControlPaging) ([]byte, error) {
	c, q := s.conn, s.query
	controls := []ldap.Control{paging}
	if q.Scope == Base {
		controls = nil
	}
	if q.Deleted {
		controls = append(controls, ldap.NewControlMicrosoftShowDeleted())
	}
	scope := map[Scope]int{Subtree: ldap.ScopeWholeSubtree, OneLevel: ldap.ScopeSingleLevel, Base: ldap.ScopeBaseObject}[q.Scope]
	req := ldap.NewSearchRequest(q.Base, scope, ldap.NeverDerefAliases, 0, 0, false, q.Filter, q.Attributes, controls)
	silent := time.AfterFunc(c.config.Timeout, func() { _ = c.socket.Close() })
	defer silent.Stop()
	results, err := c.wire.ask(req)
	if err != nil {
		return nil, err
	}
	complete := false
	defer func() { c.wire.finish(results, complete) }()
	for {
		var message []byte
		more := true
		select {
		case <-s.enough:
			return nil, errEnough
		case message, more = <-results.next:
		}
		if !more {
			break
		}
		silent.Reset(c.config.Timeout)
		_, body := frameID(message)
		tag, contents, rest, ok := part(body)
		if !ok {
			return nil, errFrame
		}
		switch tag {
		case 0x64: // SearchResultEntry
			e, ok := s.parser.entry(contents)
			if !ok {
				return nil, errFrame
			}
			if err := s.give(e); err != nil {
				return nil, err
			}
		case 0x73: // SearchResultReference
			s.refer(contents)
		case 0x65: // SearchResultDone
			complete = true
			return searchDone(message, contents, rest)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("the domain controller closed the connection or was silent for %s: %w", c.config.Timeout, c.wire.failure())
}

func (s *search) refer(contents []byte) {
	for _, url, more, ok := part(contents); ok && len(s.sum.Referrals) < maxReferrals; _, url, more, ok = part(more) {
		if u := string(url); !slices.Contains(s.sum.Referrals, u) {
			s.sum.Referrals = append(s.sum.Referrals, u)
		}
	}
}

// searchDone reads the end of a search: its result code, and where the next page begins.
func searchDone(message, contents, rest []byte) ([]byte, error) {
	_, code, after, ok := part(contents)
	if !ok || len(code) == 0 || len(code) > 2 {
		return nil, errFrame
	}
	n := uint16(0)
	for _, c := range code {
		n = n<<8 | uint16(c)
	}
	_, matched, after, ok1 := part(after)
	_, text, _, ok2 := part(after)
	if !ok1 || !ok2 {
		return nil, errFrame
	}
	if n != ldap.LDAPResultSuccess {
		packet, err := ber.DecodePacketErr(message)
		if err != nil {
			return nil, errFrame
		}
		return nil, &ldap.Error{ResultCode: n, MatchedDN: string(matched), Err: errors.New(string(text)), Packet: packet}
	}
	_, controls, _, _ := part(rest)
	for len(controls) > 0 {
		var one []byte
		if _, one, controls, ok = part(controls); !ok {
			return nil, errFrame
		}
		_, oid, more, _ := part(one)
		if string(oid) != ldap.ControlTypePaging {
			continue
		}
		for tag, value, next, ok := part(more); ok; tag, value, next, ok = part(next) {
			if tag != 0x04 {
				continue // criticality
			}
			_, sequence, _, _ := part(value)
			_, _, after, _ := part(sequence)
			_, cookie, _, ok := part(after)
			if !ok {
				return nil, errFrame
			}
			return cookie, nil
		}
	}
	return nil, nil
}

// explainSearch adds what only the connection knows.
func (c *Conn) explainSearch(err error, base string) error {
	var le *ldap.Error
	if !errors.As(err, &le) {
		return explain(err, c.DC.String())
	}
	e := &Error{DC: c.DC.String(), Err: err}
	switch le.ResultCode {
	case ldap.LDAPResultNoSuchObject, ldap.LDAPResultInvalidDNSyntax:
		e.Suggest = c.Root.NamingContexts
		e.say(NoSuchBase, fmt.Sprintf("there is nothing at %q", clip(base)), "this domain controller holds "+strings.Join(e.Suggest, "  "))
	case ldap.LDAPResultReferral:
		e.Suggest = referralURLs(le)
		e.say(ReferralOnly, "the answer is at another server: "+strings.Join(e.Suggest, " "),
			"connect to that domain by itself; referrals are not followed, because they would carry the credential elsewhere")
	default:
		return explain(err, c.DC.String())
	}
	return e
}

// referralURLs takes the servers out of a result of the kind referral.
func referralURLs(le *ldap.Error) []string {
	var out []string
	if le.Packet == nil || len(le.Packet.Children) < 2 {
		return nil
	}
	for _, child := range le.Packet.Children[1].Children {
		if child.Tag != 3 {
			continue
		}
		for _, url := range child.Children {
			if s, ok := url.Value.(string); ok && len(out) < maxReferrals {
				out = append(out, clip(s))
			} else if url.Data != nil && len(out) < maxReferrals {
				out = append(out, clip(url.Data.String()))
			}
		}
	}
	return out
}

// Get reads one object; nil where it does not exist or is not visible.
func (c *Conn) Get(ctx context.Context, dn string, attributes ...string) (*Entry, error) {
	var found *Entry
	_, err := c.Search(ctx, Query{Base: dn, Scope: Base, Attributes: attributes}, func(e *Entry) error { found = e; return nil })
	if KindOf(err) == NoSuchBase {
		return nil, nil
	}
	return found, err
}

// EachValue streams all values of a multi-valued attribute of one object with range retrieval (MS-ADTS
// 3.1.1.3.1.3.3): AD gives no more than 1,500 at once.
func (c *Conn) EachValue(ctx context.Context, dn, attribute string, emit func([]byte) error) error {
	for next := 0; ; {
		e, err := c.Get(ctx, dn, fmt.Sprintf("%s;range=%d-*", attribute, next))
		if err != nil {
			return err
		}
		if e == nil {
			return hint.Wrap(fmt.Errorf("there is no object %q", clip(dn)), "check the distinguished name")
		}
		values, last, done := ranged(e, attribute)
		for _, v := range values {
			if err := emit(v); err != nil {
				return err
			}
		}
		if done {
			return nil
		}
		if last < next {
			return fmt.Errorf("read %s of %q: the domain controller answers with a range that does not advance", attribute, clip(dn))
		}
		next = last + 1
	}
}

// All gives the values of an attribute of an entry that a search gave: also those that a domain controller keeps back
// where they are many, which takes further questions. It must not be called within a search.
func (c *Conn) All(ctx context.Context, e *Entry, attribute string) ([]string, error) {
	if !e.Partial(attribute) {
		return e.Texts(attribute), nil
	}
	var out []string
	err := c.EachValue(ctx, e.DN, attribute, func(v []byte) error { out = append(out, string(v)); return nil })
	return out, err
}
