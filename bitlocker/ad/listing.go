package ad

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/directory"
)

var _ bitlocker.Roller = (*Source)(nil)

// Keys implements [bitlocker.Source]. It uses a connection of its own, so that questions need not wait for a long reading.
func (s *Source) Keys(ctx context.Context, since time.Time, emit func(bitlocker.KeyRef) error) error {
	conn, err := s.dial(ctx)
	if err == nil {
		defer func() { _ = conn.Close() }() // nothing was written
		l := &listing{source: s, conn: conn, emit: emit, seen: map[string]bool{}}
		if since.IsZero() {
			err = l.all(ctx)
		} else {
			err = l.changed(ctx, since)
		}
	}
	if err != nil {
		return fmt.Errorf("list keys of %s: %w", s.name, err)
	}
	return nil
}

// Roll implements [bitlocker.Roller].
func (s *Source) Roll(ctx context.Context, emit func(sourceKey string, m bitlocker.Machine) error) error {
	conn, err := s.dial(ctx)
	if err == nil {
		defer func() { _ = conn.Close() }() // nothing was written
		var guids map[string]string
		if guids, err = directory.ComputerGUIDs(ctx, conn, ""); err == nil {
			l := &listing{source: s, conn: conn, guids: guids, seen: map[string]bool{}, quiet: true,
				emit: func(ref bitlocker.KeyRef) error { return emit(ref.SourceKey, ref.Machine) }}
			err = l.places(ctx, class, rollAttributes, false)
		}
	}
	if err != nil {
		return fmt.Errorf("call the roll of the keys of %s: %w", s.name, err)
	}
	return nil
}

// rollAttributes are what tells a key that is known from others, and one that was left out.
var rollAttributes = []string{"objectGUID", attrID}

// listing is one reading over several places.
type listing struct {
	source *Source
	conn   Conn
	guids  map[string]string // of computers, by distinguished name in lower case
	emit   func(bitlocker.KeyRef) error
	seen   map[string]bool // by object, where places overlap
	quiet  bool            // what is malformed was said before
	count  int
	odd    []string // what to say of malformed objects
}

func (l *listing) all(ctx context.Context) (err error) {
	if l.guids, err = directory.ComputerGUIDs(ctx, l.conn, ""); err != nil {
		return err
	}
	return l.read(ctx, class)
}

// changed lists what changed since then, and asks for the computers of these keys alone.
func (l *listing) changed(ctx context.Context, since time.Time) error {
	var refs []bitlocker.KeyRef
	emit := l.emit
	l.emit = func(ref bitlocker.KeyRef) error { refs = append(refs, ref); return nil }
	if err := l.read(ctx, "(&"+class+"(whenChanged>="+since.Add(-overlap).UTC().Format("20060102150405.0Z")+"))"); err != nil {
		return err
	}
	if err := addGUIDs(ctx, l.conn, refs); err != nil {
		return err
	}
	for _, ref := range refs {
		if err := emit(ref); err != nil {
			return err
		}
	}
	return nil
}

func (l *listing) read(ctx context.Context, filter string) error {
	if err := l.places(ctx, filter, refAttributes, l.source.options.Deleted); err != nil {
		return err
	}
	l.report()
	if l.count == 0 && len(l.odd) == 0 {
		return l.source.mayList(ctx, l.conn, l.source.bases())
	}
	return nil
}

// places searches everywhere the source is to look.
func (l *listing) places(ctx context.Context, filter string, attributes []string, deleted bool) error {
	bases := l.source.bases()
	for _, base := range bases {
		if err := l.search(ctx, directory.Query{Base: base, Filter: filter, Attributes: attributes, Deleted: deleted && base == ""}); err != nil {
			return err
		}
	}
	if deleted && bases[0] != "" { // what is deleted has left its OU
		return l.search(ctx, directory.Query{Filter: "(&(isDeleted=TRUE)" + filter + ")", Attributes: attributes, Deleted: true})
	}
	return nil
}

func (s *Source) bases() []string {
	if len(s.options.Bases) == 0 {
		return []string{""}
	}
	return s.options.Bases
}

func (l *listing) search(ctx context.Context, q directory.Query) error {
	summary, err := l.conn.Search(ctx, q, func(e *directory.Entry) error {
		ref, malformed, err := l.source.ref(e)
		if err != nil {
			l.odd = append(l.odd, fmt.Sprintf("%s: %v; it was left out", e.DN, err))
			return nil
		}
		if l.seen[ref.SourceKey] {
			return nil
		}
		if len(l.source.options.Bases) > 1 {
			l.seen[ref.SourceKey] = true
		}
		if malformed {
			l.odd = append(l.odd, fmt.Sprintf("%s: its key ID is malformed; the one in its name was taken", e.DN))
		}
		l.count++
		ref.Machine.GUID = l.guids[strings.ToLower(ref.Machine.DN)]
		return l.emit(ref)
	})
	if err != nil {
		return err
	}
	for _, r := range summary.Referrals {
		if !strings.Contains(r, "DnsZones") && !strings.Contains(r, "CN=Configuration") && q.Base != "" && !l.quiet {
			l.source.options.Warn(fmt.Sprintf("%s: keys may also be at %s, which was not asked", l.source.name, r))
		}
	}
	return nil
}

// oddities bounds how many malformed objects are named.
const oddities = 20

// report names the objects that are not as they should be.
func (l *listing) report() {
	for _, text := range l.odd[:min(len(l.odd), oddities)] {
		l.source.options.Warn(l.source.name + ": " + text)
	}
	if more := len(l.odd) - oddities; more > 0 {
		l.source.options.Warn(fmt.Sprintf("%s: and %d more malformed key objects", l.source.name, more))
	}
}

// Limits of addGUIDs: names in one question, and names beyond which the roll of all computers is the shorter way.
const (
	namesAtOnce = 50
	namesAtMost = 1000
)

// addGUIDs asks for the GUIDs of the computers of some keys.
func addGUIDs(ctx context.Context, conn Conn, refs []bitlocker.KeyRef) error {
	var dns []string
	for _, ref := range refs {
		if ref.Machine.DN != "" {
			dns = append(dns, ref.Machine.DN)
		}
	}
	slices.Sort(dns)
	dns = slices.Compact(dns)
	guids := map[string]string{}
	if len(dns) > namesAtMost {
		all, err := directory.ComputerGUIDs(ctx, conn, "")
		if err != nil {
			return err
		}
		guids, dns = all, nil
	}
	for some := range slices.Chunk(dns, namesAtOnce) {
		var clauses strings.Builder
		for _, dn := range some {
			clauses.WriteString("(distinguishedName=" + directory.FilterText(dn) + ")")
		}
		q := directory.Query{Filter: "(&" + directory.Computers + "(|" + clauses.String() + "))", Attributes: []string{"objectGUID"}}
		_, err := conn.Search(ctx, q, func(e *directory.Entry) error {
			if id, err := directory.GUID(e.Bytes("objectGUID")); err == nil {
				guids[strings.ToLower(e.DN)] = id
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for i := range refs {
		refs[i].Machine.GUID = guids[strings.ToLower(refs[i].Machine.DN)]
	}
	return nil
}
