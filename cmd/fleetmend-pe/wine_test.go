package main

import (
	"bytes"
	"context"
	"debug/pe"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
	"github.com/fleetmend/fleetmend/remediate/media/collect"
	"github.com/fleetmend/fleetmend/remediate/media/compile"
	"github.com/fleetmend/fleetmend/remediate/media/practice"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

func put(t *testing.T, name string, content []byte) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, content, 0o644)); err != nil {
		t.Fatal(err)
	}
	return name
}

func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return strings.TrimSpace(string(out))
}

// compiled is this program as the builder makes it.
func compiled(t *testing.T, arch string) string {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	checkout, ok := compile.Checkout(here)
	if !ok {
		t.Fatal("the tests do not run in a checkout")
	}
	out := filepath.Join(t.TempDir(), "fleetmend-pe.exe")
	if err := compile.Program(t.Context(), checkout, arch, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestNeedsLittleOfWindows: Windows PE is a small Windows. The program imports kernel32 only, and nothing it is made of
// loads libraries for users and networks.
func TestNeedsLittleOfWindows(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the program twice: not with -short")
	}
	for _, arch := range []string{"amd64", "arm64"} {
		f, err := pe.Open(compiled(t, arch))
		if err != nil {
			t.Fatal(err)
		}
		symbols, err := f.ImportedSymbols()
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		var libraries []string
		for _, s := range symbols {
			if _, library, ok := strings.Cut(s, ":"); ok {
				libraries = append(libraries, library)
			}
		}
		if len(libraries) == 0 || slices.ContainsFunc(libraries, func(l string) bool { return !strings.EqualFold(l, "kernel32.dll") }) {
			t.Errorf("%s imports %v", arch, libraries)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", ".")
	cmd.Env = append(cmd.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %s", out)
	}
	for dep := range strings.Lines(string(out)) {
		switch dep = strings.TrimSpace(dep); dep {
		case "os/user", "net", "net/http", "crypto/tls":
			t.Errorf("it is made of %s", dep)
		}
	}
}

// wine makes a prefix that lives as long as the test and returns how to run a program in it.
func wine(t *testing.T) (prefix string, run func(args ...string) (string, error)) {
	t.Helper()
	loader := "/usr/lib/wine/wine64"
	if _, err := os.Stat(loader); err != nil {
		if loader, err = exec.LookPath("wine64"); err != nil {
			t.Skip("Wine is not installed (Debian: wine64)")
		}
	}
	prefix = filepath.Join(t.TempDir(), "prefix")
	env := append(os.Environ(), "WINEPREFIX="+prefix, "WINEDEBUG=-all")
	run = func(args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, loader, args...)
		cmd.Env = env
		// A file, not a pipe: services that Wine starts on the way hold it open long after the program has ended.
		file, err := os.Create(filepath.Join(t.TempDir(), "output"))
		if err != nil {
			return "", err
		}
		defer file.Close()
		cmd.Stdout, cmd.Stderr = file, file
		err = cmd.Run()
		out, reading := os.ReadFile(file.Name())
		return string(out), errors.Join(err, reading)
	}
	stop := func() {
		for _, flag := range []string{"-k", "-w"} { // end it; wait until it has ended
			server := exec.Command("/usr/lib/wine/wineserver", flag) //nolint:noctx // at the end the test's context is over
			server.Env = env
			_ = server.Run() //nolint:errcheck // it may be gone already
		}
	}
	t.Cleanup(stop)
	_, _ = run("cmd", "/c", "exit")
	stop() // what goes on running would not see drives that a test adds
	system := filepath.Join(prefix, "drive_c", "windows", "system32")
	if _, err := os.Stat(system); err != nil {
		t.Skip("Wine makes no prefix here")
	}
	if _, err := os.Stat(filepath.Join(system, "bcryptprimitives.dll")); err != nil { // Wine 8 has none
		command(t, filepath.Join("..", ".."), "go", "run", "./test/interop/bcryptprimitives", filepath.Join(system, "bcryptprimitives.dll"))
	}
	return prefix, run
}

// drives gives folders drive letters.
func drives(t *testing.T, prefix string, folders map[string]string) {
	t.Helper()
	for letter, folder := range folders {
		if err := os.Symlink(folder, filepath.Join(prefix, "dosdevices", letter)); err != nil {
			t.Fatal(err)
		}
	}
}

// bcdeditUnder puts a bcdedit.exe, which Wine does not have, to its place.
func bcdeditUnder(t *testing.T, prefix string) string {
	t.Helper()
	name := filepath.Join(prefix, "drive_c", "windows", "system32", "bcdedit.exe")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", name, "./testdata/bcdedit")
	cmd.Env = append(cmd.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %s", out)
	}
	return name
}

// TestStartedFromMediumUnderWine goes the whole way of a stick: an image is built, its contents become the drives of a
// machine, the program in it is started, finds the Windows of that machine, repairs it and leaves its result.
func TestStartedFromMediumUnderWine(t *testing.T) {
	if os.Getenv("FLEETMEND_LONG") == "" {
		t.Skip("runs Windows programs under Wine for a minute: set FLEETMEND_LONG=1")
	}
	prefix, run := wine(t)
	ctx, work := t.Context(), t.TempDir()
	runs, id := unreached(t, "WINE01")
	image, err := practice.WIM(ctx, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	source, err := playbook.Builtin("crowdstrike-channel-file-291")
	if err != nil {
		t.Fatal(err)
	}
	book, err := source.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	img := filepath.Join(work, "stick.img")
	report, err := media.Build(ctx, media.Spec{
		Source: put(t, filepath.Join(work, "boot.wim"), image), Agent: compiled(t, "amd64"), Format: media.USB,
		Playbooks: []playbook.Playbook{book}, Settings: aboard.Settings{Run: id},
	}, img)
	if err != nil {
		t.Fatal(err)
	}
	stick, ram, disk := filepath.Join(work, "stick"), filepath.Join(work, "ram"), filepath.Join(work, "disk")
	unpack(t, img, stick, ram)

	bad := put(t, filepath.Join(disk, "Windows", "System32", "drivers", "CrowdStrike", "C-00000291-00000000-00000032.sys"), []byte("\xaa\xaa\xaa\xaa\x01\x00\x23\x01bad"))
	good := put(t, filepath.Join(filepath.Dir(bad), "C-00000290-00000000-00000001.sys"), []byte("good"))
	put(t, filepath.Join(disk, "Windows", "System32", "config", "SYSTEM"), practice.SystemHive("WINE01"))
	when := time.Date(2024, 7, 19, 4, 20, 0, 0, time.UTC)
	if err := os.Chtimes(bad, when, when); err != nil {
		t.Fatal(err)
	}
	drives(t, prefix, map[string]string{"d:": disk, "e:": stick, "x:": ram})
	bcdedit := bcdeditUnder(t, prefix)
	put(t, bcdedit+".state", []byte("safeboot                Minimal\r\n"))

	for round := range 2 {
		out, err := run(`X:\fleetmend\fleetmend-pe.exe`, "--no-reboot")
		if err != nil || !strings.Contains(out, "DONE, computer name WINE01") {
			t.Fatalf("start %d: %v\n%s", round+1, err, out)
		}
		files, err := aboard.ReadResults(os.DirFS(stick))
		if err != nil || len(files) != 1 || files[0].Err != nil {
			t.Fatalf("start %d: %+v, %v", round+1, files, err)
		}
		r := files[0].Result
		if r.Outcome != agent.Fixed || r.Medium != report.Medium.ID || r.Machine.Name != "WINE01" || r.Playbooks[0].Volume != `D:\` ||
			r.Playbooks[0].Result.Repeated != (round == 1) {
			t.Errorf("start %d: %+v", round+1, r)
		}
	}
	if _, err := os.Stat(bad); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the bad file is still there (%v)", err)
	}
	if b, err := os.ReadFile(good); err != nil || string(b) != "good" {
		t.Errorf("the good file: %q, %v", b, err)
	}
	if b, err := os.ReadFile(bcdedit + ".state"); err != nil || len(b) != 0 {
		t.Errorf("the machine would start in safe mode again: %q, %v", b, err)
	}
	for reading := range 2 { // what it left counts once
		lines, err := collect.Into(ctx, runs, os.DirFS(stick), collect.Options{})
		if err != nil || len(lines) != 1 || lines[0].Problem != "" || lines[0].Counted != (reading == 0) {
			t.Errorf("reading %d: %+v, %v", reading+1, lines, err)
		}
		if r, err := runs.Run(ctx, id); err != nil || r.Counts[journal.Fixed] != 1 || r.Counts[journal.Unreachable] != 0 {
			t.Errorf("reading %d: %+v, %v", reading+1, r, err)
		}
	}
}

// unreached is a journal with a run that did not reach machine, and the run's name.
func unreached(t *testing.T, machine string) (*journal.Journal, string) {
	t.Helper()
	in := plan.Input{Options: plan.DefaultOptions(), Now: time.Now(), Operator: "ada"}
	in.Source.Playbook.Name = "crowdstrike-channel-file-291"
	in.Entries = []plan.Entry{{Target: route.Target{ID: "m1", Name: machine}, Route: "winrm"}}
	frozen, err := plan.New(in)
	if err != nil {
		t.Fatal(err)
	}
	runs, err := journal.Open(t.Context(), filepath.Join(t.TempDir(), "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = runs.Close() })
	s, err := runs.Create(t.Context(), frozen, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(s.Lease("m1"), s.Finish("m1", journal.End{Outcome: journal.Unreachable, Class: route.Unreachable, Reason: "off"}),
		s.End(journal.RunDone, ""), s.Close())
	if err != nil {
		t.Fatal(err)
	}
	return runs, s.ID()
}

// TestWindowsBuildsTheSameBytes builds a stick with fleetmend.exe under Wine and compares it with one built here.
func TestWindowsBuildsTheSameBytes(t *testing.T) {
	if os.Getenv("FLEETMEND_LONG") == "" {
		t.Skip("runs Windows programs under Wine for a minute: set FLEETMEND_LONG=1")
	}
	_, run := wine(t)
	work := t.TempDir()
	image, err := practice.WIM(t.Context(), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	source, own, theirs := put(t, filepath.Join(work, "boot.wim"), image), filepath.Join(work, "linux.img"), filepath.Join(work, "windows.img")
	agent := compiled(t, "amd64")
	book, err := playbook.Builtin("crowdstrike-channel-file-291")
	if err != nil {
		t.Fatal(err)
	}
	bound, err := book.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := media.Build(t.Context(), media.Spec{Source: source, Agent: agent, Format: media.USB, Playbooks: []playbook.Playbook{bound}}, own); err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(work, "fleetmend.exe")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", exe, "../fleetmend")
	cmd.Env = append(cmd.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %s", out)
	}
	z := func(name string) string { return "Z:" + strings.ReplaceAll(name, "/", `\`) }
	if out, err := run(z(exe), "media", "build", z(source), "--agent", z(agent), "-p", "crowdstrike-channel-file-291", "--out", z(theirs)); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	a, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(theirs)
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("%d and %d bytes that differ, %v", len(a), len(b), err)
	}
}

func unpack(t *testing.T, img, stick, ram string) {
	t.Helper()
	m, err := media.OpenMedium(img)
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
	inside, err := w.FS(w.BootIndex())
	if err = errors.Join(err, os.CopyFS(stick, m.FS), os.CopyFS(ram, inside)); err != nil {
		t.Fatal(err)
	}
}
