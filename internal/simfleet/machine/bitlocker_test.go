package machine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/simfleet/machine"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// locked makes a machine whose volume C: has n recovery passwords; record gets every password that is escrowed, with the
// protectors that were there at that moment.
func locked(t *testing.T, n int, language string, escrow func(to machine.Escrow, v machine.Volume, p machine.Protector) error) *machine.Machine {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(n), 5))
	v := machine.Volume{Letter: "C:"}
	for range n {
		v.Protectors = append(v.Protectors, machine.NewProtector(r))
	}
	return machine.New(machine.Spec{Name: "FRA-WS-1", FQDN: "fra-ws-1.fleet.test", Product: "Windows 11 Enterprise", Build: 22631, Seed: 7,
		Volumes: []machine.Volume{v}, Language: language, Escrow: escrow})
}

// ask sends the agent's own envelope with the built-in playbook.
func ask(t *testing.T, m *machine.Machine, mode agent.Mode, parameters map[string]string) (agent.Result, string) {
	t.Helper()
	source, err := playbook.Builtin("rotate-recovery-password")
	if err != nil {
		t.Fatal(err)
	}
	bound, err := source.Bind(parameters)
	if err != nil {
		t.Fatal(err)
	}
	nonce := agent.Nonce()
	stdin, err := agent.Encode(agent.Request{Run: "rotate-1", Nonce: nonce, Mode: mode, Playbook: bound})
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr, _ := run(m, agent.CommandLine(), string(stdin))
	result, err := agent.Decode([]byte(stdout), nonce)
	if err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	return result, stdout + stderr
}

func ids(m *machine.Machine) (out []string) {
	for _, p := range m.Volumes()[0].Protectors {
		out = append(out, p.ID())
	}
	return out
}

// TestRotatePlaybook runs the bodies of the built-in playbook, as they are, on the simulated cmd and manage-bde.
func TestRotatePlaybook(t *testing.T) {
	for _, test := range []struct {
		name     string
		n        int
		language string
		which    func(ids []string) string // protector; nil for all
		escrow   string
		refuse   machine.Escrow
		outcome  string
		message  string
		left     int // of the old ones
		fresh    int // new ones of a rotation that failed
		places   []machine.Escrow
	}{
		{name: "one", n: 1, outcome: agent.Fixed, places: []machine.Escrow{machine.EscrowAD}},
		{name: "three, in German", n: 3, language: "de", outcome: agent.Fixed, places: []machine.Escrow{machine.EscrowAD}},
		{name: "the one that was used", n: 2, which: func(ids []string) string { return strings.ToLower(ids[1]) }, outcome: agent.Fixed, left: 1, places: []machine.Escrow{machine.EscrowAD}},
		{name: "both places", n: 1, escrow: "both", outcome: agent.Fixed, places: []machine.Escrow{machine.EscrowEntra, machine.EscrowAD}},
		{name: "not escrowed", n: 2, refuse: machine.EscrowAD, outcome: agent.Failed, message: "ended with 23", left: 2},
		{name: "Entra ID refuses the first of two", n: 1, escrow: "both", refuse: machine.EscrowEntra, outcome: agent.Failed, message: "ended with 23", left: 1},
		{name: "AD refuses the second of two", n: 1, escrow: "both", refuse: machine.EscrowAD, outcome: agent.Failed, message: "ended with 25", left: 1, fresh: 1, places: []machine.Escrow{machine.EscrowEntra}},
		{name: "no such protector", n: 1, which: func([]string) string { return "11111111-2222-3333-4444-555555555555" }, outcome: agent.Clean, left: 1},
		{name: "not encrypted", n: 0, outcome: agent.Clean},
	} {
		t.Run(test.name, func(t *testing.T) {
			var before []string
			var places []machine.Escrow
			m := locked(t, test.n, test.language, func(to machine.Escrow, v machine.Volume, p machine.Protector) error {
				for _, old := range before {
					if !slices.ContainsFunc(v.Protectors, func(k machine.Protector) bool { return k.ID() == old }) {
						t.Errorf("%s was gone before the new one was escrowed to %s", old, to)
					}
				}
				if to == test.refuse {
					return errors.New("nobody takes it")
				}
				places = append(places, to)
				return nil
			})
			before = ids(m)
			parameters := map[string]string{}
			if test.which != nil {
				parameters["protector"] = test.which(before)
			}
			if test.escrow != "" {
				parameters["escrow"] = test.escrow
			}
			if result, out := ask(t, m, agent.Detect, parameters); !slices.Equal(ids(m), before) || (result.Outcome == agent.Clean) != (test.outcome == agent.Clean) {
				t.Errorf("detect: %+v\n%s", result, out)
			}
			passwords := m.Volumes()[0].Protectors
			result, out := ask(t, m, agent.Fix, parameters)
			if result.Outcome != test.outcome || !strings.Contains(result.Message, test.message) || !slices.Equal(places, test.places) {
				t.Fatalf("%+v, escrowed to %v\n%s", result, places, out)
			}
			after := ids(m)
			kept := slices.DeleteFunc(slices.Clone(after), func(id string) bool { return !slices.Contains(before, id) })
			fresh := len(after) - len(kept)
			if len(kept) != test.left || fresh != test.fresh+map[bool]int{true: 1}[test.outcome == agent.Fixed] {
				t.Errorf("before %v, after %v", before, after)
			}
			for _, p := range append(passwords, m.Volumes()[0].Protectors...) {
				if strings.Contains(fmt.Sprintf("%s %+v", out, result), p.Password.Reveal()) {
					t.Error("a password is in what the agent says")
				}
			}
			if test.outcome == agent.Fixed {
				note := result.Steps[0].Note
				if _, after, ok := strings.Cut(note, "new recovery password {"+ids(m)[len(after)-1]+"}, removed {"); !ok || strings.Count(after, "}") != test.n-test.left {
					t.Errorf("note %q", note)
				}
			}
		})
	}
}

func TestManageBDE(t *testing.T) {
	m := locked(t, 1, "de", nil)
	id, password := ids(m)[0], m.Volumes()[0].Protectors[0].Password.Reveal()
	for _, test := range []struct {
		line, stdout string
		exit         uint32
	}{
		{line: "manage-bde -status", stdout: "Numerisches Kennwort"},
		{line: "manage-bde -protectors -get C:", stdout: password},
		{line: "manage-bde.exe -protectors -get c: -Type TPM", stdout: "PCR"},
		{line: "manage-bde -protectors -get C: -id {11111111-2222-3333-4444-555555555555}", stdout: "FEHLER", exit: 0x80310033},
		{line: "manage-bde -protectors -get D:", stdout: "0x80310008", exit: 0x80310008},
		{line: "manage-bde -protectors -adbackup C: -id {" + id + "}", stdout: "0x8007054b", exit: 0x8007054b},
		{line: "manage-bde -protectors -add C:", stdout: "0x80070057", exit: 0x80070057},
		{line: "manage-bde -protectors -delete C: -id {" + id + "}", stdout: id},
		{line: "manage-bde -protectors -get C: -Type RecoveryPassword", stdout: "FEHLER", exit: 0x80310033},
		{line: encoded("manage-bde -status"), stdout: "TPM"},
	} {
		if stdout, stderr, exit := run(m, test.line, ""); !strings.Contains(stdout, test.stdout) || exit != test.exit {
			t.Errorf("%s: exit %x\n%s%s", test.line, exit, stdout, stderr)
		}
	}
}

func TestIntuneRotates(t *testing.T) {
	var got []machine.Escrow
	m := locked(t, 2, "", func(to machine.Escrow, _ machine.Volume, _ machine.Protector) error {
		got = append(got, to)
		return nil
	})
	before := ids(m)
	if err := m.Rotate(machine.EscrowEntra, machine.EscrowAD); err != nil || len(ids(m)) != 1 || slices.Contains(before, ids(m)[0]) || len(got) != 2 {
		t.Errorf("%v: %v, %v", err, ids(m), got)
	}
	deaf := locked(t, 2, "", nil)
	before = ids(deaf)
	if err := deaf.Rotate(machine.EscrowEntra); err == nil || !slices.Equal(before, ids(deaf)) {
		t.Errorf("%v: %v", err, ids(deaf))
	}
}
