//go:build unix

package cli

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestImportedKeysOpenVolumesOfWindows imports the recovery passwords of ten volumes that Windows made and opens each with
// what the vault holds: diffuser, To Go, two recovery passwords, 4K sectors. Nothing is written to a volume.
func TestImportedKeysOpenVolumesOfWindows(t *testing.T) {
	labs := os.Getenv("FLEETMEND_LABS")
	if labs == "" {
		labs = filepath.Join("..", "..", "..", "..", "shared", "labs")
	}
	archive := filepath.Join(labs, "bitlk-images.tar.xz")
	if _, err := os.Stat(archive); err != nil {
		t.Skip("no bitlk-images.tar.xz (set FLEETMEND_LABS to its folder)")
	}
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-xJSf", archive, "--strip-components=1", "-C", dir).CombinedOutput(); err != nil {
		t.Skipf("tar and xz are needed: %s", out)
	}
	conf, err := os.ReadFile(filepath.Join(dir, "images.conf"))
	if err != nil {
		t.Fatal(err)
	}
	table := "KeyID,RecoveryKey\n"
	value := func(section, name string) string {
		found := regexp.MustCompile(`(?m)^` + name + `=(.*)$`).FindStringSubmatch(section)
		if found == nil {
			return ""
		}
		return strings.TrimSpace(found[1])
	}
	for _, section := range strings.Split(string(conf), "\n[") {
		for _, name := range []string{"RP", "RP2"} {
			if password := value(section, name); password != "" {
				table += fmt.Sprintf("{%s},%s\n", value(section, name+"_VMK_GUID"), password)
			}
		}
	}
	for name, text := range map[string]string{"keys.csv": table, "config.yaml": "{}\n", "identity.txt": "AGE-SECRET-KEY-1M6K8UFMQ7QM82LCNLKH5E20XPFVYQA4ZWGXKLWHVPR2P8L4JPYES2LTPTY\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fleetmend := func(args ...string) string {
		t.Helper()
		cmd := asCommand(t, append([]string{"--config", "config.yaml", "--state-dir", "state"}, args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	fleetmend("keys", "protect", "--recipient", "age1srgf7nasm3vraersayt5dh266dnzf09n9kawuhugk7ddp4yguq5sjfd5zw")
	wants(t, fleetmend("keys", "import", "keys.csv", "--identity", "identity.txt"), "passwords sealed")
	images, err := filepath.Glob(filepath.Join(dir, "*.img"))
	if err != nil || len(images) != 10 {
		t.Fatalf("%d volumes, want 10: %v", len(images), err)
	}
	for _, image := range images {
		before := sumOf(t, image)
		wants(t, fleetmend("keys", "verify", image, "--identity", "identity.txt"), "opened by")
		if sumOf(t, image) != before {
			t.Errorf("%s was written to", filepath.Base(image))
		}
	}
}

func sumOf(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return string(h.Sum(nil))
}
