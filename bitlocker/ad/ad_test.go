package ad

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/directory/dclab"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/simfleet"
)

var lab = &dclab.Lab{}

func TestMain(m *testing.M) { os.Exit(dclab.Run(m, lab)) }

// counted counts searches, each of which is one round trip here: all answers fit on one page.
type counted struct {
	Conn
	searches *int
}

func (c counted) Search(ctx context.Context, q directory.Query, emit func(*directory.Entry) error) (directory.Summary, error) {
	*c.searches++
	sum, err := c.Conn.Search(ctx, q, emit)
	if sum.Pages > 1 {
		*c.searches += sum.Pages - 1
	}
	return sum, err
}

// open makes a source whose round trips are counted.
func open(t *testing.T, o Options) (*Source, *int) {
	t.Helper()
	s, n := New(o), new(int)
	dial := s.dial
	s.dial = func(ctx context.Context) (Conn, error) {
		c, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		return counted{c, n}, nil
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, n
}

func samba(t *testing.T, user, password string) Options {
	return Options{Directory: lab.Config(t, directory.SimpleLDAPS, user, password)}
}

func collect(t *testing.T, s *Source, since time.Time) ([]bitlocker.KeyRef, error) {
	t.Helper()
	var refs []bitlocker.KeyRef
	err := s.Keys(t.Context(), since, func(r bitlocker.KeyRef) error { refs = append(refs, r); return nil })
	return refs, err
}

const keysInLab = 510

func TestSambaThreeRights(t *testing.T) {
	lab.Need(t)
	reader, trips := open(t, samba(t, "bitread@fleet.test", "Passw0rd!Bit"))
	refs, err := collect(t, reader, time.Time{})
	if err != nil || len(refs) != keysInLab {
		t.Fatalf("reader: %d keys, %v", len(refs), err)
	}
	ids, perMachine := map[bitlocker.KeyID]bool{}, map[string]int{}
	for _, r := range refs {
		ids[r.ID] = true
		perMachine[r.Machine.Name]++
		if r.Created.IsZero() || r.VolumeID == "" || r.SourceKey == "" || r.Source != "ad:fleet.test" || len(r.Machine.GUID) != 36 || !strings.HasSuffix(r.Machine.DN, "OU=Fleet,DC=fleet,DC=test") {
			t.Fatalf("reference %+v", r)
		}
	}
	if len(ids) != keysInLab || perMachine["HQ-01"] != 2 || perMachine["WS00042"] != 1 || len(perMachine) != 505 {
		t.Errorf("%d different keys on %d machines, %d of HQ-01", len(ids), len(perMachine), perMachine["HQ-01"])
	}
	if _, err := reader.Password(t.Context(), refs[17]); err != nil {
		t.Errorf("reader: %v", err)
	}
	*trips = 0
	short, err := bitlocker.ParsePrefix(refs[99].ID.Short())
	if err != nil {
		t.Fatal(err)
	}
	found, err := reader.Find(t.Context(), short, "")
	if err != nil || len(found) != 1 || found[0].ID != refs[99].ID || found[0].Machine.Name != refs[99].Machine.Name || found[0].Machine.GUID != refs[99].Machine.GUID || *trips != 2 {
		t.Errorf("find by 8 digits: %+v, %v, %d round trips", found, err, *trips)
	}

	lister, _ := open(t, samba(t, "bitlist@fleet.test", "Passw0rd!List"))
	if listed, err := collect(t, lister, time.Time{}); err != nil || len(listed) != keysInLab {
		t.Errorf("lister: %d keys, %v", len(listed), err)
	}
	if _, err := lister.Password(t.Context(), refs[17]); !errors.Is(err, bitlocker.ErrReadDenied) || len(hint.Of(err)) == 0 {
		t.Errorf("lister reads: %v", err)
	}

	helpdesk, _ := open(t, samba(t, "helpdesk@fleet.test", "Passw0rd!Help"))
	if listed, err := collect(t, helpdesk, time.Time{}); !errors.Is(err, bitlocker.ErrListDenied) || len(listed) != 0 || len(hint.Of(err)) == 0 {
		t.Errorf("helpdesk: %d keys, %v", len(listed), err)
	}
	if _, err := helpdesk.Password(t.Context(), refs[17]); !errors.Is(err, bitlocker.ErrListDenied) {
		t.Errorf("helpdesk reads: %v", err)
	}
	if _, err := helpdesk.Find(t.Context(), short, ""); !errors.Is(err, bitlocker.ErrListDenied) {
		t.Errorf("helpdesk finds: %v", err)
	}
	unknown, _ := bitlocker.ParsePrefix("00000000")
	if _, err := reader.Find(t.Context(), unknown, ""); !errors.Is(err, bitlocker.ErrNotStored) {
		t.Errorf("reader finds an unknown key: %v", err)
	}
}

// ldb changes the laboratory's database as its administrator.
func ldb(t *testing.T, program, ldif string, args ...string) {
	t.Helper()
	args = append([]string{"-H", filepath.Join(lab.Dir, "private", "sam.ldb"), "--configfile=" + filepath.Join(lab.Dir, "smb.conf")}, args...)
	if ldif != "" {
		path := filepath.Join(t.TempDir(), "change.ldif")
		if err := os.WriteFile(path, []byte(ldif), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", program, err, out)
	}
}

func TestSambaScopesAndCursor(t *testing.T) {
	lab.Need(t)
	o := samba(t, "bitread@fleet.test", "Passw0rd!Bit")
	o.Bases = []string{"OU=HQ,OU=Fleet," + dclab.BaseDN}
	hq, _ := open(t, o)
	if refs, err := collect(t, hq, time.Time{}); err != nil || len(refs) != 10 {
		t.Errorf("one OU: %d keys, %v", len(refs), err)
	}
	o.Bases = append(o.Bases, "OU=Fleet,"+dclab.BaseDN)
	both, _ := open(t, o)
	if refs, err := collect(t, both, time.Time{}); err != nil || len(refs) != keysInLab {
		t.Errorf("overlapping OUs: %d keys, %v", len(refs), err)
	}
	if refs, err := collect(t, both, time.Now().Add(-time.Hour)); err != nil || len(refs) != keysInLab {
		t.Errorf("since an hour: %d keys, %v", len(refs), err)
	}
	if refs, err := collect(t, both, time.Now().Add(48*time.Hour)); err != nil || len(refs) != 0 {
		t.Errorf("since tomorrow: %d keys, %v (nothing new is no missing right)", len(refs), err)
	}
	o.Bases = []string{"OU=Nowhere," + dclab.BaseDN}
	nowhere, _ := open(t, o)
	if _, err := collect(t, nowhere, time.Time{}); directory.KindOf(err) != directory.NoSuchBase {
		t.Errorf("an OU that is not there: %v", err)
	}
}

func TestSambaDeletedComputer(t *testing.T) {
	lab.Need(t)
	o := samba(t, dclab.Admin, dclab.AdminPW)
	admin, _ := open(t, o)
	dn := "CN=GONE-1,OU=Bulk,OU=Fleet," + dclab.BaseDN
	const guid, password = "e1c63bf7-3dbe-46ea-8b6c-2a9c4b7b0d11", "000011-000022-000033-000044-000055-000066-000077-000088"
	id, err := bitlocker.ParseKeyID(guid)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := id.GUID()
	ldif := fmt.Sprintf("dn: %s\nobjectClass: computer\nsAMAccountName: GONE-1$\n\ndn: CN=2024-01-01T00:00:00-00:00{%s},%s\nobjectClass: msFVE-RecoveryInformation\n"+
		"msFVE-RecoveryPassword: %s\nmsFVE-RecoveryGuid:: %s\n\n", dn, id, dn, password, base64.StdEncoding.EncodeToString(raw[:]))
	ldb(t, "ldbadd", ldif)
	prefix := id.Prefix()
	if found, err := admin.Find(t.Context(), prefix, ""); err != nil || len(found) != 1 || found[0].Deleted {
		t.Fatalf("before: %+v, %v", found, err)
	}
	ldb(t, "ldbdel", "", "-r", dn)
	if _, err := admin.Find(t.Context(), prefix, ""); !errors.Is(err, bitlocker.ErrNotStored) || len(hint.Of(err)) == 0 {
		t.Errorf("without the flag: %v", err)
	}
	o.Deleted = true
	digger, trips := open(t, o)
	short, _ := bitlocker.ParsePrefix(id.Short())
	found, err := digger.Find(t.Context(), short, "")
	if err != nil || len(found) != 1 || !found[0].Deleted || found[0].Machine.Name != "GONE-1" || *trips != 2 {
		t.Fatalf("with the flag: %+v, %v, %d round trips", found, err, *trips)
	}
	if p, err := digger.Password(t.Context(), found[0]); err != nil || p.Reveal() != password {
		t.Errorf("password of a deleted computer: %v", err)
	}
	refs, err := collect(t, digger, time.Time{})
	deleted := 0
	for _, r := range refs {
		if r.Deleted {
			deleted++
		}
	}
	if err != nil || len(refs) != keysInLab+1 || deleted != 1 {
		t.Errorf("listing: %d keys, %d deleted, %v", len(refs), deleted, err)
	}
	o.Bases = []string{"OU=HQ,OU=Fleet," + dclab.BaseDN}
	scoped, _ := open(t, o)
	if refs, err := collect(t, scoped, time.Time{}); err != nil || len(refs) != 11 {
		t.Errorf("one OU and the deleted objects: %d keys, %v", len(refs), err)
	}
}

// TestFleet reads the simulated fleet's directory with each of its accounts.
func TestFleet(t *testing.T) {
	f, err := simfleet.New(simfleet.Options{Machines: 150, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	as := func(user string) Options {
		password, err := f.DirectoryPassword(user)
		if err != nil {
			t.Fatal(err)
		}
		return Options{Directory: directory.Config{Domain: "fleet.test", DCs: []directory.DC{{Host: "localhost", Address: f.LDAPS()}}, Method: directory.SimpleLDAPS, RootCAs: f.CA(),
			Credential: directory.Credential{User: user + "@fleet.test", Password: password}}}
	}
	user, _, _ := f.Account()
	reader, trips := open(t, as(user))
	refs, err := collect(t, reader, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[bitlocker.KeyID]secret.String{}
	machines := map[bitlocker.KeyID]string{}
	for _, m := range f.Machines() {
		keys, err := f.RecoveryKeys(m.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			want[bitlocker.KeyID(k.ID)], machines[bitlocker.KeyID(k.ID)] = k.Password, m.Name
		}
	}
	if len(refs) != len(want) {
		t.Errorf("%d keys, want %d", len(refs), len(want))
	}
	for i, r := range refs {
		if machines[r.ID] != r.Machine.Name {
			t.Fatalf("key %+v belongs to %q", r, machines[r.ID])
		}
		if i%40 != 0 {
			continue
		}
		if p, err := reader.Password(t.Context(), r); err != nil || p.Reveal() != want[r.ID].Reveal() {
			t.Errorf("%s: %v", r.Machine.Name, err)
		}
		for digits := 8; digits <= 32; digits++ {
			prefix, err := bitlocker.ParsePrefix(strings.ReplaceAll(string(r.ID), "-", "")[:digits])
			if err != nil {
				t.Fatal(err)
			}
			*trips = 0
			if found, err := reader.Find(t.Context(), prefix, ""); err != nil || len(found) != 1 || found[0].ID != r.ID || *trips != 2 {
				t.Fatalf("%d digits: %+v, %v, %d round trips", digits, found, err, *trips)
			}
		}
	}
	lister, _ := open(t, as(simfleet.Lister))
	if listed, err := collect(t, lister, time.Time{}); err != nil || len(listed) != len(want) {
		t.Errorf("lister: %d keys, %v", len(listed), err)
	}
	if _, err := lister.Password(t.Context(), refs[0]); !errors.Is(err, bitlocker.ErrReadDenied) {
		t.Errorf("lister reads: %v", err)
	}
	for _, account := range []string{simfleet.HelpDesk, simfleet.Newcomer} {
		s, _ := open(t, as(account))
		if listed, err := collect(t, s, time.Time{}); !errors.Is(err, bitlocker.ErrListDenied) || len(listed) != 0 {
			t.Errorf("%s: %d keys, %v", account, len(listed), err)
		}
	}
	expired, _ := open(t, as(simfleet.Forgetful))
	if _, err := collect(t, expired, time.Time{}); directory.KindOf(err) != directory.PasswordExpired {
		t.Errorf("an expired password: %v", err)
	}
}

// fake answers from memory, or fails.
type fake struct {
	entries []*directory.Entry
	errs    []error
	queries []directory.Query
	closed  int
}

func (f *fake) Search(_ context.Context, q directory.Query, emit func(*directory.Entry) error) (directory.Summary, error) {
	f.queries = append(f.queries, q)
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		if err != nil {
			return directory.Summary{}, err
		}
	}
	for _, e := range f.entries {
		if err := emit(e); err != nil {
			return directory.Summary{}, err
		}
	}
	return directory.Summary{Entries: len(f.entries)}, nil
}

func (f *fake) Close() error { f.closed++; return nil }

func faked(f *fake) (*Source, *int) {
	s, dials := New(Options{Directory: directory.Config{Domain: "corp.example"}}), new(int)
	s.dial = func(context.Context) (Conn, error) { *dials++; return f, nil }
	return s, dials
}

func TestDeadConnectionIsReplacedOnce(t *testing.T) {
	password := map[string][]string{attrSecret: {"000011-000022-000033-000044-000055-000066-000077-000088"}}
	f := &fake{entries: []*directory.Entry{directory.NewEntry("CN=x", password)}}
	s, dials := faked(f)
	ref := bitlocker.KeyRef{SourceKey: "e1c63bf7-3dbe-46ea-8b6c-2a9c4b7b0d11"}
	if _, err := s.Password(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	f.errs = []error{errors.New("connection reset")}
	if _, err := s.Password(t.Context(), ref); err != nil || *dials != 2 || f.closed != 1 {
		t.Errorf("%v, %d dials, %d closed", err, *dials, f.closed)
	}
	f.errs = []error{errors.New("connection reset"), errors.New("connection reset")}
	if _, err := s.Password(t.Context(), ref); err == nil || *dials != 3 {
		t.Errorf("%v, %d dials", err, *dials)
	}
}

func TestWrongPasswordInDirectory(t *testing.T) {
	f := &fake{entries: []*directory.Entry{directory.NewEntry("CN=x", map[string][]string{attrSecret: {"000011-000022-000033-000044-000055-000066-000077-000089"}})}}
	s, _ := faked(f)
	_, err := s.Password(t.Context(), bitlocker.KeyRef{SourceKey: "e1c63bf7-3dbe-46ea-8b6c-2a9c4b7b0d11"})
	var wrong *bitlocker.PasswordError
	if !errors.As(err, &wrong) || len(wrong.Groups) != 1 || wrong.Groups[0].Group != 8 || strings.Contains(err.Error(), "000089") {
		t.Errorf("%v", err)
	}
}

func TestListingNeverAsksForPasswords(t *testing.T) {
	guid, _ := bitlocker.KeyID("4C4B6D8A-1F2E-4D3C-9B8A-0123456789AB").GUID()
	const named = `CN=2024-01-01T00:00:00\+02:00{4C4B6D8A-1F2E-4D3C-9B8A-0123456789AC},CN=PC2,DC=x`
	f := &fake{entries: []*directory.Entry{
		directory.NewEntry(`CN=2024-01-01T00:00:00\+02:00{4C4B6D8A-1F2E-4D3C-9B8A-0123456789AB},CN=PC\, old,OU=A,DC=x`, map[string][]string{
			attrID: {string(guid[:])}, "objectGUID": {string(guid[:])}, "whenCreated": {"20240101000000.0Z"}}),
		directory.NewEntry(named, map[string][]string{attrID: {"System.Byte[]"}, "objectGUID": {"0123456789abcdef"}}),
		directory.NewEntry("CN=broken,CN=PC,DC=x", map[string][]string{attrID: {"short"}, "objectGUID": {"0123456789abcdex"}}),
		directory.NewEntry("CN=hidden,CN=PC,DC=x", map[string][]string{attrID: {string(guid[:])}}),
	}}
	s, _ := faked(f)
	var warned []string
	s.options.Warn = func(text string) { warned = append(warned, text) }
	refs, err := collect(t, s, time.Time{})
	if err != nil || len(refs) != 2 || refs[0].Machine.DN != `CN=PC\, old,OU=A,DC=x` || refs[0].Machine.Name != `PC\, OLD` || refs[1].ID != "4C4B6D8A-1F2E-4D3C-9B8A-0123456789AC" {
		t.Errorf("%+v, %v", refs, err)
	}
	for i, want := range []string{named + ": its key ID is malformed; the one in its name was taken", "CN=broken,CN=PC,DC=x: its key ID has 5 bytes", "CN=hidden,CN=PC,DC=x: its objectGUID cannot be read"} {
		if i >= len(warned) || !strings.Contains(warned[i], want) {
			t.Errorf("remark %d is not %q: %q", i, want, warned)
		}
	}
	for _, q := range f.queries {
		for _, a := range q.Attributes {
			if a == attrSecret || a == "*" || strings.Contains(a, "KeyPackage") {
				t.Errorf("the listing asks for %s", a)
			}
		}
	}
}

func TestGUIDFilter(t *testing.T) {
	for digits, want := range map[int]string{
		8: `(msFVE-RecoveryGuid=\8a\6d\4b\4c*)`, 11: `(msFVE-RecoveryGuid=\8a\6d\4b\4c*)`, 12: `(msFVE-RecoveryGuid=\8a\6d\4b\4c\2e\1f*)`,
		16: `(msFVE-RecoveryGuid=\8a\6d\4b\4c\2e\1f\3c\4d*)`, 19: `(msFVE-RecoveryGuid=\8a\6d\4b\4c\2e\1f\3c\4d\9b*)`,
		32: `(msFVE-RecoveryGuid=\8a\6d\4b\4c\2e\1f\3c\4d\9b\8a\01\23\45\67\89\ab)`,
	} {
		prefix, err := bitlocker.ParsePrefix("4C4B6D8A1F2E4D3C9B8A0123456789AB"[:digits])
		if err != nil {
			t.Fatal(err)
		}
		if got, err := guidFilter(prefix); err != nil || got != want {
			t.Errorf("%d digits: %s, %v", digits, got, err)
		}
	}
	if _, err := guidFilter("4C4B"); err == nil {
		t.Error("4 digits were taken")
	}
}
