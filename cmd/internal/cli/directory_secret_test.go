//go:build unix

package cli

import (
	"bytes"
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

// TestPlantedDirectorySecrets does what touches the directory, and searches everything printed and written for the
// password of the directory, for every LAPS password and for every recovery password.
func TestPlantedDirectorySecrets(t *testing.T) {
	const planted = "Pl4nted-D1rectory-Passw0rd!"
	dir, fleet := plantedFleet(t, simfleet.Options{Machines: 24, Seed: 9, Password: secret.New(planted), Mix: &simfleet.Mix{Affected: .5}})
	settings, err := os.ReadFile("fleetmend.yaml")
	if err != nil {
		t.Fatal(err)
	}
	laps := strings.Replace(string(settings), "winrm:\n", "winrm:\n  credentials: laps\n", 1)
	if err := os.WriteFile("laps.yaml", []byte(laps), 0o600); err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	fleetmend := func(args ...string) {
		code := execute(t.Context(), terminal.Streams{In: strings.NewReader(""), Out: &printed, Err: &printed, Width: 80},
			append([]string{"--log-level", "debug"}, args...))
		printed.WriteString("exit " + strconv.Itoa(code) + "\n")
	}
	fleetmend("doctor")
	fleetmend("doctor", "-o", "json")
	fleetmend("inventory", "sync", "-o", "json")
	fleetmend("inventory", "import", "machines.csv")
	fleetmend("inventory", "show", fleet.Machines()[0].Name, "-o", "json")
	fleetmend("--config", "laps.yaml", "--log-file", "run.log", "run", "crowdstrike-channel-file-291", "--on", "class != \"dc\"", "--waves", "100%", "--yes", "--reboot", "never", "--retries", "0", "--html", "a.html", "-o", "json")
	fleetmend("--json", "runs", "show", "last", "--events")
	wanted := []string{planted}
	used := 0
	for _, m := range fleet.Machines() {
		form, _, password, err := fleet.LAPS(m.Name)
		if err != nil {
			t.Fatal(err)
		}
		if form == simfleet.LAPSClear || form == simfleet.LAPSLegacy {
			wanted = append(wanted, password.Reveal())
			used++
		}
		keys, err := fleet.RecoveryKeys(m.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			wanted = append(wanted, k.Password.Reveal())
		}
	}
	if !strings.Contains(printed.String(), `"sign-in"`) || fleet.Stats().Logons < int64(used) {
		t.Fatalf("the job was not done: %d sign-ins for %d LAPS passwords\n%s", fleet.Stats().Logons, used, printed.String())
	}
	files := map[string][]byte{"what was printed": printed.Bytes()}
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, "password") || strings.HasSuffix(path, ".secret") { // where they are kept
			return err
		}
		files[path], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		for _, password := range wanted {
			for form, bytesOf := range forms(password) {
				if bytes.Contains(data, bytesOf) {
					t.Errorf("%s holds a password as %s", name, form)
				}
			}
		}
	}
	if !slices.ContainsFunc(wanted, func(s string) bool { return strings.Count(s, "-") == 7 }) {
		t.Error("no recovery password was looked for")
	}
}
