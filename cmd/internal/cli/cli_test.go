package cli

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fleetmend/fleetmend/internal/desk/demo"
	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

func TestMain(m *testing.M) {
	if os.Getenv("FLEETMEND_TEST_AS_COMMAND") != "" {
		os.Exit(Main(os.Args[1:]))
	}
	// A script waits for simulated machines more than it computes: more of them go at once than there are processors.
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){
		"fleetmend": func() { os.Exit(Main(os.Args[1:])) },
	})
}

// TestScripts runs testdata/script/*.txtar: every command as a user types it, with its exit code.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, ".state"))
			env.Setenv("LOCALAPPDATA", filepath.Join(env.WorkDir, ".state"))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, ".config"))
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
		Cmds: scriptCmds(),
		Condition: func(word string) (bool, error) {
			if word != "long" {
				return false, fmt.Errorf("no condition %q", word)
			}
			return os.Getenv("FLEETMEND_LONG") != "", nil
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

func scriptCmds() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	cmds := map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"fleet":        startFleet,
		"failedlogons": failedLogons,
		"replace":      replaceInFile,
		"locked":       lockJournal,
		"unlocked":     unlockJournal,
		"wantexit":     wantExit,
	}
	maps.Copy(cmds, mediaCmds)
	maps.Copy(cmds, directoryCmds)
	maps.Copy(cmds, keysCmds)
	maps.Copy(cmds, rotateCmds)
	maps.Copy(cmds, proposedCmds)
	maps.Copy(cmds, textCmds)
	return cmds
}

// startFleet is the script command `fleet DIR N SEED [key=value...]`: a simulated fleet in this process until the script ends.
func startFleet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: fleet DIR MACHINES SEED [broken=SHARE] [unreachable=SHARE] [plain=yes [silent=SHARE]] [reject=N] [cut=N] [narrow=N] [signed-only=N] [distrust=yes]")
	}
	flags, plain, distrust, exactly := demo.Fleet{Broken: -1, Silent: -1}, false, false, map[simfleet.Kind]int{}
	mix := simfleet.Mix{Affected: .6}
	var err error
	flags.Machines, err = strconv.Atoi(args[1])
	ts.Check(err)
	flags.Seed, err = strconv.ParseUint(args[2], 10, 64)
	ts.Check(err)
	for _, arg := range args[3:] {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "broken":
			flags.Broken, err = strconv.ParseFloat(value, 64)
		case "silent": // with plain: these refuse connections, and nothing else is odd
			mix.Refused, err = strconv.ParseFloat(value, 64)
		case "plain": // every machine answers
			plain = value == "yes"
		case "reject":
			exactly[simfleet.Rejecting], err = strconv.Atoi(value)
		case "cut":
			exactly[simfleet.CutLogon], err = strconv.Atoi(value)
		case string(simfleet.Narrow), string(simfleet.SignedOnly):
			exactly[simfleet.Kind(key)], err = strconv.Atoi(value)
		case "distrust": // the second of two domains
			distrust = value == "yes"
		case "unreachable":
			flags.Silent, err = strconv.ParseFloat(value, 64)
		default:
			err = fmt.Errorf("no option %q", key)
		}
		ts.Check(err)
	}
	options, err := flags.Options()
	ts.Check(err)
	if plain {
		options.Mix = &mix
	}
	if options.Exactly = exactly; distrust {
		options.Domains, options.Distrust = 2, true
	}
	fleet, err := simfleet.New(options)
	ts.Check(err)
	ts.Check(fleet.Start(context.Background()))
	ts.Defer(func() { fleet.Close() })
	ts.Setenv("LDAPS", fleet.LDAPS())
	ts.Setenv("CONTROL", fleet.Control())
	ts.Setenv("INCIDENT", fleet.Incident().Format(time.RFC3339))
	ts.Check(fleet.Write(ts.MkAbs(args[0])))
	scriptFleets.Store(ts.MkAbs(args[0]), fleet)
}

// wantExit is the script command `wantexit CODE fleetmend ARG...`: it runs the command and wants exactly that exit code.
func wantExit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: wantexit CODE COMMAND [ARG...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if err != nil {
		var text string
		if _, scanErr := fmt.Sscanf(err.Error(), "exit status %d", &code); scanErr != nil {
			text = err.Error()
			ts.Fatalf("%s", text)
		}
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// failedLogons is the script command `failedlogons N`: the fleet has seen exactly N logons fail.
func failedLogons(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: failedlogons N")
	}
	answer, err := http.Get(ts.Getenv("CONTROL") + "/stats") //nolint:noctx // a test's own loopback server
	ts.Check(err)
	defer answer.Body.Close()
	var stats simfleet.Stats
	ts.Check(json.NewDecoder(answer.Body).Decode(&stats))
	if strconv.FormatInt(stats.FailedLogons, 10) != args[0] {
		ts.Fatalf("%d failed logons, want %s", stats.FailedLogons, args[0])
	}
}

// replaceInFile is the script command `replace FILE OLD NEW`.
func replaceInFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s holds no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(text, args[1], args[2])), 0o600))
}

// lockJournal is the script command `locked DIR`: somebody else carries out a run in the journal in DIR until `unlocked`.
func lockJournal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: locked DIR")
	}
	ctx := context.Background()
	j, err := journal.Open(ctx, filepath.Join(ts.MkAbs(args[0]), "journal.db"))
	ts.Check(err)
	source, err := playbook.Builtin("safeboot-off")
	ts.Check(err)
	bound, err := source.Bind(nil)
	ts.Check(err)
	frozen, err := plan.New(plan.Input{
		Entries: []plan.Entry{{Target: route.Target{ID: "1", Name: "WS1", Address: "ws1"}, Route: "winrm"}},
		Source:  plan.Source{Playbook: bound, Digest: source.Digest}, Options: plan.DefaultOptions(), Now: time.Now(),
	})
	ts.Check(err)
	session, err := j.Create(ctx, frozen, nil)
	ts.Check(err)
	release := sync.OnceFunc(func() {
		_ = session.Close()
		_ = j.Close()
	})
	ts.Defer(release)
	held.Store(ts, release)
}

// held maps a script to what ends its run.
var held sync.Map

func unlockJournal(ts *testscript.TestScript, _ bool, _ []string) {
	if release, ok := held.LoadAndDelete(ts); ok {
		release.(func())()
	}
}
