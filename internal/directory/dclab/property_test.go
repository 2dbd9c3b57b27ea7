package dclab_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/fleetmend/fleetmend/bitlocker"
	keys "github.com/fleetmend/fleetmend/bitlocker/ad"
	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/directory/dclab"
	"github.com/fleetmend/fleetmend/inventory"
	machines "github.com/fleetmend/fleetmend/inventory/ad"
)

var lab = &dclab.Lab{}

// The reader is an ordinary user to whom the listing and reading of keys below OU=Fleet was delegated, nothing else.
const reader, readerPW = "bitread@fleet.test", "Passw0rd!Bit"

// stateOf names, for a process that this test starts and kills, the folder that it synchronises.
const stateOf = "FLEETMEND_TEST_SYNC"

func TestMain(m *testing.M) {
	if dir := os.Getenv(stateOf); dir != "" {
		os.Exit(child(dir))
	}
	os.Exit(dclab.Run(m, lab))
}

// child is a sync in a process of its own.
func child(dir string) int {
	lab.Address, lab.Dir = os.Getenv(stateOf+"_ADDRESS"), os.Getenv(stateOf+"_LAB")
	config, err := lab.Reach(directory.SimpleLDAPS, reader, readerPW)
	if err == nil {
		_, err = synchronise(context.Background(), dir, config)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// stores are the files that a sync brings up to date.
type stores struct {
	inventory *inventory.Store
	vault     *bitlocker.Vault
	result    machines.Result
	report    inventory.ImportReport
	keys      bitlocker.SyncReport
}

func (s *stores) Close() error { return errors.Join(s.inventory.Close(), s.vault.Close()) }

func synchronise(ctx context.Context, dir string, config directory.Config) (*stores, error) {
	var s stores
	var err error
	if s.inventory, err = inventory.Open(ctx, filepath.Join(dir, "inventory.db")); err != nil {
		return nil, err
	}
	if s.vault, err = bitlocker.OpenVault(ctx, filepath.Join(dir, "keys.db"), bitlocker.Options{}); err != nil {
		return nil, errors.Join(err, s.inventory.Close())
	}
	source := machines.Source{Config: config}
	if s.result, s.report, err = source.Sync(ctx, s.inventory, false); err == nil {
		k := keys.New(keys.Options{Directory: config})
		s.keys, err = s.vault.Sync(ctx, k, false)
		err = errors.Join(err, k.Close())
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &s, nil
}

// rounds is how many times the directory changes and is read: a few as a test, FLEETMEND_ROUNDS as a proof.
func rounds(t *testing.T) int {
	text := os.Getenv("FLEETMEND_ROUNDS")
	if text == "" {
		return 15
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("FLEETMEND_ROUNDS=%q is no number of rounds", text)
	}
	return n
}

// TestSyncsMissNothing changes a real domain at random, in every way that leaves the changed machine's own numbers as they
// were, and compares inventory and vault with what ldapsearch shows the same ordinary user. Some syncs are killed before.
func TestSyncsMissNothing(t *testing.T) {
	lab.Need(t)
	if _, err := exec.LookPath("ldapsearch"); err != nil {
		t.Skip("no ldapsearch here (Debian: ldap-utils)")
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("FLEETMEND_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, seed)
	dir := t.TempDir()
	config := lab.Config(t, directory.SimpleLDAPS, reader, readerPW)
	killed, took := 0, 2*time.Second
	modes := map[string]int{}
	for round := range rounds(t) {
		if round > 0 {
			w.change(1 + w.rand.IntN(6))
		}
		if w.rand.IntN(3) == 0 && killSync(t, dir, time.Duration(w.rand.Int64N(int64(took)))) {
			killed++
		}
		began := time.Now()
		s, err := synchronise(t.Context(), dir, config)
		if err != nil {
			t.Fatalf("seed %d, round %d: %v\nafter %s", seed, round, err, w.done)
		}
		took = time.Since(began)
		modes[fmt.Sprintf("machines whole %t", s.result.Full)]++
		modes[fmt.Sprintf("keys whole %t", s.keys.Full)]++
		want := look(t)
		wrong := append(want.compareMachines(t, s), want.compareKeys(t, s)...)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if len(wrong) > 0 {
			t.Fatalf("seed %d, round %d, whole %t (%s), %+v\nafter %s\n%s", seed, round, s.result.Full, s.result.Why, s.report, strings.Join(w.done, "\n"), strings.Join(wrong[:min(20, len(wrong))], "\n"))
		}
	}
	t.Logf("seed %d: %d syncs killed, %v, %v", seed, killed, modes, w.counts)
}

// killSync starts a sync and kills it after a while; false where it was faster.
func killSync(t *testing.T, dir string, after time.Duration) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), stateOf+"="+dir, stateOf+"_ADDRESS="+lab.Address, stateOf+"_LAB="+lab.Dir)
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	killer.Stop()
	if out.Len() > 0 {
		t.Fatalf("the sync that was to be killed failed: %s", out.String())
	}
	return err != nil
}

// seen is what ldapsearch shows the reader.
type seen struct {
	computers map[string]map[string][]string // by GUID
	byDN      map[string]string              // GUID of the computer
	groups    map[string][]string            // DN in lower case -> groups it is in
	rids      map[string]string
	keys      map[string]map[string][]string // by GUID of the object
}

func look(t *testing.T) *seen {
	t.Helper()
	s := &seen{map[string]map[string][]string{}, map[string]string{}, map[string][]string{}, map[string]string{}, map[string]map[string][]string{}}
	for _, e := range ldapsearch(t, "(objectClass=computer)", "objectGUID", "cn", "sAMAccountName", "operatingSystem", "userAccountControl", "memberOf", "primaryGroupID") {
		id := guidOf(t, e)
		s.byDN[strings.ToLower(e["dn"][0])] = id
		// Disabled ones are not in the scope, and the domain controller says that it is Samba.
		if uac, _ := strconv.Atoi(e["userAccountControl"][0]); uac&2 == 0 && strings.Contains(strings.Join(e["operatingSystem"], ""), "Windows") {
			s.computers[id] = e
		}
	}
	for _, e := range ldapsearch(t, "(objectClass=group)", "memberOf", "objectSid") {
		s.groups[strings.ToLower(e["dn"][0])] = e["memberOf"]
		sid, err := directory.SID([]byte(e["objectSid"][0]))
		if err != nil {
			t.Fatal(err)
		}
		s.rids[sid[strings.LastIndexByte(sid, '-')+1:]] = e["dn"][0]
	}
	for _, e := range ldapsearch(t, "(objectClass=msFVE-RecoveryInformation)", "objectGUID", "msFVE-RecoveryGuid") {
		s.keys[guidOf(t, e)] = e
	}
	return s
}

func guidOf(t *testing.T, e map[string][]string) string {
	t.Helper()
	id, err := directory.GUID([]byte(e["objectGUID"][0]))
	if err != nil {
		t.Fatal(e["dn"], err)
	}
	return id
}

// ldapsearch asks as the reader; values that LDIF has in base64 come decoded.
func ldapsearch(t *testing.T, filter string, attributes ...string) (out []map[string][]string) {
	t.Helper()
	args := append([]string{"-LLL", "-x", "-o", "ldif-wrap=no", "-H", "ldaps://" + lab.Address, "-D", reader, "-w", readerPW, "-b", dclab.BaseDN, filter}, attributes...)
	cmd := exec.Command("ldapsearch", args...)
	cmd.Env = append(os.Environ(), "LDAPTLS_CACERT="+filepath.Join(lab.Dir, "pki", "ca.pem"))
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("ldapsearch %s: %v", filter, err)
	}
	for block := range strings.SplitSeq(string(text), "\n\n") {
		e := map[string][]string{}
		for line := range strings.SplitSeq(block, "\n") {
			name, value, ok := strings.Cut(line, ":")
			if !ok || strings.HasPrefix(line, "#") {
				continue
			}
			if encoded, ok := strings.CutPrefix(value, ":"); ok {
				b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
				if err != nil {
					t.Fatal(line, err)
				}
				value = " " + string(b)
			}
			e[name] = append(e[name], strings.TrimPrefix(value, " "))
		}
		if e["dn"] != nil {
			out = append(out, e)
		}
	}
	return out
}

func parent(dn string) string {
	for i := 0; i < len(dn); i++ {
		if dn[i] == '\\' {
			i++
		} else if dn[i] == ',' {
			return dn[i+1:]
		}
	}
	return ""
}

// above is the closure, written another way than in the program: it grows until it grows no more.
func (s *seen) above(direct []string) []string {
	all := map[string]string{}
	for _, g := range direct {
		all[strings.ToLower(g)] = g
	}
	for before := -1; before != len(all); {
		before = len(all)
		for _, g := range slices.Collect(maps.Keys(all)) {
			for _, up := range s.groups[g] {
				all[strings.ToLower(up)] = up
			}
		}
	}
	for _, g := range direct {
		delete(all, strings.ToLower(g))
	}
	return slices.Sorted(maps.Values(all))
}

func (s *seen) compareMachines(t *testing.T, got *stores) (wrong []string) {
	t.Helper()
	all, err := got.inventory.Select(t.Context(), inventory.Selector{})
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range all {
		e := s.computers[m.Claims.ObjectGUID]
		if (e == nil) != m.Gone {
			wrong = append(wrong, fmt.Sprintf("%s: gone %t, and ldapsearch shows %v", m.Name, m.Gone, e["dn"]))
		}
		if e == nil || m.Gone {
			continue
		}
		listed[m.Claims.ObjectGUID] = true
		direct := slices.Clone(e["memberOf"])
		if primary := s.rids[e["primaryGroupID"][0]]; primary != "" {
			direct = append(direct, primary)
		}
		slices.Sort(direct)
		direct = slices.Compact(direct)
		for what, pair := range map[string][2]string{
			"name": {m.Name, strings.ToUpper(strings.TrimSuffix(e["sAMAccountName"][0], "$"))}, "OU": {m.OU, parent(e["dn"][0])},
			"OS": {m.OS.Name, strings.Join(e["operatingSystem"], "")}, "groups": {strings.Join(m.Groups, " | "), strings.Join(direct, " | ")},
			"nested groups": {strings.Join(m.NestedGroups, " | "), strings.Join(s.above(direct), " | ")},
		} {
			if pair[0] != pair[1] {
				wrong = append(wrong, fmt.Sprintf("%s: %s is %q, ldapsearch shows %q", m.Name, what, pair[0], pair[1]))
			}
		}
	}
	for id, e := range s.computers {
		if !listed[id] {
			wrong = append(wrong, fmt.Sprintf("%s is not in the inventory", e["dn"]))
		}
	}
	return wrong
}

func (s *seen) compareKeys(t *testing.T, got *stores) (wrong []string) {
	t.Helper()
	listed := map[string]bool{}
	err := got.vault.All(t.Context(), func(m bitlocker.Match) error {
		e := s.keys[m.SourceKey]
		if (e == nil) != m.Deleted {
			wrong = append(wrong, fmt.Sprintf("key %s of %s: deleted %t, and ldapsearch shows %v", m.ID, m.Machine.Name, m.Deleted, e["dn"]))
		}
		if e == nil || m.Deleted {
			return nil
		}
		listed[m.SourceKey] = true
		dn := parent(e["dn"][0])
		id := bitlocker.KeyIDFromGUID([16]byte([]byte(e["msFVE-RecoveryGuid"][0])))
		computer, visible := s.byDN[strings.ToLower(dn)] // of one that is hidden now the GUID stays known
		if m.ID != id || m.Machine.DN != dn || visible && m.Machine.GUID != computer {
			wrong = append(wrong, fmt.Sprintf("key %s of %+v: ldapsearch shows %s below %s, which is %s", m.ID, m.Machine, id, dn, computer))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, e := range s.keys {
		if !listed[id] {
			wrong = append(wrong, fmt.Sprintf("%s is not in the vault", e["dn"]))
		}
	}
	return wrong
}

// administrator is a connection that may change everything.
func administrator(t *testing.T) *ldap.Conn {
	t.Helper()
	l, err := ldap.DialURL("ldaps://"+lab.Address, ldap.DialWithTLSConfig(dclab.TLS(lab.Config(t, directory.SimpleLDAPS, dclab.Admin, dclab.AdminPW))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := l.Bind(dclab.Admin, dclab.AdminPW); err != nil {
		t.Fatal(err)
	}
	return l
}
