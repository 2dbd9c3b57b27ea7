//go:build unix

package cli

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

// TestPlantedPassword runs the main job with a planted password and searches for it in everything that was printed and
// in every file that was written, except the file it was given in.
func TestPlantedPassword(t *testing.T) {
	const planted = "Pl4nted-S3cret-Passw0rd!"
	dir, _ := plantedFleet(t, simfleet.Options{Machines: 12, Seed: 9, Password: secret.New(planted), Mix: &simfleet.Mix{Affected: .5, Broken: .2, Refused: .1, Denied: .1}})
	given := givenFiles(t, dir)
	var printed bytes.Buffer
	fleetmend := func(args ...string) {
		code := execute(t.Context(), terminal.Streams{In: strings.NewReader(""), Out: &printed, Err: &printed, Width: 80},
			append([]string{"--config", "fleetmend.yaml", "--log-level", "debug"}, args...))
		printed.WriteString("exit " + strconv.Itoa(code) + "\n")
	}
	fleetmend("inventory", "import", "machines.csv")
	fleetmend("inventory", "probe")
	fleetmend("plan", "crowdstrike-channel-file-291", "--out", "a.plan")
	fleetmend("--log-file", "run.log", "run", "crowdstrike-channel-file-291", "--waves", "1,100%", "--yes", "--reboot", "never", "--retries", "0", "--html", "a.html", "-o", "json")
	fleetmend("--json", "runs", "undo", "last", "--yes")
	fleetmend("runs", "report", "last", "--html", "b.html", "--csv", "b.csv", "--junit", "b.xml", "--json-file", "b.json")
	fleetmend("runs", "show", "last", "-o", "yaml")
	fleetmend("runs", "show", "last", "--events")
	// A password that is wrong must not show in the complaint about it.
	if err := os.WriteFile("wrong", []byte(planted+"-wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fleetmend("run", "safeboot-off", "--yes", "--password-file", "wrong")
	if !strings.Contains(printed.String(), `"fixed"`) || !strings.Contains(printed.String(), "exit 4") {
		t.Fatalf("the runs did not do their work:\n%s", printed.String())
	}
	hunt(t, "the output", printed.Bytes(), planted)
	given = append(given, "wrong")
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || slices.Contains(given, filepath.Base(path)) {
			return err
		}
		content, err := os.ReadFile(path)
		files++
		hunt(t, path, content, planted)
		return err
	})
	if err != nil || files < 8 || !slices.Contains(given, "password") {
		t.Fatalf("only %d files searched (%v)", files, err)
	}
}

// plantedFleet serves a fleet for the length of a test and changes into the folder of its files.
func plantedFleet(t *testing.T, o simfleet.Options) (dir string, fleet *simfleet.Fleet) {
	t.Helper()
	dir = t.TempDir()
	fleet, err := simfleet.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := fleet.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fleet.Close)
	if err := fleet.Write(dir); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	return dir, fleet
}

// givenFiles are the files in which the fleet itself hands its passwords over: those that only their owner may read.
func givenFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().Perm() == 0o600 {
			names = append(names, e.Name())
		}
	}
	return names
}

func hunt(t *testing.T, where string, content []byte, planted string) {
	t.Helper()
	for form, pattern := range forms(planted) {
		if at := bytes.Index(content, pattern); at >= 0 {
			t.Errorf("%s holds the password (%s) at byte %d: %.120q", where, form, at, content[max(0, at-40):])
		}
	}
}
