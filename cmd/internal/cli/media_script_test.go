package cli

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/media/pe"
	"github.com/fleetmend/fleetmend/remediate/media/practice"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

// mediaCmds are the script commands for media.
var mediaCmds = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"practice":     makePractice,
	"unpack":       unpackMedium,
	"startmachine": startMachine,
	"machine":      nameMachine,
}

// makePractice is the script command `practice wim|pe FILE ARCH`.
func makePractice(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: practice wim|pe FILE ARCH")
	}
	content := practice.Loader(args[2])
	if args[0] == "wim" {
		var err error
		content, err = practice.WIM(context.Background(), args[2])
		ts.Check(err)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), content, 0o600))
}

// unpackMedium is the script command `unpack IMAGE STICK RAM`: the files of a stick, and those of the image that it starts.
func unpackMedium(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: unpack IMAGE STICK RAM")
	}
	m, err := media.OpenMedium(ts.MkAbs(args[0]))
	ts.Check(err)
	defer m.Close()
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), m.FS))
	b, err := fs.ReadFile(m.FS, "sources/boot.wim")
	ts.Check(err)
	w, err := wim.Open(bytes.NewReader(b), int64(len(b)))
	ts.Check(err)
	image, err := w.FS(w.BootIndex())
	ts.Check(err)
	ts.Check(os.CopyFS(ts.MkAbs(args[2]), image))
}

// startMachine is the script command `startmachine NAME STICK RAM`: what the program on the medium does on a broken
// machine of that name.
func startMachine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: startmachine NAME STICK RAM")
	}
	disk := filepath.Join(ts.MkAbs("."), "disk-"+args[0])
	bad := filepath.Join(disk, "Windows", "System32", "drivers", "CrowdStrike", "C-00000291-00000000-00000032.sys")
	hive := filepath.Join(disk, "Windows", "System32", "config", "SYSTEM")
	for name, text := range map[string]string{bad: "\xaa\xaa\xaa\xaa\x01\x00\x23\x01bad", hive: string(practice.SystemHive(args[0]))} {
		ts.Check(os.MkdirAll(filepath.Dir(name), 0o700))
		ts.Check(os.WriteFile(name, []byte(text), 0o600))
	}
	when := time.Date(2024, 7, 19, 4, 20, 0, 0, time.UTC)
	ts.Check(os.Chtimes(bad, when, when))
	_, _, err := pe.Run(context.Background(), pe.Options{
		Base: filepath.Join(ts.MkAbs(args[2]), "fleetmend"), System: testMachine{ts.MkAbs(args[1]), disk}, Out: ts.Stdout(),
	})
	ts.Check(err)
}

// testMachine has a stick, a disk, and an empty boot configuration.
type testMachine []string

func (testMachine) LoadDriver(context.Context, string) error { return nil }
func (m testMachine) Drives() []string                       { return m }
func (testMachine) Firmware() []byte                         { return nil }
func (testMachine) BootEdit(context.Context, ...string) ([]string, int, error) {
	return nil, 0, nil
}
func (testMachine) LoadHive(string) (pe.Hive, error) {
	return nil, errors.New("the machine of the test loads no registry files")
}

// nameMachine is the script command `machine`: it sets MACHINE to the first line of the last output.
func nameMachine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: machine")
	}
	name, _, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
	ts.Setenv("MACHINE", name)
}
