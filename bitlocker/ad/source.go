package ad

import (
	"context"
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

// ref reads a key object. Where the attribute with the key ID is malformed, the object's name still holds it; malformed is
// set then.
func (s *Source) ref(e *directory.Entry) (ref bitlocker.KeyRef, malformed bool, err error) {
	object, err := directory.GUID(e.Bytes("objectGUID"))
	if err != nil {
		return bitlocker.KeyRef{}, false, fmt.Errorf("its objectGUID cannot be read: %w", err)
	}
	ref = bitlocker.KeyRef{Source: s.name, SourceKey: object, Deleted: strings.EqualFold(e.Text("isDeleted"), "TRUE")}
	if raw := e.Bytes(attrID); len(raw) == 16 {
		ref.ID = bitlocker.KeyIDFromGUID([16]byte(raw))
	} else if ref.ID, malformed = idInName(e.DN); !malformed {
		return bitlocker.KeyRef{}, false, fmt.Errorf("its key ID has %d bytes instead of 16, and its name holds none", len(raw))
	}
	if v := e.Bytes(attrVolume); len(v) == 16 {
		ref.VolumeID = string(bitlocker.KeyIDFromGUID([16]byte(v)))
	}
	// whenCreated, not the time in the name: that one is of the computer's clock and zone.
	if t, err := directory.GeneralizedTime(e.Text("whenCreated")); err == nil {
		ref.Created = t
	}
	ref.Machine = machine(e)
	return ref, malformed, nil
}

// idInName takes the key ID out of CN=2024-07-19T04:09:00-00:00{4C4B6D8A-...},CN=PC1,...
func idInName(dn string) (bitlocker.KeyID, bool) {
	name, _ := split(dn)
	_, after, ok := strings.Cut(name, "{")
	text, _, closed := strings.Cut(after, "}")
	id, err := bitlocker.ParseKeyID(text)
	return id, ok && closed && err == nil
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
