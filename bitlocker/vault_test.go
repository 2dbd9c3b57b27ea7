package bitlocker_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/bitlocker/coverage"
	"github.com/fleetmend/fleetmend/bitlocker/csv"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
)

const passphrase = "correct horse battery"

type memoryKeyring map[string]string

func (m memoryKeyring) Get(service, account string) (string, error) {
	if v, ok := m[service+account]; ok {
		return v, nil
	}
	return "", errors.New("not in the keyring")
}
func (m memoryKeyring) Set(service, account, value string) error {
	m[service+account] = value
	return nil
}

// fakeSource gives what a test puts into it.
type fakeSource struct {
	mu        sync.Mutex
	refs      []bitlocker.KeyRef
	passwords map[bitlocker.KeyID]string
	denied    map[bitlocker.KeyID]bool
	since     time.Time
}

func (f *fakeSource) Name() string { return "ad:fleet.test" }
func (f *fakeSource) Keys(_ context.Context, since time.Time, emit func(bitlocker.KeyRef) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.since = since
	for _, r := range f.refs {
		if r.Created.Before(since) {
			continue
		}
		if err := emit(r); err != nil {
			return err
		}
	}
	return nil
}
func (f *fakeSource) Password(_ context.Context, ref bitlocker.KeyRef) (bitlocker.Password, error) {
	if f.denied[ref.ID] {
		return bitlocker.Password{}, fmt.Errorf("ask the DC: %w", bitlocker.ErrReadDenied)
	}
	s, ok := f.passwords[ref.ID]
	if !ok {
		return bitlocker.Password{}, bitlocker.ErrNotStored
	}
	return bitlocker.ParsePassword(s)
}

type desk struct {
	*bitlocker.Vault
	log  *audit.Log
	dir  string
	ring memoryKeyring
}

func openDesk(t testing.TB, dir string) *desk {
	t.Helper()
	log, err := audit.Open(t.Context(), filepath.Join(dir, "audit.db"), audit.Operator{OSUser: "ops"})
	if err != nil {
		t.Fatal(err)
	}
	ring := memoryKeyring{}
	v, err := bitlocker.OpenVault(t.Context(), filepath.Join(dir, "keys.db"), bitlocker.Options{Audit: log, Keyring: ring, Work: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close(); log.Close() })
	return &desk{v, log, dir, ring}
}

func id(n int) bitlocker.KeyID {
	return bitlocker.KeyID(fmt.Sprintf("%08X-0000-4000-8000-%012X", uint32(n)*2654435761, n))
}

func ref(n int) bitlocker.KeyRef {
	name := fmt.Sprintf("PC-%05d", n)
	return bitlocker.KeyRef{ID: id(n), SourceKey: "CN=" + string(id(n)), Created: time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC), Volume: bitlocker.VolumeOS,
		Machine: bitlocker.Machine{Name: name, FQDN: name + ".fleet.test", Serial: fmt.Sprintf("SN%05d", n), DN: "CN=" + name + ",OU=LON,DC=fleet,DC=test"}}
}

func password(n int) bitlocker.Password {
	var numbers [8]uint16
	for i := range numbers {
		numbers[i] = uint16(n*977 + i*4241 + 12345)
	}
	return bitlocker.PasswordFromNumbers(numbers)
}

func source(n int) *fakeSource {
	f := &fakeSource{passwords: map[bitlocker.KeyID]string{}, denied: map[bitlocker.KeyID]bool{}}
	for i := range n {
		f.refs = append(f.refs, ref(i))
		f.passwords[id(i)] = password(i).Reveal()
	}
	return f
}

func TestSyncFlagsAndNeverRemoves(t *testing.T) {
	d, src := openDesk(t, t.TempDir()), source(20)
	r, err := d.Sync(t.Context(), src, false)
	if err != nil || !r.Full || r.Added != 20 || r.Gone != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	src.refs[3].Machine.FQDN = "\x1b[31mrenamed.fleet.test"
	src.refs = append(src.refs[:5], src.refs[6:]...)
	if r, err = d.Sync(t.Context(), src, true); err != nil || r.Changed != 1 || r.Gone != 1 || r.Added != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := d.Find(t.Context(), bitlocker.Query{Host: "[31mrenamed.fleet.test"}); err != nil {
		t.Errorf("a control character was kept: %v", err)
	}
	found, err := d.Find(t.Context(), bitlocker.Query{KeyID: id(5).Prefix()})
	if err != nil || len(found.Matches) != 1 || !found.Matches[0].Deleted {
		t.Fatalf("%+v, %v", found, err)
	}
	if r, err = d.Sync(t.Context(), src, false); err != nil || r.Full || r.Read != 0 || src.since.IsZero() || time.Since(src.since) > 2*time.Hour {
		t.Fatalf("%+v since %v, %v", r, src.since, err)
	}
	src.refs = nil
	if _, err = d.Sync(t.Context(), src, true); !errors.Is(err, bitlocker.ErrListDenied) {
		t.Fatalf("an empty list: %v", err)
	}
	if found, err = d.Find(t.Context(), bitlocker.Query{Host: "PC-000*"}); err != nil || len(found.Matches) != 20 {
		t.Fatalf("%d, %v", len(found.Matches), err)
	}
}

func TestFind(t *testing.T) {
	d, src := openDesk(t, t.TempDir()), source(0)
	twin := ref(7)
	twin.ID, twin.SourceKey, twin.Created = id(7)[:35]+"F", "twin", twin.Created.Add(time.Hour)
	twin.Machine = bitlocker.Machine{Name: "OTHER", FQDN: "other.fleet.test"}
	src.refs = append([]bitlocker.KeyRef{twin}, source(10).refs...)
	if _, err := d.Find(t.Context(), bitlocker.Query{Host: "x"}); !errors.Is(err, bitlocker.ErrNotStored) || !strings.Contains(err.Error(), "no source of keys was read yet") {
		t.Fatal(err)
	}
	if _, err := d.Sync(t.Context(), src, true); err != nil {
		t.Fatal(err)
	}
	short, err := bitlocker.ParsePrefix(strings.ToLower(id(7).Short()))
	if err != nil {
		t.Fatal(err)
	}
	found, err := d.Find(t.Context(), bitlocker.Query{KeyID: short})
	if err != nil || len(found.Matches) != 2 || !found.Collision(short) || len(found.Machines()) != 2 || found.Matches[0].Machine.Name != "OTHER" {
		t.Fatalf("%+v, %v", found, err)
	}
	for text, want := range map[string]int{
		"pc-00003": 1, "PC-00003.fleet.test": 1, "PC-0000*": 10, "pc-00003.FLEET.test.": 1, "sn00004": 1, "SN0000*": 11, string(id(2)): 1, "PC-00003$": 1,
	} {
		found, err := d.Find(t.Context(), bitlocker.ParseQuery(text))
		want -= strings.Count(text, "SN0000*") // the twin has no serial number
		if err != nil || len(found.Matches) != want {
			t.Errorf("%q: %d, %v", text, len(found.Matches), err)
		}
	}
	// The inventory knows which machines a user has.
	found, err = d.Find(t.Context(), bitlocker.Query{Machines: []bitlocker.Machine{{Name: "pc-00001"}, {Name: "PC-00002", FQDN: "pc-00002.elsewhere.test"}, {DN: "cn=pc-00003,ou=lon,dc=fleet,dc=test"}}})
	if err != nil || len(found.Matches) != 2 || found.Matches[0].Machine.Name != "PC-00003" {
		t.Errorf("%+v, %v", found.Matches, err)
	}
	if _, err := d.Find(t.Context(), bitlocker.ParseQuery("DEADBEEF")); !errors.Is(err, bitlocker.ErrNotStored) || !strings.Contains(err.Error(), "ad:fleet.test (11 keys, read 20") {
		t.Errorf("%v", err)
	}
}

// A site has more machines than a statement takes terms.
func TestFindManyMachines(t *testing.T) {
	d := openDesk(t, t.TempDir())
	if _, err := d.Sync(t.Context(), source(1000), true); err != nil {
		t.Fatal(err)
	}
	var machines []bitlocker.Machine
	for n := range 800 {
		m := ref(n).Machine
		m.DeviceID = fmt.Sprint(n)
		machines = append(machines, m)
	}
	found, err := d.Find(t.Context(), bitlocker.Query{Machines: machines, KeyID: id(900).Prefix()})
	if err != nil || len(found.Matches) != 801 || found.Matches[0].ID != id(900) || found.Matches[800].ID != id(0) {
		t.Fatalf("%d, %v", len(found.Matches), err)
	}
	if _, err := d.Find(t.Context(), bitlocker.Query{}); err == nil || errors.Is(err, bitlocker.ErrNotStored) {
		t.Fatalf("nothing was asked for: %v", err)
	}
}

func TestLocks(t *testing.T) {
	d := openDesk(t, t.TempDir())
	if err := d.Put(t.Context()); !errors.Is(err, bitlocker.ErrLocked) || len(hint.Of(err)) == 0 || !strings.Contains(hint.Of(err)[0], "unlock it with") {
		t.Fatalf("%v, %v", err, hint.Of(err))
	}
	if err := d.ProtectWithPassphrase(t.Context(), secret.New("short")); err == nil {
		t.Fatal("a short passphrase was taken")
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.ProtectWithPassphrase(t.Context(), secret.New(passphrase)), d.ProtectWithRecipients(t.Context(), "safe", identity.Recipient()), d.ProtectWithKeyring(t.Context())); err != nil {
		t.Fatal(err)
	}
	key := bitlocker.RecoveryKey{KeyRef: ref(1), Password: password(1)}
	key.Source = "ad:fleet.test"
	if err := d.Put(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := d.ProtectWithPassphrase(t.Context(), secret.New("another passphrase")); err != nil {
		t.Fatal(err)
	}
	d.Lock()
	if _, err := d.Reveal(t.Context(), key.ID, "ticket 1"); !errors.Is(err, bitlocker.ErrLocked) {
		t.Fatal(err)
	}
	if err := d.ProtectWithKeyring(t.Context()); !errors.Is(err, bitlocker.ErrLocked) {
		t.Fatal(err)
	}
	err = d.UnlockWithPassphrase(t.Context(), secret.New(passphrase))
	if !errors.Is(err, bitlocker.ErrWrongKey) || strings.Contains(err.Error(), "PC-") {
		t.Fatalf("the old passphrase: %v", err)
	}
	other, _ := age.GenerateX25519Identity()
	if err := d.UnlockWithIdentities(t.Context(), other); !errors.Is(err, bitlocker.ErrWrongKey) {
		t.Fatal(err)
	}
	for name, unlock := range map[string]func() error{
		"passphrase": func() error { return d.UnlockWithPassphrase(t.Context(), secret.New("another passphrase")) },
		"identity":   func() error { return d.UnlockWithIdentities(t.Context(), other, identity) },
		"keyring":    func() error { return d.UnlockWithKeyring(t.Context()) },
	} {
		d.Lock()
		if err := unlock(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if k, err := d.Reveal(t.Context(), key.ID, "ticket 1"); err != nil || !k.Password.Equal(key.Password) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	s, err := d.Status(t.Context())
	if err != nil || len(s.Slots) != 3 || s.Passwords != 1 || !s.Unlocked {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := errors.Join(d.RemoveSlot(t.Context(), s.Slots[0].ID), d.RemoveSlot(t.Context(), s.Slots[1].ID)); err != nil {
		t.Fatal(err)
	}
	if err := d.RemoveSlot(t.Context(), s.Slots[2].ID); err == nil || !strings.Contains(err.Error(), "last one") {
		t.Fatal(err)
	}
}

func unlocked(t testing.TB, n int) (*desk, *fakeSource) {
	t.Helper()
	d, src := openDesk(t, t.TempDir()), source(n)
	if err := d.ProtectWithPassphrase(t.Context(), secret.New(passphrase)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Sync(t.Context(), src, true); err != nil {
		t.Fatal(err)
	}
	return d, src
}

func refsOf(t *testing.T, d *desk) (refs []bitlocker.KeyRef) {
	t.Helper()
	if err := d.All(t.Context(), func(m bitlocker.Match) error { refs = append(refs, m.KeyRef); return nil }); err != nil {
		t.Fatal(err)
	}
	return refs
}

func TestFetchAndReveal(t *testing.T) {
	d, src := unlocked(t, 5)
	src.denied[id(1)] = true
	delete(src.passwords, id(2))
	src.passwords[id(3)] = "111111-222222-333343-444444-555555-666666-000000-720885"
	r, err := d.Fetch(t.Context(), src, "drill", refsOf(t, d)...)
	if err != nil || r.Sealed != 2 || r.Denied != 1 || r.Missing != 1 || r.Invalid != 1 || len(r.Failed) != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	for n, want := range map[int]error{1: bitlocker.ErrReadDenied, 2: bitlocker.ErrNotStored, 3: bitlocker.ErrNotHeld} {
		if _, err := d.Reveal(t.Context(), id(n), "ticket"); !errors.Is(err, want) {
			t.Errorf("key %d: %v", n, err)
		}
	}
	if _, err := d.Reveal(t.Context(), id(3), "ticket"); !strings.Contains(err.Error(), "group 3 is mistyped") {
		t.Errorf("%v", err)
	}
	if _, err := d.Reveal(t.Context(), id(0), "  "); err == nil || !strings.Contains(err.Error(), "a reason is needed") {
		t.Errorf("%v", err)
	}
	before, _ := d.log.Head(t.Context())
	k, err := d.Reveal(t.Context(), id(0), "ticket 9")
	if err != nil || !k.Password.Equal(password(0)) {
		t.Fatal(err)
	}
	entries, err := d.log.List(t.Context(), audit.Filter{Action: audit.Reveal})
	if err != nil || len(entries) != 1 || entries[0].Seq != before.Seq+1 || entries[0].Machine != "pc-00000.fleet.test" || entries[0].Reason != "ticket 9" {
		t.Fatalf("%+v, %v", entries, err)
	}
	// Without an audit nothing is given.
	d.log.Close()
	if _, err := d.Reveal(t.Context(), id(0), "ticket 9"); err == nil {
		t.Fatal("revealed without audit")
	}
}

func TestRevealFromSource(t *testing.T) {
	d, src := unlocked(t, 2)
	d.Lock()
	src.denied[id(1)] = true
	k, err := d.RevealFrom(t.Context(), src, refsOf(t, d)[0], "ticket")
	if err != nil || !k.Password.Equal(password(0)) {
		t.Fatal(err)
	}
	if _, err := d.RevealFrom(t.Context(), src, refsOf(t, d)[1], "ticket"); !errors.Is(err, bitlocker.ErrReadDenied) {
		t.Fatal(err)
	}
	entries, err := d.log.List(t.Context(), audit.Filter{Limit: 3})
	if err != nil || entries[0].Action != audit.Reveal || entries[1].Action != audit.Reveal || entries[2].Action != audit.Refused {
		t.Fatalf("%+v, %v", entries, err)
	}
}

func TestAmbiguous(t *testing.T) {
	d, src := unlocked(t, 1)
	if _, err := d.Fetch(t.Context(), src, "drill", refsOf(t, d)...); err != nil {
		t.Fatal(err)
	}
	other := ref(0)
	other.Source, other.SourceKey = "csv:keys.csv", "line 2"
	if err := d.Put(t.Context(), bitlocker.RecoveryKey{KeyRef: other, Password: password(99)}); err != nil {
		t.Fatal(err)
	}
	var ambiguous *bitlocker.AmbiguousError
	if _, err := d.Reveal(t.Context(), id(0), "ticket"); !errors.As(err, &ambiguous) || len(ambiguous.Refs) != 2 {
		t.Fatal(err)
	}
	if k, err := d.RevealAll(t.Context(), audit.Reveal, "ticket", other); err != nil || !k[0].Password.Equal(password(99)) {
		t.Fatal(err)
	}
}

// A sealed password that is moved to another reference does not open.
func TestSealedIsBound(t *testing.T) {
	d, src := unlocked(t, 2)
	if _, err := d.Fetch(t.Context(), src, "drill", refsOf(t, d)...); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(d.dir, "keys.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("UPDATE passwords SET sealed = (SELECT sealed FROM passwords WHERE ref = 2) WHERE ref = 1"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Reveal(t.Context(), id(0), "ticket"); err == nil || !strings.Contains(err.Error(), "damaged or belongs to another key") {
		t.Fatal(err)
	}
}

func TestSnapshot(t *testing.T) {
	d, src := unlocked(t, 30)
	if _, err := d.Fetch(t.Context(), src, "drill", refsOf(t, d)[:20]...); err != nil {
		t.Fatal(err)
	}
	r, err := d.SnapshotPassphrase(secret.New("for the safe"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(d.dir, "snapshot.age")
	report, err := d.ExportFile(t.Context(), path, "peacetime", r)
	if err != nil || report.Refs != 30 || report.Passwords != 20 {
		t.Fatalf("%+v, %v", report, err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := openDesk(t, t.TempDir())
	good, _ := age.NewScryptIdentity("for the safe")
	bad, _ := age.NewScryptIdentity("for the others")
	if _, err := to.Import(t.Context(), bytes.NewReader(file), "AD is down", good); !errors.Is(err, bitlocker.ErrLocked) {
		t.Fatal(err)
	}
	if err := to.ProtectWithPassphrase(t.Context(), secret.New(passphrase)); err != nil {
		t.Fatal(err)
	}
	if _, err := to.Import(t.Context(), bytes.NewReader(file), "AD is down", bad); !errors.Is(err, bitlocker.ErrWrongKey) {
		t.Fatal(err)
	}
	for _, cut := range []int{len(file) - 1, len(file) - 20, len(file) / 2, 200, 10, 0} {
		if _, err := to.Import(t.Context(), bytes.NewReader(file[:cut]), "AD is down", good); err == nil {
			t.Fatalf("cut at %d was taken", cut)
		}
	}
	flipped := bytes.Clone(file)
	flipped[len(flipped)-40] ^= 1
	if _, err := to.Import(t.Context(), bytes.NewReader(flipped), "AD is down", good); err == nil {
		t.Fatal("a changed file was taken")
	}
	if s, err := to.Status(t.Context()); err != nil || s.Refs != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	for range 2 {
		if got, err := to.Import(t.Context(), bytes.NewReader(file), "AD is down", good); err != nil || got.Refs != 30 || got.Passwords != 20 {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if k, err := to.Reveal(t.Context(), id(19), "ticket"); err != nil || !k.Password.Equal(password(19)) {
		t.Fatal(err)
	}
}

// The test binary runs itself as a process that stores keys and changes the passphrase until it is killed.
func TestKill(t *testing.T) {
	if dir := os.Getenv("FLEETMEND_TEST_KILL"); dir != "" {
		d := openDesk(t, dir)
		if err := d.UnlockWithPassphrase(t.Context(), secret.New(passphrase)); err != nil {
			t.Fatal(err)
		}
		fmt.Println("ready")
		for n := 0; ; n++ {
			var keys []bitlocker.RecoveryKey
			for i := range 50 {
				k := bitlocker.RecoveryKey{KeyRef: ref(n*50 + i), Password: password(n*50 + i)}
				k.Source = "csv:x"
				keys = append(keys, k)
			}
			if err := errors.Join(d.Put(t.Context(), keys...), d.ProtectWithPassphrase(t.Context(), secret.New(passphrase))); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := t.TempDir()
	d := openDesk(t, dir)
	if err := d.ProtectWithPassphrase(t.Context(), secret.New(passphrase)); err != nil {
		t.Fatal(err)
	}
	d.Close()
	for round := range 4 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "FLEETMEND_TEST_KILL="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(40+round*37) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		d := openDesk(t, dir)
		if err := d.UnlockWithPassphrase(t.Context(), secret.New(passphrase)); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		s, err := d.Status(t.Context())
		if err != nil || s.Refs != s.Passwords || s.Refs%50 != 0 || len(s.Slots) != 1 {
			t.Fatalf("round %d: %+v, %v", round, s, err)
		}
		if refs := refsOf(t, d); len(refs) > 0 {
			keys, err := d.RevealAll(t.Context(), audit.Export, "test", refs...)
			if err != nil || len(keys) != len(refs) {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		if _, err := d.log.Verify(t.Context()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		t.Logf("round %d: %d keys", round, s.Refs)
		d.Close()
		d.log.Close()
	}
}

// A planted password is looked for in every file, error, log and dump.
func TestPlantedPasswordIsNowhere(t *testing.T) {
	var raw [16]byte
	_, _ = rand.Read(raw[:])
	var numbers [8]uint16
	for i := range numbers {
		numbers[i] = binary.LittleEndian.Uint16(raw[2*i:]) | 0x4001
	}
	planted := bitlocker.PasswordFromNumbers(numbers)
	d, src := unlocked(t, 3)
	src.passwords[id(0)] = planted.Reveal()
	wrong := planted.Reveal()[:54] + string('0'+(planted.Reveal()[54]-'0'+1)%10)
	src.passwords[id(1)] = wrong // one digit off: refused, and not repeated
	var seen bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&seen, nil))
	refs := refsOf(t, d)
	r, err := d.Fetch(t.Context(), src, "drill", refs...)
	log.Info("fetched", "report", r, "err", err)
	fmt.Fprintf(&seen, "%+v %#v %v", r, r, r.Failed)
	_, err = d.RevealFrom(t.Context(), src, refs[1], "ticket")
	log.Info("refused", "err", err, "hints", hint.Of(err))
	k, err := d.Reveal(t.Context(), id(0), "ticket")
	if err != nil || !k.Password.Equal(planted) {
		t.Fatal(err)
	}
	fmt.Fprintf(&seen, "%v %+v %#v %s", k, k, &k, []any{k})
	log.Info("key", "k", k)
	rcp, err := d.SnapshotPassphrase(secret.New(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.ExportFile(t.Context(), filepath.Join(d.dir, "s.age"), "peacetime", rcp); err != nil {
		t.Fatal(err)
	}
	_, err = d.Find(t.Context(), bitlocker.ParseQuery(planted.Reveal())) // typed into the wrong field
	fmt.Fprintln(&seen, err)
	_, err = bitlocker.ParseKeyID(planted.Reveal())
	fmt.Fprintln(&seen, err)
	if err := errors.Join(d.log.ExportCSV(t.Context(), &seen, audit.Filter{}), d.log.ExportJSONL(t.Context(), &seen, audit.Filter{})); err != nil {
		t.Fatal(err)
	}
	_, table, err := csv.Read(strings.NewReader("Host,KeyID,RecoveryKey\nPC-1,"+string(id(7))+","+wrong+"\nPC-2,"+planted.Reveal()+",x\n"+wrong+"\n"), csv.Options{})
	fmt.Fprintf(&seen, "%+v %v", table, err)
	if len(table.BadRows) != 3 {
		t.Fatalf("%+v", table)
	}
	var matches []bitlocker.Match
	if err := d.All(t.Context(), func(m bitlocker.Match) error { matches = append(matches, m); return nil }); err != nil {
		t.Fatal(err)
	}
	cover := coverage.Build(time.Now(), []coverage.Machine{{Name: "PC-00000"}, {Name: "PC-00001"}}, matches)
	if err := errors.Join(cover.Text(&seen), cover.CSV(&seen), cover.HTML(&seen)); err != nil {
		t.Fatal(err)
	}
	if err := pprof.Lookup("goroutine").WriteTo(&seen, 2); err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.WalkDir(d.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		seen.Write(data)
		return err
	})
	if err != nil || files < 5 { // two databases, at least one WAL each or shared memory, head, snapshot
		t.Fatalf("%d files, %v", files, err)
	}
	groups := planted.Groups()
	var le [16]byte
	for i, n := range numbers {
		binary.LittleEndian.PutUint16(le[2*i:], n)
	}
	needles := [][]byte{[]byte(planted.Reveal()), []byte(planted.Digits()), le[:]}
	for i := range 7 {
		needles = append(needles, []byte(groups[i]+"-"+groups[i+1]), []byte(groups[i]+groups[i+1]), []byte(groups[i]+" "+groups[i+1]))
	}
	for _, n := range needles {
		if at := bytes.Index(seen.Bytes(), n); at >= 0 {
			t.Fatalf("a part of the planted password is in what was written: %q", seen.Bytes()[max(0, at-80):at+20])
		}
	}
	if !bytes.Contains(seen.Bytes(), []byte(k.ID)) {
		t.Fatal("the hunt looks at the wrong bytes: not even the key ID is there")
	}
}

func BenchmarkFind100k(b *testing.B) {
	d := openDesk(b, b.TempDir())
	if _, err := d.Sync(b.Context(), source(100_000), true); err != nil {
		b.Fatal(err)
	}
	for name, q := range map[string]bitlocker.Query{
		"key": {KeyID: bitlocker.Prefix(id(54321).Short())}, "host": {Host: "pc-54321"}, "host-prefix": {Host: "pc-5432*"}, "serial": {Serial: "sn54321"}, "typed": bitlocker.ParseQuery(id(54321).Short()),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := d.Find(b.Context(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSync20k(b *testing.B) {
	src := source(20_000)
	for b.Loop() {
		if _, err := openDesk(b, b.TempDir()).Sync(b.Context(), src, true); err != nil {
			b.Fatal(err)
		}
	}
}
