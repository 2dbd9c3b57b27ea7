package kerberos

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/fleetmend/fleetmend/internal/textfile"
)

// largestFile bounds keytabs and ticket caches.
const largestFile = 4 << 20

// readKeytab takes the newest key of each cipher that the keytab has for the account.
func (a *Account) readKeytab() error {
	path := a.credential.Keytab
	b, err := textfile.Bytes(strings.TrimPrefix(path, "FILE:"), largestFile)
	if err != nil {
		return fmt.Errorf("read keytab: %w", err)
	}
	entries, err := parseKeytab(b)
	if err != nil {
		return failed(NoSecret, "write one with ktutil, ktpass or samba-tool domain exportkeytab", "%s is no keytab", path)
	}
	newest := map[int32]uint32{}
	var principals, ciphers []string
	mine := a.keytabNames()
	for _, e := range entries {
		name := strings.Join(e.Components, "/") + "@" + e.Realm
		if !slices.Contains(principals, name) {
			principals = append(principals, name)
		}
		// Without case, as a domain compares.
		if !strings.EqualFold(name, mine[0]) && !strings.EqualFold(name, mine[1]) {
			continue
		}
		a.name.NameString = e.Components // as the KDC that it came from writes it
		ciphers = append(ciphers, fmt.Sprint(e.Key.KeyType))
		before, had := newest[e.Key.KeyType]
		if !good(e.Key) || had && before >= e.KVNO {
			continue
		}
		newest[e.Key.KeyType] = e.KVNO
		a.keys = append(slices.DeleteFunc(a.keys, func(k types.EncryptionKey) bool { return k.KeyType == e.Key.KeyType }), e.Key)
	}
	slices.SortFunc(a.keys, func(x, y types.EncryptionKey) int {
		return cmp.Compare(slices.Index(spoken, x.KeyType), slices.Index(spoken, y.KeyType))
	})
	switch {
	case len(a.keys) > 0:
		return nil
	case len(ciphers) > 0:
		return failed(NoSecret, "write it anew with AES keys", "the keytab %s has no AES key of %s, only type %s", path, mine[0], strings.Join(ciphers, ", "))
	}
	return failed(NoSecret, "write the user as the keytab names it, or take the account's own keytab", "the keytab %s has no key of %s; it has keys of %s",
		path, mine[0], cmp.Or(strings.Join(principals[:min(len(principals), 5)], ", "), "nobody"))
}

// keytabNames are the ways in which a keytab may name the account.
func (a *Account) keytabNames() [2]string {
	name := a.name.PrincipalNameString()
	return [2]string{strings.TrimSuffix(name, "@"+a.config.Realm) + "@" + a.config.Realm, name}
}

type keytabEntry struct {
	Components []string
	Realm      string
	KVNO       uint32
	Key        types.EncryptionKey
}

// parseKeytab reads the format of https://web.mit.edu/kerberos/krb5-latest/doc/formats/keytab_file_format.html. The library's errors
// are not passed on: they hold the file.
func parseKeytab(b []byte) (out []keytabEntry, err error) {
	defer survive(&err)
	kt := keytab.New()
	if kt.Unmarshal(b) != nil {
		return nil, errMalformed
	}
	for i := range kt.Entries {
		e := &kt.Entries[i]
		out = append(out, keytabEntry{e.Principal.Components, e.Principal.Realm, e.KVNO, e.Key})
	}
	return out, nil
}

// readCache takes the ticket-granting ticket of a ticket cache.
func (a *Account) readCache() error {
	path := a.credential.CCache
	if kind, _, ok := strings.Cut(path, ":"); ok && len(kind) > 1 && kind != "FILE" { // C:\ is no kind
		return failed(NoSecret, "write the tickets into a file and name that: kinit -c FILE:/path", "ticket caches of the kind %s cannot be read", kind)
	}
	b, err := textfile.Bytes(strings.TrimPrefix(path, "FILE:"), largestFile)
	if err != nil {
		return failed(NoSecret, "run kinit again", "read ticket cache: %w", err)
	}
	owner, tickets, ok := parseCache(b)
	if !ok {
		return failed(NoSecret, "run kinit again", "%s is no ticket cache", path)
	}
	if a.credential.User != "" && !sameName(owner, a.name) && a.name.NameType != nameEnterprise {
		return failed(NoSecret, "run kinit for that user, or name no user", "the ticket cache %s is that of %s, not of %s", path, owner.PrincipalNameString(), a.credential.User)
	}
	for _, t := range tickets {
		realm, granting := t.forRealm()
		if !granting || !strings.EqualFold(realm, t.crealm) {
			continue
		}
		if !good(t.key) {
			return failed(NoAES, "see that the domain allows AES, then run kinit again", "the ticket in %s is not of AES", path)
		}
		if a.config.now().After(t.end) {
			return failed(NoSecret, "run kinit again", "the ticket in %s ended at %s", path, t.end.Local().Format("2006-01-02 15:04"))
		}
		a.home, a.name = t, owner
		a.config.Realm = realm
		return nil
	}
	return failed(NoSecret, "run kinit again", "the ticket cache %s has no ticket of the kind that gets others (krbtgt)", path)
}

// parseCache reads the format of https://web.mit.edu/kerberos/krb5-latest/doc/formats/ccache_file_format.html, versions 3 and 4.
func parseCache(b []byte) (owner types.PrincipalName, tickets []*ticket, ok bool) {
	r := &cacheReader{b: b}
	if r.number(1) != 5 {
		return owner, nil, false
	}
	kind := r.number(1)
	if kind == 4 {
		r.bytes(r.number(2))
	}
	if kind != 3 && kind != 4 {
		return owner, nil, false
	}
	owner, _ = r.principal()
	for len(r.b) > 0 && !r.short {
		tickets = append(tickets, r.ticket(kind == 3))
	}
	return owner, tickets, !r.short
}

// cacheReader reads numbers and what they count; short says that there was less than announced.
type cacheReader struct {
	b     []byte
	short bool
}

func (r *cacheReader) bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.short, r.b = true, nil
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *cacheReader) number(size int) int {
	var b [8]byte
	copy(b[8-size:], r.bytes(size))
	return int(binary.BigEndian.Uint64(b[:])) //nolint:gosec // four bytes at most
}

func (r *cacheReader) data() []byte { return r.bytes(r.number(4)) }

func (r *cacheReader) principal() (types.PrincipalName, string) {
	name := types.PrincipalName{NameType: int32(r.number(4))} //nolint:gosec // four bytes
	n := r.number(4)
	realm := string(r.data())
	for ; n > 0 && !r.short; n-- {
		name.NameString = append(name.NameString, string(r.data()))
	}
	return name, realm
}

func (r *cacheReader) ticket(twice bool) *ticket {
	var t ticket
	t.client, t.crealm = r.principal()
	t.service, t.realm = r.principal()
	t.key.KeyType = int32(r.number(2)) //nolint:gosec // two bytes
	if twice {
		r.number(2)
	}
	t.key.KeyValue = r.data()
	auth, begin, end, renew := r.number(4), r.number(4), r.number(4), r.number(4)
	r.number(1)
	flags := r.number(4)
	for range 2 { // addresses, authorization data
		for n := r.number(4); n > 0 && !r.short; n-- {
			r.number(2)
			r.data()
		}
	}
	t.raw = r.data()
	r.data()
	t.begin, t.end = time.Unix(int64(cmp.Or(begin, auth)), 0), time.Unix(int64(end), 0)
	if flags&(1<<(31-optRenewable)) != 0 {
		t.renew = time.Unix(int64(renew), 0)
	}
	return &t
}
