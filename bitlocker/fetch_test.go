package bitlocker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// stopsAfter is a source whose user presses Ctrl-C while one password is read.
type stopsAfter struct {
	*fakeSource
	stop context.CancelFunc
	left int
}

func (s *stopsAfter) Password(ctx context.Context, ref bitlocker.KeyRef) (bitlocker.Password, error) {
	if s.left--; s.left == 0 {
		s.stop()
	}
	return s.fakeSource.Password(ctx, ref)
}

// auditOf counts the entries of the log by action, and gives the keys that were fetched and not taken back.
func auditOf(t *testing.T, d *desk) (count map[audit.Action]int, fetched map[string]int) {
	t.Helper()
	entries, err := d.log.List(t.Context(), audit.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	count, fetched = map[audit.Action]int{}, map[string]int{}
	for _, e := range entries {
		count[e.Action]++
		switch e.Action {
		case audit.Fetch:
			fetched[e.KeyID]++
		case audit.Refused:
			fetched[e.KeyID]--
		}
	}
	if _, err := d.log.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	return count, fetched
}

func TestFetchThatIsStoppedKeepsWhatItRead(t *testing.T) {
	const asked = 333
	d, src := unlocked(t, 1000)
	src.denied[id(7)] = true
	refs := refsOf(t, d)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r, err := d.Fetch(ctx, &stopsAfter{src, stop, asked}, "drill", refs...)
	if !errors.Is(err, context.Canceled) || r.Sealed+r.Denied != asked {
		t.Fatalf("%+v, %v", r, err)
	}
	s, err := d.Status(t.Context())
	if err != nil || s.Passwords != r.Sealed {
		t.Fatalf("%+v, %v", s, err)
	}
	_, fetched := auditOf(t, d)
	read := 0
	for _, n := range fetched {
		read += n
	}
	if read != asked {
		t.Errorf("the audit says that %d passwords were read, and %d were", read, asked)
	}
}

func TestEveryFetchHasItsEntry(t *testing.T) {
	d, src := unlocked(t, 1500)
	src.denied[id(1)], src.denied[id(1400)] = true, true
	r, err := d.Fetch(t.Context(), src, "drill", refsOf(t, d)...)
	if err != nil || r.Sealed != 1498 || r.Denied != 2 {
		t.Fatalf("%d sealed, %v", r.Sealed, err)
	}
	count, fetched := auditOf(t, d)
	if count[audit.Fetch] != 1500 || count[audit.Refused] != 0 {
		t.Errorf("%v", count)
	}
	for n := range 1500 {
		if fetched[string(id(n))] != 1 {
			t.Errorf("key %d: %d entries", n, fetched[string(id(n))])
		}
	}
}

// The test binary runs itself as a process that fetches passwords until it is killed.
func TestKilledFetch(t *testing.T) {
	const keys = 30_000 // more than it comes to
	if dir := os.Getenv("FLEETMEND_TEST_KILL_FETCH"); dir != "" {
		d := openDesk(t, dir)
		if err := d.UnlockWithPassphrase(t.Context(), secret.New(passphrase)); err != nil {
			t.Fatal(err)
		}
		src := source(keys)
		var refs []bitlocker.KeyRef
		for _, r := range src.refs {
			r.Source = src.Name()
			refs = append(refs, r)
		}
		fmt.Println("ready")
		_, err := d.Fetch(t.Context(), src, "drill", refs...)
		t.Fatal("came to its end", err)
	}
	dir := t.TempDir()
	d := openDesk(t, dir)
	if err := d.ProtectWithPassphrase(t.Context(), secret.New(passphrase)); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledFetch$")
		cmd.Env = append(os.Environ(), "FLEETMEND_TEST_KILL_FETCH="+dir)
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
		<-time.After(time.Duration(60+round*90) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if err := d.UnlockWithPassphrase(t.Context(), secret.New(passphrase)); err != nil {
			t.Fatal(err)
		}
		_, fetched := auditOf(t, d)
		sealed := 0
		err = d.All(t.Context(), func(m bitlocker.Match) error {
			if m.State == bitlocker.StateSealed {
				sealed++
			}
			if m.State == bitlocker.StateSealed && fetched[string(m.ID)] == 0 {
				return fmt.Errorf("key %s is in the vault and not in the audit", m.ID)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("round %d: %d in the audit, %d in the vault", round, len(fetched), sealed)
	}
}
