package ad

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/hint"
)

// Find asks the directory for keys by the digits that a recovery screen shows, all of them or 8 and more. base is the
// computer or OU to look below, empty for the domain. It is two round trips where something is found, the second for the GUID
// of the computer; more than one key means that more than one begins so. Nothing found is [bitlocker.ErrNotStored] or [bitlocker.ErrListDenied].
func (s *Source) Find(ctx context.Context, prefix bitlocker.Prefix, base string) ([]bitlocker.KeyRef, error) {
	clause, err := guidFilter(prefix)
	if err != nil {
		return nil, err
	}
	q := directory.Query{Base: base, Filter: "(&" + class + clause + ")", Attributes: refAttributes, Deleted: s.options.Deleted, Limit: findLimit}
	var refs []bitlocker.KeyRef
	err = s.ask(ctx, func(conn Conn) error {
		refs = nil
		_, err := conn.Search(ctx, q, func(e *directory.Entry) error {
			if ref, _, err := s.ref(e); err == nil && prefix.Matches(ref.ID) {
				refs = append(refs, ref)
			}
			return nil
		})
		switch {
		case err != nil:
			return err
		case len(refs) == 0:
			return s.absent(ctx, conn)
		}
		return addGUIDs(ctx, conn, refs)
	})
	if err != nil {
		return nil, fmt.Errorf("find key %s in %s: %w", prefix, s.name, err)
	}
	return refs, nil
}

// guidFilter makes a filter on msFVE-RecoveryGuid, which AD indexes. The bytes of the first three fields are stored in
// reverse, so that only whole fields can be asked for; the digits that are left over are compared here.
func guidFilter(prefix bitlocker.Prefix) (string, error) {
	if id, ok := prefix.Whole(); ok {
		guid, ok := id.GUID()
		if !ok {
			return "", fmt.Errorf("key ID %q is none", prefix)
		}
		return "(" + attrID + "=" + directory.FilterBytes(guid[:]) + ")", nil
	}
	digits := strings.ReplaceAll(string(prefix), "-", "")
	whole := len(digits) / 2
	switch {
	case whole < 4:
		return "", errors.New("a key ID is asked for by 8 digits at least")
	case whole < 6:
		whole = 4
	case whole < 8:
		whole = 6
	}
	raw, err := hex.DecodeString(digits[:2*whole])
	if err != nil {
		return "", fmt.Errorf("key ID %q: %w", prefix, err)
	}
	for _, field := range [][2]int{{0, 4}, {4, 6}, {6, 8}} {
		if whole >= field[1] {
			for i, j := field[0], field[1]-1; i < j; i, j = i+1, j-1 {
				raw[i], raw[j] = raw[j], raw[i]
			}
		}
	}
	return "(" + attrID + "=" + directory.FilterBytes(raw) + "*)", nil
}

// Password implements [bitlocker.Source]: one search for one object, by its GUID in the directory, or by the key ID where
// the reference has none.
func (s *Source) Password(ctx context.Context, ref bitlocker.KeyRef) (bitlocker.Password, error) {
	q, err := passwordQuery(ref)
	if err != nil {
		return bitlocker.Password{}, fmt.Errorf("read key %s from %s: %w", ref.ID, s.name, err)
	}
	q.Deleted = ref.Deleted || s.options.Deleted
	var found *directory.Entry
	err = s.ask(ctx, func(conn Conn) error {
		found = nil
		_, err := conn.Search(ctx, q, func(e *directory.Entry) error { found = e; return nil })
		if err == nil && found == nil {
			err = s.absent(ctx, conn)
		}
		return err
	})
	if err != nil {
		return bitlocker.Password{}, fmt.Errorf("read key %s from %s: %w", ref.ID, s.name, err)
	}
	text := found.Text(attrSecret)
	if text == "" {
		return bitlocker.Password{}, fmt.Errorf("read key %s from %s: %w", ref.ID, s.name, hint.Wrap(fmt.Errorf("%w: the object is visible, its password is not", bitlocker.ErrReadDenied),
			"reading needs Control Access and Read Property on msFVE-RecoveryInformation objects; a read-only domain controller never gives it, name a writable one in directory.dc"))
	}
	password, err := bitlocker.ParsePassword(text)
	if err != nil {
		return bitlocker.Password{}, fmt.Errorf("read key %s from %s: %w", ref.ID, s.name, err)
	}
	return password, nil
}

func passwordQuery(ref bitlocker.KeyRef) (directory.Query, error) {
	q := directory.Query{Attributes: []string{attrSecret}, Limit: 1}
	if object, err := bitlocker.ParseKeyID(ref.SourceKey); err == nil { // a GUID like any other
		guid, _ := object.GUID()
		q.Filter = "(&" + class + "(objectGUID=" + directory.FilterBytes(guid[:]) + "))"
		return q, nil
	}
	clause, err := guidFilter(ref.ID.Prefix())
	q.Filter = "(&" + class + clause + ")"
	return q, err
}

// absent says why an object was not found.
func (s *Source) absent(ctx context.Context, conn Conn) error {
	if err := s.mayList(ctx, conn, []string{""}); err != nil {
		return err
	}
	if s.options.Deleted {
		return bitlocker.ErrNotStored
	}
	return hint.Wrap(bitlocker.ErrNotStored, "it may be among the deleted objects: --deleted looks there, as an administrator of the domain")
}

// ask puts a question on the connection that is kept, and once more on a new one where the old one has died meanwhile. A
// credential that was rejected is not tried again: the first dial has said so.
func (s *Source) ask(ctx context.Context, question func(Conn) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.conn != nil
	for {
		if s.conn == nil {
			conn, err := s.dial(ctx)
			if err != nil {
				return err
			}
			s.conn = conn
		}
		err := question(s.conn)
		if err == nil || errors.Is(err, bitlocker.ErrNotStored) || errors.Is(err, bitlocker.ErrListDenied) {
			return err
		}
		_ = s.conn.Close() // whatever it was, the next question begins afresh
		s.conn = nil
		if !kept || ctx.Err() != nil || directory.KindOf(err) != directory.Other {
			return err
		}
		kept = false
	}
}
