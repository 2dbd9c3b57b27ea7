//go:build unix

package cli

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/simfleet"
)

func (s *shop) account() simfleet.Account {
	s.t.Helper()
	answer, err := http.Get("http://" + strings.TrimPrefix(s.control, "http://") + "/accounts")
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // it was read
	var all []simfleet.Account
	if err := json.NewDecoder(answer.Body).Decode(&all); err != nil || len(all) == 0 {
		s.t.Fatalf("%v %v", all, err)
	}
	return all[0]
}

// However many commands send a wrong password, to the directory or to machines, it is sent no more often than the account bears; what the
// directory takes proves it for machines.
func TestTheDirectoryAndMachinesHaveOneCounter(t *testing.T) {
	s := openShop(t, "--machines", "12", "--seed", "5", "--lockout", "10")
	file := filepath.Join(s.dir, "password")
	right, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(password []byte) {
		if err := os.WriteFile(file, password, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write([]byte("wrong\n"))
	fails := func(args ...string) string {
		out, err := s.command(args...).CombinedOutput()
		ended, ok := errors.AsType[*exec.ExitError](err)
		if args[0] != "doctor" && (!ok || ended.ExitCode() != command.ExitAuth) {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
		return strings.Join(strings.Fields(string(out)), " ")
	}
	run := []string{"run", "crowdstrike-channel-file-291", "--yes", "--foreground", "--reboot", "never"}
	fails("inventory", "sync")
	fails("doctor")
	for _, args := range [][]string{{"inventory", "sync"}, {"keys", "sync", "--from", "ad"}, run, {"doctor"}} {
		text := fails(args...)
		if a := s.account(); a.Wrong != 2 || a.Locked {
			t.Fatalf("after %v: %+v\n%s", args, a, text)
		}
		if !strings.Contains(text, "were refused (dc1.fleet.test) and none was accepted since: see that the password is right, then go on after ") {
			t.Errorf("%v: %s", args, text)
		}
		if args[0] != "run" && strings.Contains(text, "--sign-ins") {
			t.Errorf("%v has no such flag: %s", args, text)
		}
	}
	write(right)
	if text := fails("inventory", "sync"); !strings.Contains(text, "`sign-ins: 3` under run: in the settings") {
		t.Errorf("no way on: %s", text)
	}
	s.ok(append(run, "--sign-ins", "3")...)
	s.ok("inventory", "sync")
	if a := s.account(); a.Wrong != 2 || a.Accepted < 13 {
		t.Errorf("%+v", a)
	}
	// In the next run the domain controller is asked first: the wrong password goes there, and to no machine.
	write([]byte("wrong\n"))
	if text := fails(run...); !strings.Contains(text, "dc1.fleet.test, which had taken FLEET\\admin, rejects it") {
		t.Errorf("%s", text)
	}
	if a := s.account(); a.Wrong != 3 {
		t.Errorf("%+v", a)
	}
}
