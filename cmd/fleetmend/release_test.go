package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/media/practice"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

// TestReleaseCarriesTheProgramForMedia builds fleetmend as a release does, puts it alone into an empty folder where there
// is no Go, and finds the program it carries in the media it builds, for both processors.
func TestReleaseCarriesTheProgramForMedia(t *testing.T) {
	if os.Getenv("FLEETMEND_LONG") == "" {
		t.Skip("builds a release: set FLEETMEND_LONG=1")
	}
	shell, err := exec.LookPath("sh")
	if err != nil || runtime.GOOS == "windows" {
		t.Skip("releases are made where there is a shell")
	}
	checkout, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	made, alone := t.TempDir(), t.TempDir()
	run := func(dir, name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		if dir == alone {
			cmd.Env = []string{"HOME=" + alone, "PATH=" + alone}
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	run(checkout, shell, ".ci/agents", "1.2.3-test", made)
	overlay := map[string]map[string]string{"Replace": {}} // what the script would put into the checkout
	for _, arch := range []string{"amd64", "arm64"} {
		name := "fleetmend-pe_" + arch + ".exe.gz"
		overlay["Replace"][filepath.Join(checkout, "remediate", "media", "carried", name)] = filepath.Join(made, name)
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	where := filepath.Join(made, "overlay.json")
	if err := os.WriteFile(where, text, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(alone, "fleetmend")
	run(checkout, "go", "build", "-trimpath", "-tags", "embedagent", "-overlay", where, "-o", program, "./cmd/fleetmend")
	for _, arch := range []string{"amd64", "arm64"} {
		source, err := practice.WIM(t.Context(), arch)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(alone, arch+".wim"), source, 0o600); err != nil {
			t.Fatal(err)
		}
		run(alone, program, "media", "build", arch+".wim", "-p", "crowdstrike-channel-file-291", "--out", arch+".img")
		want, got := unpacked(t, filepath.Join(made, "fleetmend-pe_"+arch+".exe.gz")), aboard(t, filepath.Join(alone, arch+".img"))
		if !bytes.Equal(got, want) || !bytes.Contains(got, []byte("1.2.3-test")) {
			t.Errorf("%s: the program aboard has %d bytes, that of the release %d", arch, len(got), len(want))
		}
	}
}

func unpacked(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	packed, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(packed)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// aboard is the program in the image that a medium starts.
func aboard(t *testing.T, name string) []byte {
	t.Helper()
	m, err := media.OpenMedium(name)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b, err := fs.ReadFile(m.FS, "sources/boot.wim")
	if err != nil {
		t.Fatal(err)
	}
	w, err := wim.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	image, err := w.FS(w.BootIndex())
	if err != nil {
		t.Fatal(err)
	}
	if b, err = fs.ReadFile(image, "fleetmend/fleetmend-pe.exe"); err != nil {
		t.Fatal(err)
	}
	return b
}
