package media_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/media/practice"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

func TestRefusalsHaveARemedy(t *testing.T) {
	cut := func(t *testing.T) string {
		b, err := os.ReadFile(source(t, "amd64"))
		if err != nil {
			t.Fatal(err)
		}
		return write(t, filepath.Join(t.TempDir(), "cut.wim"), b[:len(b)-500])
	}
	for name, c := range map[string]struct {
		change func(*testing.T, *media.Spec)
		want   string
		remedy string
	}{
		"no BitLocker tools": {func(t *testing.T, s *media.Spec) {
			s.Source = source(t, "amd64", wim.Delete("Windows/System32/manage-bde.exe"))
		}, "no BitLocker tools", "winre.wim"},
		"too old for 2023":    {func(_ *testing.T, s *media.Spec) { s.SecureBoot = media.For23 }, "too old for Secure Boot 2023", "2024-07"},
		"not signed for 2011": {func(_ *testing.T, s *media.Spec) { s.SecureBoot = media.For11 }, "not signed", "--boot-files"},
		"not signed for 2023": {func(t *testing.T, s *media.Spec) {
			s.SecureBoot = media.For23
			s.Source = source(t, "amd64", wim.PutBytes("Windows/Boot/EFI_EX/bootmgfw_EX.efi", practice.Loader("amd64")))
		}, "no boot manager here is signed for Secure Boot 2023", "auto"},
		"ARM64 program": {func(t *testing.T, s *media.Spec) {
			s.Agent = write(t, filepath.Join(t.TempDir(), "pe.exe"), practice.Loader("arm64"))
		}, "is for arm64, but the Windows PE of the source is for amd64", "fleetmend-pe.exe for amd64"},
		"no program":    {func(t *testing.T, s *media.Spec) { s.Agent = s.Source }, "not a PE file", "every release"},
		"small stick":   {func(_ *testing.T, s *media.Spec) { s.Size = 20 << 20 }, "MB more are needed", "larger stick"},
		"truncated WIM": {func(t *testing.T, s *media.Spec) { s.Source = cut(t) }, "cut.wim\": WIM is cut off", "copy it again"},
		"no WIM": {func(t *testing.T, s *media.Spec) {
			s.Source = write(t, filepath.Join(t.TempDir(), "x"), []byte("text"))
		}, "neither a WIM nor an ISO", "winre.wim"},
		"no Windows PE": {func(t *testing.T, s *media.Spec) {
			s.Source = source(t, "amd64", wim.Delete("Windows/System32/winpeshl.exe"), wim.Delete("Windows/System32/wpeinit.exe"))
		}, "no Windows PE", "winre.wim"},
		"no BCD":          {func(t *testing.T, s *media.Spec) { s.Source = source(t, "amd64", wim.Delete("Windows/Boot/DVD")) }, "lacks the boot configuration", "--boot-files"},
		"no boot manager": {func(t *testing.T, s *media.Spec) { s.Source = source(t, "amd64", wim.Delete("Windows/Boot/EFI")) }, "no UEFI boot manager", "--boot-files"},
		"no such image":   {func(_ *testing.T, s *media.Spec) { s.Image = "7" }, "no such image", ""},
		"winre asked":     {func(_ *testing.T, s *media.Spec) { s.WinRE = true }, "no winre.wim", "Recovery"},
		"driver without catalogue": {func(t *testing.T, s *media.Spec) { s.Drivers = []string{driver(t, goodINF, "iaStorVD.sys")} },
			"its catalogue iaStorVD.cat", "whole folder"},
		"driver not signed": {func(t *testing.T, s *media.Spec) {
			s.Drivers = []string{driver(t, strings.Replace(goodINF, "CatalogFile", ";CatalogFile", 1))}
		}, "names no catalogue", "signed"},
		"driver for ARM64": {func(t *testing.T, s *media.Spec) {
			s.Drivers = []string{driver(t, strings.ReplaceAll(goodINF, "NTamd64", "NTarm64"), "iaStorVD.cat")}
		}, "is for arm64, but this Windows PE is for amd64", "for amd64"},
		"driver with letters": {func(t *testing.T, s *media.Spec) {
			s.Drivers = []string{driver(t, goodINF, "iaStorVD.cat", "größe.sys")}
		},
			"größe.sys", "English"},
		"no driver":        {func(t *testing.T, s *media.Spec) { s.Drivers = []string{t.TempDir()} }, "no .inf", "unpacked"},
		"label":            {func(_ *testing.T, s *media.Spec) { s.Label = "RÉPARER" }, "English", ""},
		"short passphrase": {func(_ *testing.T, s *media.Spec) { s.Keys, s.Passphrase = keys(), secret.New("short") }, "at least 12", "four words"},
		"no playbook":      {func(_ *testing.T, s *media.Spec) { s.Playbooks = nil }, "at least one playbook", "playbook list"},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec(t, "amd64")
			c.change(t, &s)
			dir := t.TempDir()
			_, err := media.Build(ctx, s, filepath.Join(dir, "out.img"))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(strings.Join(hint.Of(err), "; "), c.remedy) {
				t.Errorf("%v\nhints: %v\nwant %q with %q", err, hint.Of(err), c.want, c.remedy)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestPlaybooksThatCannotWork: what is known to fail on the machine is refused or said when the medium is built.
func TestPlaybooksThatCannotWork(t *testing.T) {
	s := spec(t, "amd64")
	s.Source = source(t, "amd64", wim.Delete("Windows/System32/bcdedit.exe"))
	_, err := media.Build(ctx, s, filepath.Join(t.TempDir(), "o"))
	if err == nil || !strings.Contains(err.Error(), "no bcdedit.exe") || !strings.Contains(strings.Join(hint.Of(err), ""), "winre.wim") {
		t.Errorf("%v, %v", err, hint.Of(err))
	}
	driver, err := playbook.Builtin("disable-driver")
	if err != nil {
		t.Fatal(err)
	}
	p, err := driver.Bind(map[string]string{"driver": "csagent"})
	if err != nil {
		t.Fatal(err)
	}
	s.Playbooks = []playbook.Playbook{p}
	if _, r := build(t, s); len(r.Warnings) != 0 {
		t.Errorf("a playbook without boot configuration: %v", r.Warnings)
	}
	script, err := playbook.FromScript("cmd", "exit /b 0")
	if err != nil {
		t.Fatal(err)
	}
	p.Verify = append(p.Verify, playbook.Condition{Service: "csagent", State: "stopped"})
	s.Playbooks = []playbook.Playbook{p}
	if _, r := build(t, s); !strings.Contains(fmt.Sprint(r.Warnings), "whether a service runs") {
		t.Errorf("a state: %v", r.Warnings)
	}
	s.Playbooks = []playbook.Playbook{script.Playbook}
	if _, r := build(t, s); !strings.Contains(fmt.Sprint(r.Warnings), "runs a script") {
		t.Errorf("a script: %v", r.Warnings)
	}
}

// TestStickTooSmallSaysHowMuch: a stick that is larger by as much as was missing is enough, and by a MB less it is not.
func TestStickTooSmallSaysHowMuch(t *testing.T) {
	s := spec(t, "amd64")
	s.Size = 20 << 20
	_, err := media.Build(ctx, s, filepath.Join(t.TempDir(), "o"))
	var missing int64
	if err == nil {
		t.Fatal("20 MB were enough")
	}
	_, rest, _ := strings.Cut(err.Error(), "too small: ")
	if _, bad := fmt.Sscanf(rest, "%d MB", &missing); bad != nil || missing < 1 {
		t.Fatalf("%v (%v)", err, bad)
	}
	s.Size = (20 + missing - 1) << 20
	if _, err := media.Build(ctx, s, filepath.Join(t.TempDir(), "o")); err == nil {
		t.Errorf("%d MB would have been enough", s.Size>>20)
	}
	s.Size = (20 + missing) << 20
	if _, err := media.Build(ctx, s, filepath.Join(t.TempDir(), "o")); err != nil {
		t.Errorf("%d MB are not enough: %v", s.Size>>20, err)
	}
}
