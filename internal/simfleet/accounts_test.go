package simfleet_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/simfleet"
)

// only is a fleet of exact numbers; the other machines are clean.
func only(n int, kinds map[simfleet.Kind]int) simfleet.Options {
	return simfleet.Options{Machines: n, Seed: 1, Mix: &simfleet.Mix{}, Exactly: kinds, AllowBasic: true, AllowUnencrypted: true}
}

func ofKind(t *testing.T, f *simfleet.Fleet, kind simfleet.Kind) simfleet.Info {
	t.Helper()
	for _, m := range f.Machines() {
		if m.Kind == kind {
			return m
		}
	}
	t.Fatalf("no machine of kind %s", kind)
	return simfleet.Info{}
}

func TestExactNumbers(t *testing.T) {
	o := only(40, map[simfleet.Kind]int{simfleet.Affected: 17, simfleet.Broken: 4, simfleet.Rejecting: 3, simfleet.CutLogon: 2, simfleet.Endless: 1})
	f, err := simfleet.New(o)
	if err != nil {
		t.Fatal(err)
	}
	got := f.Stats().Kinds
	for kind, n := range map[simfleet.Kind]int{simfleet.Affected: 17, simfleet.Broken: 4, simfleet.Rejecting: 3, simfleet.CutLogon: 2, simfleet.Endless: 1, simfleet.Clean: 13} {
		if got[kind] != n {
			t.Errorf("%d machines are %s, not %d", got[kind], kind, n)
		}
	}
	o.Exactly[simfleet.Affected] = 31
	if _, err := simfleet.New(o); err == nil || !strings.Contains(err.Error(), "add up to 41, and the fleet has 40") {
		t.Errorf("more machines than there are: %v", err)
	}
	o.Exactly = map[simfleet.Kind]int{"odd": 1}
	if _, err := simfleet.New(o); err == nil {
		t.Error("an unknown kind is taken")
	}
}

// A machine that has lost its trust rejects the account without anybody counting it, one that cuts the line leaves it open,
// and a wrong password counts wherever a controller is asked.
func TestSignInsThatGoWrong(t *testing.T) {
	o := only(4, map[simfleet.Kind]int{simfleet.Rejecting: 1, simfleet.CutLogon: 1, simfleet.Affected: 2})
	o.Lockout = 3
	f := start(t, o)
	user, domain, password := f.Account()
	sign := func(kind simfleet.Kind, password string) int {
		c := dial(t, f, ofKind(t, f, kind).Name, "http")
		c.dead = true
		return c.logon(user, domain, password, nil)
	}
	account := func(want simfleet.Account) {
		t.Helper()
		want.Domain, want.User, want.Lockout = domain, user, 3
		if got := f.Accounts(); len(got) != 1 || got[0] != want {
			t.Errorf("%+v, not %+v", got, want)
		}
	}
	if status := sign(simfleet.Rejecting, password.Reveal()); status != http.StatusUnauthorized {
		t.Errorf("a machine without trust answers %d", status)
	}
	account(simfleet.Account{Refused: 1})
	if status := sign(simfleet.CutLogon, password.Reveal()); status != 0 {
		t.Errorf("a machine that cuts the line answers %d", status)
	}
	account(simfleet.Account{Refused: 1, Accepted: 1, Unanswered: 1})
	for range 2 {
		sign(simfleet.CutLogon, "wrong")
	}
	account(simfleet.Account{Refused: 1, Accepted: 1, Unanswered: 3, Wrong: 2, InARow: 2})
	if status := sign(simfleet.Affected, "wrong"); status != http.StatusUnauthorized {
		t.Errorf("a wrong password is answered %d", status)
	}
	account(simfleet.Account{Refused: 2, Accepted: 1, Unanswered: 3, Wrong: 3, InARow: 3, Locked: true})
	if status := sign(simfleet.Affected, password.Reveal()); status != http.StatusUnauthorized {
		t.Errorf("a locked account is answered %d", status)
	}
	if err := f.Unlock(""); err != nil {
		t.Fatal(err)
	}
	if status := sign(simfleet.Affected, password.Reveal()); status != http.StatusOK {
		t.Errorf("the unlocked account is answered %d", status)
	}
}

// The machines of a domain that trusts no other take the account for their own of that name, and their controller counts.
func TestTwoDomains(t *testing.T) {
	for _, distrust := range []bool{false, true} {
		o := only(4, map[simfleet.Kind]int{simfleet.Affected: 4})
		o.Domains, o.Distrust = 2, distrust
		f := start(t, o)
		user, domain, password := f.Account()
		for _, m := range f.Machines() {
			own := m.Domain == domain
			if strings.HasSuffix(m.FQDN, ".fleet.test") != own {
				t.Errorf("%s is in %s", m.FQDN, m.Domain)
			}
			c := dial(t, f, m.Name, "http")
			if status := c.logon(user, domain, password.Reveal(), nil); (status == http.StatusOK) != (own || !distrust) {
				t.Errorf("distrust %v: %s answers %d", distrust, m.FQDN, status)
			}
		}
		accounts := f.Accounts()
		want := []simfleet.Account{{Domain: "FLEET", User: user, Accepted: 4, Lockout: 10}, {Domain: "BRANCH", User: user, Lockout: 10}}
		if distrust {
			want[0].Accepted = 2
			want[1].Refused, want[1].Wrong, want[1].InARow = 2, 2, 2
		}
		if accounts[0] != want[0] || accounts[1] != want[1] {
			t.Errorf("distrust %v: %+v", distrust, accounts)
		}
	}
	if _, err := simfleet.New(simfleet.Options{Distrust: true}); err == nil {
		t.Error("one domain that trusts no other is taken")
	}
}

// A password that is changed at the control address holds for who comes later; who is signed in stays so.
func TestChangedPassword(t *testing.T) {
	f := start(t, only(2, map[simfleet.Kind]int{simfleet.Affected: 2}))
	user, domain, password := f.Account()
	before, after := dial(t, f, first(f), "http"), dial(t, f, first(f), "http")
	if status := before.logon(user, domain, password.Reveal(), nil); status != http.StatusOK {
		t.Fatalf("%d", status)
	}
	post := func(query, body string) (int, []simfleet.Account) {
		reply, err := http.Post(f.Control()+"/password"+query, "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = reply.Body.Close() }()
		var accounts []simfleet.Account
		if reply.StatusCode == http.StatusOK {
			if err := json.NewDecoder(reply.Body).Decode(&accounts); err != nil {
				t.Fatal(err)
			}
		}
		return reply.StatusCode, accounts
	}
	if status, _ := post("?domain=NOBODY", "x"); status != http.StatusNotFound {
		t.Errorf("an unknown domain: %d", status)
	}
	if status, accounts := post("", "Another-1\n"); status != http.StatusOK || len(accounts) != 1 || accounts[0].Accepted != 1 {
		t.Errorf("%d %+v", status, accounts)
	}
	before.create() // fails the test where the session is gone
	if status := after.logon(user, domain, password.Reveal(), nil); status != http.StatusUnauthorized {
		t.Errorf("the old password is answered %d", status)
	}
	again := dial(t, f, first(f), "http")
	if status := again.logon(user, domain, "Another-1", nil); status != http.StatusOK {
		t.Errorf("the new password is answered %d", status)
	}
	if _, _, now := f.Account(); now.Reveal() != "Another-1" {
		t.Error("the fleet knows another password")
	}
	if err := f.ChangePassword("", secret.New("third")); err != nil {
		t.Fatal(err)
	}
}
