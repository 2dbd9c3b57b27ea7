package inventory

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// TestMain lets the test binary be a second process that writes.
func TestMain(m *testing.M) {
	if path := os.Getenv("FLEETMEND_TEST_WRITER"); path != "" {
		if err := writeForever(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// crashMachines is how many machines each import of the writing process changes at once.
const crashMachines = 200

// writeForever imports generation after generation, each with its number in every machine, and says which is done.
// It ends when its standard input does.
func writeForever(path string) error {
	ctx := context.Background()
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	s, err := Open(ctx, path)
	if err != nil {
		return err
	}
	// Go on where the one before was killed, so that each import changes every machine.
	machines, err := s.Select(ctx, Selector{})
	if err != nil {
		return err
	}
	n := 0
	if len(machines) > 0 {
		if n, err = strconv.Atoi(machines[0].Site); err != nil {
			return err
		}
	}
	for n++; ; n++ {
		select {
		case <-ended:
			return s.Close()
		default:
		}
		records := fleet("writer", crashMachines, false)
		for i := range records {
			records[i].Fields["site"] = fmt.Sprint(n)
			records[i].SeenAt = t0.Add(time.Duration(n) * time.Second)
		}
		if _, err := s.Import(ctx, "writer", records); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// writer starts the second process; said gives the generations it has written.
func writer(t *testing.T, path string) (cmd *exec.Cmd, stdin io.Closer, said *bufio.Scanner) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), "FLEETMEND_TEST_WRITER="+path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, in, bufio.NewScanner(out)
}

// whole says which generation all machines are of, and complains about a mixture.
func whole(t *testing.T, s *Store) string {
	t.Helper()
	machines := pick(t, s, "all")
	if len(machines) == 0 {
		return ""
	}
	for _, m := range machines {
		if m.Site != machines[0].Site {
			t.Fatalf("%s is of generation %s, %s of %s", machines[0].Name, machines[0].Site, m.Name, m.Site)
		}
	}
	if len(machines) != crashMachines {
		t.Fatalf("%d machines", len(machines))
	}
	return machines[0].Site
}

func TestKillTheWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inventory.db")
	for round := range 5 {
		cmd, _, said := writer(t, path)
		last := ""
		for range 2 {
			if !said.Scan() {
				t.Fatal("the writer ended early")
			}
			last = said.Text()
		}
		// Not between imports but somewhere inside the next one, each round a little later.
		killed := make(chan error, 1)
		time.AfterFunc(time.Duration(round*3)*time.Millisecond, func() { killed <- cmd.Process.Kill() })
		for said.Scan() {
			last = said.Text()
		}
		if err := <-killed; err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		s, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		var check string
		if err := s.db.QueryRow("PRAGMA integrity_check").Scan(&check); err != nil || check != "ok" {
			t.Fatalf("integrity %q %v", check, err)
		}
		got := whole(t, s)
		// What was reported as written is there.
		var have, want int
		_, _ = fmt.Sscan(got, &have)
		_, _ = fmt.Sscan(last, &want)
		if have < want {
			t.Errorf("generation %d was written, %d is there", want, have)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestReadersBesideAWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inventory.db")
	cmd, stdin, said := writer(t, path)
	if !said.Scan() {
		t.Fatal("the writer ended early")
	}
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	var seen []string
	for len(seen) < 5 {
		if !said.Scan() {
			t.Fatal("the writer ended early")
		}
		// Reading and writing while the other process writes: whole generations, newer ones, and no error of locks.
		if g := whole(t, s); !slices.Contains(seen, g) {
			seen = append(seen, g)
		}
		if err := s.Tag(t.Context(), []string{pick(t, s, "WS000001")[0].ID}, []string{"t" + said.Text()}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := stdin.Close(); err != nil {
		t.Error(err)
	}
	for said.Scan() {
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if m := pick(t, s, "WS000001")[0]; len(m.Tags) < 5 {
		t.Errorf("tags %q", m.Tags)
	}
}

func TestOpenMigratesTheFirstSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "old.db")
	script, err := migrations.ReadFile("migrations/0001_machines.sql")
	if err != nil {
		t.Fatal(err)
	}
	old := rawDB(t, path)
	for _, stmt := range []string{string(script), fmt.Sprintf("PRAGMA user_version = 1; PRAGMA application_id = %d", applicationID),
		`INSERT INTO machines (id) VALUES ('01J300000000000000000000AA');
		INSERT INTO records VALUES ('csv:a', 'ws1', '01J300000000000000000000AA', 1721368800000000000, 0, '{"name":"WS1","site":"LON"}');
		INSERT INTO operator_tags VALUES ('01J300000000000000000000AA', 'canary', 1);`} {
		if _, err := old.Exec(stmt); err != nil {
			t.Fatal(err)
		}
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	got := pick(t, s, `site == "LON" && "canary" in tags`)
	if len(got) != 1 || got[0].ID != "01J300000000000000000000AA" {
		t.Errorf("%+v", got)
	}
	sources, err := s.Sources(t.Context())
	if err != nil || len(sources) != 1 || sources[0].Records != 1 || !sources[0].ReadAt.Equal(t0) {
		t.Errorf("%+v %v", sources, err)
	}
	if _, err := s.db.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path); !errors.Is(err, ErrNewerSchema) || !strings.Contains(err.Error(), "schema 99") || len(hint.Of(err)) == 0 {
		t.Errorf("newer schema: %v", err)
	}
}

func TestOpenRefusesWhatIsNotOurs(t *testing.T) {
	dir := t.TempDir()
	other := rawDB(t, filepath.Join(dir, "other.db"))
	if _, err := other.Exec("CREATE TABLE bookmarks (x)"); err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "text.db"), []byte(strings.Repeat("Name;Site\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"other.db", "text.db", "."} {
		if s, err := Open(t.Context(), filepath.Join(dir, name)); err == nil {
			t.Errorf("%s was opened: %v", name, s.Close())
		}
	}
}
