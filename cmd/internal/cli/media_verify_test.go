package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/cmd/internal/command"

	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/media/practice"
	"github.com/fleetmend/fleetmend/remediate/media/usb"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// TestMediaVerifyDisk holds a stick against its image and against its own list, fresh from writing and after Windows, a
// bad cell or a bad table.
func TestMediaVerifyDisk(t *testing.T) {
	dir := t.TempDir()
	wim, err := practice.WIM(t.Context(), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	source, program, image, stick := filepath.Join(dir, "boot.wim"), filepath.Join(dir, "pe.exe"), filepath.Join(dir, "x.img"), filepath.Join(dir, "stick")
	for name, b := range map[string][]byte{source: wim, program: practice.Loader("amd64")} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	book, err := playbook.Builtin("crowdstrike-channel-file-291")
	if err != nil {
		t.Fatal(err)
	}
	bound, err := book.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := media.Build(t.Context(), media.Spec{
		Source: source, Agent: program, Format: media.USB, Slack: 1 << 20, Playbooks: []playbook.Playbook{bound},
	}, image); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(content)) + 8<<20
	if err := os.WriteFile(stick, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	disks := drawer{{Path: stick, Model: "Stick", Serial: "S1", Size: size, Sector: 512, Removable: true, Volumes: []usb.Volume{}}}
	run := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		app := newApp(terminal.Streams{In: strings.NewReader(""), Out: &out, Err: &errs, Width: 80})
		app.Disks = disks
		root := New(app)
		root.SetArgs(append([]string{"media"}, args...))
		code := app.report(root.ExecuteContext(t.Context()))
		app.Close()
		return code, out.String(), errs.String()
	}
	expect := func(code int, want string, args ...string) string {
		t.Helper()
		got, out, errs := run(args...)
		if got != code || !strings.Contains(out+errs, want) {
			t.Errorf("%v: exit %d\n%s%s", args, got, out, errs)
		}
		return out
	}
	expect(command.ExitOK, "written and verified", "write", image, "S1", "--yes", "--serial", "S1")
	expect(command.ExitOK, "byte for byte", "verify", "S1", "--image", image)
	expect(command.ExitOK, "0 changed, 0 missing", "verify", "S1")
	expect(command.ExitOK, "playbook crowdstrike-channel-file-291", "inspect", "S1")
	var seen struct{ SHA256 string }
	if err := json.Unmarshal([]byte(expect(command.ExitOK, "", "verify", "S1", "--image", image, "-o", "json")), &seen); err != nil || len(seen.SHA256) != 64 {
		t.Errorf("%+v, %v", seen, err)
	}

	at := int64(bytes.Index(content, []byte("BCD for practice")))
	spoil(t, stick, at)
	expect(command.ExitError, "does not hold the image", "verify", "S1", "--image", image)
	if out := expect(command.ExitError, "changed  ", "verify", "S1"); !strings.Contains(strings.ToUpper(out), "BCD") {
		t.Errorf("which file: %s", out)
	}
	spoil(t, stick, at) // as it was
	expect(command.ExitOK, "byte for byte", "verify", "S1", "--image", image)
	spoil(t, stick, size-500)
	expect(command.ExitError, "backup partition table", "verify", "S1", "--image", image)
	expect(command.ExitError, "there is no disk", "verify", "S2", "--image", image)
	disks[0].Size = int64(len(content)) - 1
	expect(command.ExitError, "too small", "verify", "S1", "--image", image)
}

// spoil turns a bit of a file over.
func spoil(t *testing.T, name string, at int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}
