package cli

import (
	"os"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fleetmend/fleetmend/internal/simfleet"
)

// directoryCmds are the script commands around the directory.
var directoryCmds = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"signin": signIn, "directory": directoryEdit, "setting": setting,
}

// signIn is the script command `signin FROM TO USER`: settings whose directory is read as another account of the fleet.
func signIn(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: signin FROM TO USER")
	}
	before, section, ok := strings.Cut(ts.ReadFile(args[0]), "directory:\n")
	if !ok {
		ts.Fatalf("%s has no section directory", args[0])
	}
	section = strings.Replace(section, "user: admin@", "user: "+args[2]+"@", 1)
	section = strings.Replace(section, "password-file: password", "password-file: "+args[2]+".password", 1)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(before+"directory:\n"+section), 0o600))
}

// setting is the script command `setting FILE SECTION LINE`: one more line in a section of the settings.
func setting(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: setting FILE SECTION LINE")
	}
	before, after, ok := strings.Cut(ts.ReadFile(args[0]), args[1]+":\n")
	if !ok {
		ts.Fatalf("%s has no section %s", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(before+args[1]+":\n  "+args[2]+"\n"+after), 0o600))
}

// scriptFleets are the fleets of running scripts, by the folder of their files.
var scriptFleets sync.Map

// directoryEdit is the script command `directory DIR set NAME ATTRIBUTE [VALUE]` or `directory DIR delete NAME`: what an
// administrator does to the object of a machine.
func directoryEdit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: directory DIR set NAME ATTRIBUTE [VALUE...] | directory DIR delete NAME")
	}
	found, ok := scriptFleets.Load(ts.MkAbs(args[0]))
	if !ok {
		ts.Fatalf("no fleet in %s", args[0])
	}
	fleet := found.(*simfleet.Fleet) //nolint:errcheck // nothing else is stored
	info, err := fleet.Machine(args[2])
	ts.Check(err)
	dn := "CN=" + info.Name + "," + info.OU
	switch args[1] {
	case "set":
		ts.Check(fleet.Directory().Set(dn, args[3], args[4:]...))
	case "delete":
		ts.Check(fleet.Directory().Delete(dn))
	default:
		ts.Fatalf("no verb %q", args[1])
	}
}
