package ad

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/hint"
)

// Options say what to read and as whom.
type Options struct {
	Directory directory.Config
	Bases     []string // distinguished names of OUs; empty for the whole domain
	Deleted   bool     // also keys among the domain's deleted objects, which administrators alone may see by default
	Warn      func(string)
}

// Conn is what the source needs of a connection; *directory.Conn is one.
type Conn interface {
	Search(ctx context.Context, q directory.Query, emit func(*directory.Entry) error) (directory.Summary, error)
	Close() error
}

// Source reads the keys of a domain. It is a [bitlocker.Source] and safe for concurrent use.
type Source struct {
	options Options
	name    string
	dial    func(context.Context) (Conn, error)

	mu   sync.Mutex // guards conn, on which questions go one after the other
	conn Conn
}

var _ bitlocker.Source = (*Source)(nil)

const (
	class      = "(objectClass=msFVE-RecoveryInformation)"
	attrID     = "msFVE-RecoveryGuid"
	attrVolume = "msFVE-VolumeGuid"
	attrSecret = "msFVE-RecoveryPassword" //nolint:gosec // G101: the name of an attribute

	// overlap of two readings. whenChanged is each domain controller's own and moves with replication; a day covers the
	// lag of a slow site.
	overlap = 24 * time.Hour
	// findLimit bounds the answer to a prefix. Of a million keys eight digits match one or two.
	findLimit = 1000
)

var refAttributes = []string{"objectGUID", "name", attrID, attrVolume, "whenCreated", "isDeleted", "lastKnownParent"}

// New makes a source. It connects when it is first asked; [Source.Close] ends that.
func New(o Options) *Source {
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	s := &Source{options: o, name: "ad:" + strings.ToLower(o.Directory.Domain)}
	s.dial = func(ctx context.Context) (Conn, error) { return directory.Dial(ctx, o.Directory) }
	return s
}

// Name implements [bitlocker.Source].
func (s *Source) Name() string { return s.name }

// Close ends the connection. The source may be asked again and then connects anew.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}

// Keys implements [bitlocker.Source]. It uses a connection of its own, so that questions need not wait for a long reading.
func (s *Source) Keys(ctx context.Context, since time.Time, emit func(bitlocker.KeyRef) error) error {
	conn, err := s.dial(ctx)
	if err != nil {
		return fmt.Errorf("list keys of %s: %w", s.name, err)
	}
	defer func() { _ = conn.Close() }() // nothing was written
	filter := class
	if !since.IsZero() {
		filter = "(&" + class + "(whenChanged>=" + since.Add(-overlap).UTC().Format("20060102150405.0Z") + "))"
	}
	l := &listing{source: s, emit: emit, seen: map[string]bool{}}
	bases := s.options.Bases
	if len(bases) == 0 {
		bases = []string{""}
	}
	for _, base := range bases {
		q := directory.Query{Base: base, Filter: filter, Attributes: refAttributes, Deleted: s.options.Deleted && base == ""}
		if err := l.read(ctx, conn, q); err != nil {
			return err
		}
	}
	if s.options.Deleted && bases[0] != "" { // what is deleted has left its OU
		q := directory.Query{Filter: "(&(isDeleted=TRUE)" + filter + ")", Attributes: refAttributes, Deleted: true}
		if err := l.read(ctx, conn, q); err != nil {
			return err
		}
	}
	if l.bad > 0 {
		s.options.Warn(fmt.Sprintf("%s: %d key objects have no GUID and were left out", s.name, l.bad))
	}
	if l.count == 0 && l.bad == 0 {
		if err := s.mayList(ctx, conn, bases); err != nil {
			return fmt.Errorf("list keys of %s: %w", s.name, err)
		}
	}
	return nil
}

// listing is one reading over several places.
type listing struct {
	source *Source
	emit   func(bitlocker.KeyRef) error
	seen   map[string]bool // by object, where places overlap
	count  int
	bad    int
}

func (l *listing) read(ctx context.Context, conn Conn, q directory.Query) error {
	summary, err := conn.Search(ctx, q, func(e *directory.Entry) error {
		ref, err := l.source.ref(e)
		if err != nil {
			l.bad++
			return nil
		}
		if l.seen[ref.SourceKey] {
			return nil
		}
		if len(l.source.options.Bases) > 1 {
			l.seen[ref.SourceKey] = true
		}
		l.count++
		return l.emit(ref)
	})
	if err != nil {
		return fmt.Errorf("list keys of %s: %w", l.source.name, err)
	}
	for _, r := range summary.Referrals {
		if !strings.Contains(r, "DnsZones") && !strings.Contains(r, "CN=Configuration") && q.Base != "" {
			l.source.options.Warn(fmt.Sprintf("%s: keys may also be at %s, which was not asked", l.source.name, r))
		}
	}
	return nil
}

// mayList tells "none is stored" from "not allowed to see any" when a reading gave nothing: the directory hides objects
// without a word. Where one key is visible nothing was new; where computers are and no key is, the right is missing, or
// the fleet has no key at all, which is worth the same alarm.
func (s *Source) mayList(ctx context.Context, conn Conn, bases []string) error {
	sees := func(filter string) (bool, error) {
		for _, base := range bases {
			found := false
			_, err := conn.Search(ctx, directory.Query{Base: base, Filter: filter, Limit: 1}, func(*directory.Entry) error { found = true; return nil })
			if found || err != nil {
				return found, err
			}
		}
		return false, nil
	}
	if found, err := sees(class); found || err != nil {
		return err
	}
	computers, err := sees("(objectCategory=computer)")
	if err != nil {
		return err
	}
	what := "computers are visible and not one key below them"
	if !computers {
		what = "neither computers nor keys are visible"
	}
	return hint.Wrap(fmt.Errorf("%w: %s", bitlocker.ErrListDenied, what),
		"listing needs the rights List Contents and Read Property on msFVE-RecoveryInformation objects below the OU; if they are there, no key was ever escrowed to this domain")
}

// ref reads a key object.
func (s *Source) ref(e *directory.Entry) (bitlocker.KeyRef, error) {
	raw := e.Bytes(attrID)
	if len(raw) != 16 {
		return bitlocker.KeyRef{}, errors.New("a key object has no GUID")
	}
	object, err := directory.GUID(e.Bytes("objectGUID"))
	if err != nil {
		return bitlocker.KeyRef{}, err
	}
	ref := bitlocker.KeyRef{
		ID: bitlocker.KeyIDFromGUID([16]byte(raw)), Source: s.name, SourceKey: object, Deleted: strings.EqualFold(e.Text("isDeleted"), "TRUE"),
	}
	if v := e.Bytes(attrVolume); len(v) == 16 {
		ref.VolumeID = string(bitlocker.KeyIDFromGUID([16]byte(v)))
	}
	// whenCreated, not the time in the name: that one is of the computer's clock and zone.
	if t, err := directory.GeneralizedTime(e.Text("whenCreated")); err == nil {
		ref.Created = t
	}
	ref.Machine = machine(e)
	return ref, nil
}

// machine reads the computer out of the object's place, or out of what a deleted one remembers.
func machine(e *directory.Entry) bitlocker.Machine {
	_, dn := split(e.DN)
	if strings.EqualFold(e.Text("isDeleted"), "TRUE") {
		dn = e.Text("lastKnownParent")
	}
	first, _ := split(dn)
	name, ok := strings.CutPrefix(strings.ToUpper(first), "CN=")
	if !ok {
		return bitlocker.Machine{DN: dn}
	}
	name, _, _ = strings.Cut(name, `\0ADEL:`) // the computer is deleted too
	return bitlocker.Machine{Name: name, DN: dn}
}

// split takes a distinguished name apart at its first comma that is not escaped (RFC 4514).
func split(dn string) (first, rest string) {
	for i := 0; i < len(dn); i++ {
		switch dn[i] {
		case '\\':
			i++
		case ',':
			return dn[:i], dn[i+1:]
		}
	}
	return dn, ""
}
