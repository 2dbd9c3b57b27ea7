package directory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
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

// Entry is one object. Its attribute names are compared without regard to case.
type Entry struct {
	DN   string
	attr []*ldap.EntryAttribute
}

// NewEntry makes an entry, for tests of callers.
func NewEntry(dn string, attributes map[string][]string) *Entry {
	return &Entry{dn, ldap.NewEntry(dn, attributes).Attributes}
}

// Values gives the values of an attribute as they came; nil where it is absent or not readable.
func (e *Entry) Values(name string) [][]byte {
	for _, a := range e.attr { // as it was asked for, in nearly every answer
		if a.Name == name {
			return a.ByteValues
		}
	}
	for _, a := range e.attr {
		if strings.EqualFold(a.Name, name) {
			return a.ByteValues
		}
	}
	return nil
}

// Texts gives the values of an attribute as text.
func (e *Entry) Texts(name string) []string {
	var out []string
	for _, v := range e.Values(name) {
		out = append(out, string(v))
	}
	return out
}

// Text gives the first value of an attribute, empty where there is none.
func (e *Entry) Text(name string) string {
	if v := e.Values(name); len(v) > 0 {
		return string(v[0])
	}
	return ""
}

// Bytes gives the first value of an attribute, nil where there is none.
func (e *Entry) Bytes(name string) []byte {
	if v := e.Values(name); len(v) > 0 {
		return v[0]
	}
	return nil
}

// errEnough ends a search because the caller has had enough; it is no failure.
var errEnough = errors.New("enough")

// Search streams the entries to emit, page by page, in one goroutine. An error of emit ends it. The end of ctx closes
// the connection, because LDAP servers may not look up while they write.
func (c *Conn) Search(ctx context.Context, q Query, emit func(*Entry) error) (Summary, error) {
	var sum Summary
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
	paging := ldap.NewControlPaging(q.PageSize)
	for {
		cookie, err := c.page(ctx, q, paging, &sum, emit)
		if errors.Is(err, errEnough) {
			sum.Cut = true
			return sum, nil
		}
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return sum, fmt.Errorf("search %q: %w", q.Base, c.explainSearch(err, q.Base))
		}
		sum.Pages++
		if len(cookie) == 0 {
			return sum, nil
		}
		paging.SetCookie(cookie)
	}
}

func (c *Conn) page(ctx context.Context, q Query, paging *ldap.ControlPaging, sum *Summary, emit func(*Entry) error) ([]byte, error) {
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
	var parser entryParser
	for message := range results.next {
		silent.Reset(c.config.Timeout)
		_, body := frameID(message)
		tag, contents, rest, ok := part(body)
		if !ok {
			return nil, errFrame
		}
		switch tag {
		case 0x64: // SearchResultEntry
			e, ok := parser.entry(contents)
			if !ok {
				return nil, errFrame
			}
			sum.Entries++
			if err := emit(e); err != nil {
				return nil, err
			}
			if q.Limit > 0 && sum.Entries >= q.Limit {
				return nil, errEnough
			}
		case 0x73: // SearchResultReference
			for _, url, more, ok := part(contents); ok && len(sum.Referrals) < maxReferrals; _, url, more, ok = part(more) {
				if u := string(url); !slices.Contains(sum.Referrals, u) {
					sum.Referrals = append(sum.Referrals, u)
				}
			}
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
		return explain(err, c.DC.String(), c.Skew)
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
		return explain(err, c.DC.String(), c.Skew)
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

// Partial reports whether the entry holds a range of the values of an attribute only.
func (e *Entry) Partial(attribute string) bool {
	_, _, done := ranged(e, attribute)
	return !done
}

// ranged finds attribute or attribute;range=low-high in e. done: these were the last values.
func ranged(e *Entry, attribute string) (values [][]byte, last int, done bool) {
	for _, a := range e.attr {
		name, option, found := strings.Cut(a.Name, ";")
		if !strings.EqualFold(name, attribute) {
			continue
		}
		if !found && len(a.ByteValues) == 0 {
			continue // beside the ranged name AD gives the plain one, empty
		}
		span, ok := strings.CutPrefix(strings.ToLower(option), "range=")
		if !ok {
			return a.ByteValues, 0, true
		}
		_, high, _ := strings.Cut(span, "-")
		n, err := strconv.Atoi(high)
		return a.ByteValues, n, high == "*" || err != nil
	}
	return nil, 0, true
}
