package cli

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

// signsIn is the terminal of a user who types the code that is shown into the browser. It is safe for concurrent use.
type signsIn struct {
	bytes.Buffer
	mu    sync.Mutex
	done  bool
	enter func(code string) error
	err   error
}

var shownCode = regexp.MustCompile(`enter the code ([A-Z0-9]{8})`)

func (s *signsIn) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.Buffer.Write(p)
	if m := shownCode.FindStringSubmatch(s.String()); m != nil && !s.done {
		s.done = true
		s.err = s.enter(m[1])
	}
	return n, err
}

// TestDeviceCode signs in at the simulated tenant as a user, with a code: one who may read keys, one who may only list them,
// and one who declines.
func TestDeviceCode(t *testing.T) {
	t.Chdir(t.TempDir())
	fleet, err := simfleet.New(simfleet.Options{Machines: 40, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := fleet.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()
	if err := fleet.Write("."); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("fleetmend.yaml")
	if err != nil {
		t.Fatal(err)
	}
	changed := regexp.MustCompile(`secret-file: \S+`).ReplaceAll(text, []byte("device-code: true"))
	if err := os.WriteFile("fleetmend.yaml", changed, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(want int, user string, args ...string) (out, talk string) {
		t.Helper()
		person := &signsIn{enter: func(code string) error { return fleet.Tenant().Approve(code, user) }}
		var data bytes.Buffer
		code := execute(t.Context(), terminal.Streams{In: strings.NewReader(""), Out: &data, Err: person, Width: 100}, append([]string{"--config", "fleetmend.yaml"}, args...))
		if code != want || person.err != nil || !person.done {
			t.Fatalf("%q as %q: exit code %d, want %d; %v; a code was shown: %v\n%s%s", args, user, code, want, person.err, person.done, data.String(), person.String())
		}
		return data.String(), person.String()
	}
	reader, lister := simfleet.TenantReader+"@fleet.test", simfleet.TenantLister+"@fleet.test"
	out, _ := run(0, reader, "keys", "sync", "--from", "entra")
	wants(t, out, `^entra:.*: \d+ keys read \(all\)`)
	var key simfleet.RecoveryKey
	for _, m := range fleet.Machines() {
		if keys, err := fleet.TenantKeys(m.Name); err == nil && len(keys) > 0 {
			key = keys[0]
		}
	}
	out, _ = run(0, reader, "keys", "show", key.ID, "--reason", "INC-1", "--source", "entra:"+fleet.Tenant().TenantID(), "-o", "json")
	wants(t, out, key.Password.Reveal())
	last := fleet.Tenant().Audit()
	if n := len(last); n == 0 || last[n-1].Actor != "user:"+reader {
		t.Errorf("the tenant's audit: %+v", last)
	}
	out, talk := run(1, lister, "keys", "show", key.ID, "--reason", "INC-1", "--source", "entra:"+fleet.Tenant().TenantID())
	wants(t, talk, "not allowed to read")
	_, declined := run(4, "", "keys", "sync", "--from", "entra")
	wants(t, declined, "sign-in was refused(?s:.*)declined")
	if strings.Contains(fmt.Sprint(out, talk, declined), key.Password.Reveal()) {
		t.Error("a password was shown to who may not read it")
	}
}
