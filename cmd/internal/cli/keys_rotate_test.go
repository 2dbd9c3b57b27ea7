package cli

import (
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fleetmend/fleetmend/internal/simfleet"
)

var rotateCmds = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"escrow": escrowFault, "protector": protectorOf, "wantprotector": wantProtector, "plantkeys": plantKeys, "tenantapp": tenantApp,
}

func scriptFleet(ts *testscript.TestScript, dir string) *simfleet.Fleet {
	found, ok := scriptFleets.Load(ts.MkAbs(dir))
	if !ok {
		ts.Fatalf("no fleet in %s", dir)
	}
	return found.(*simfleet.Fleet) //nolint:errcheck // nothing else is stored
}

// escrowFault is the script command `escrow DIR on|off NAME`: off, no directory takes a recovery password from the machine.
func escrowFault(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: escrow DIR on|off NAME")
	}
	ts.Check(scriptFleet(ts, args[0]).SetFaults(args[2], simfleet.Faults{NoEscrow: args[1] == "off"}))
}

func protectorIDs(ts *testscript.TestScript, dir, name string) (ids []string) {
	protectors, err := scriptFleet(ts, dir).Protectors(name)
	ts.Check(err)
	for _, p := range protectors {
		if p.Volume == "C:" {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// protectorOf is the script command `protector DIR NAME VARIABLE`: the ID of the only recovery password that opens C: now.
func protectorOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: protector DIR NAME VARIABLE")
	}
	ids := protectorIDs(ts, args[0], args[1])
	if len(ids) != 1 {
		ts.Fatalf("%s has %d recovery passwords: %v", args[1], len(ids), ids)
	}
	ts.Setenv(args[2], ids[0])
}

// wantProtector is the script command `[!] wantprotector DIR NAME ID`: that recovery password opens C: now, and no other
// does; or it does not.
func wantProtector(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: [!] wantprotector DIR NAME ID")
	}
	if ids := protectorIDs(ts, args[0], args[1]); len(ids) != 1 || slices.Contains(ids, args[2]) == neg {
		ts.Fatalf("C: of %s is opened by %v", args[1], ids)
	}
}

// plantKeys is the script command `plantkeys DIR FILE`: every recovery password of the fleet, for nopassword to search for.
func plantKeys(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: plantkeys DIR FILE")
	}
	fleet := scriptFleet(ts, args[0])
	var b strings.Builder
	for _, m := range fleet.Machines() {
		escrowed, err := fleet.RecoveryKeys(m.Name)
		ts.Check(err)
		tenant, err := fleet.TenantKeys(m.Name)
		ts.Check(err)
		now, err := fleet.Protectors(m.Name)
		ts.Check(err)
		for _, k := range append(escrowed, tenant...) {
			b.WriteString(k.Password.Reveal() + "\n")
		}
		for _, p := range now {
			b.WriteString(p.Password.Reveal() + "\n")
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(b.String()), 0o600))
}

var clientID = regexp.MustCompile(`(?m)^  client-id: .*$`)

// tenantApp is the script command `tenantapp DIR NAME`: the settings sign in to the tenant as another application.
func tenantApp(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: tenantapp DIR NAME")
	}
	id, _, err := scriptFleet(ts, args[0]).TenantApp(args[1])
	ts.Check(err)
	file := args[0] + "/fleetmend.yaml"
	text := clientID.ReplaceAllString(ts.ReadFile(file), "  client-id: "+id)
	text = regexp.MustCompile(`entra-[a-z]+\.secret`).ReplaceAllString(text, "entra-"+args[1]+".secret")
	ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
}
