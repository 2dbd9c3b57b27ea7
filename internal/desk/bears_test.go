package desk_test

import (
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/inventory"
)

// What an account bears is half of what locks it, and where nobody tells, what locks hardly an account anywhere.
func TestWhatAnAccountBears(t *testing.T) {
	now := time.Now()
	of := func(n int) inventory.Lockout { return inventory.Lockout{Threshold: n, Window: 10 * time.Minute} }
	said := func(domain int, own map[string]inventory.Lockout, hidden bool) inventory.Lockouts {
		return inventory.Lockouts{DNS: "fleet.test", NetBIOS: "FLEET", Domain: of(domain), Own: own, Hidden: hidden, ReadAt: now}
	}
	admin := func(n int) map[string]inventory.Lockout { return map[string]inventory.Lockout{"admin": of(n)} }
	old := said(10, admin(10), false)
	old.ReadAt = now.Add(-40 * 24 * time.Hour)
	for _, c := range []struct {
		user  string
		said  inventory.Lockouts
		limit int
		known bool
		why   string
	}{
		{`FLEET\Admin`, said(10, admin(10), false), 5, true, "half of FLEET's threshold of 10"},
		{`admin@fleet.test`, said(11, admin(11), true), 5, true, "half of FLEET's threshold of 11"},
		{`fleet.test\admin`, said(3, admin(3), false), 1, true, "half of FLEET's threshold of 3"},
		{`FLEET\admin`, said(2, admin(2), false), 1, true, "half of FLEET's threshold of 2"},
		{`FLEET\admin`, said(1, admin(1), false), 1, true, "fewer cannot be, though one wrong password locks it in FLEET"},
		{`FLEET\admin`, said(0, admin(0), false), 10, true, "FLEET locks no account"},
		{`FLEET\admin`, said(100, admin(100), false), 10, true, "less than half of FLEET's threshold of 100"},
		{`FLEET\admin`, said(20, admin(6), false), 3, true, "half of the threshold of 6 that FLEET has for admin"},
		{`FLEET\admin`, said(20, admin(0), false), 10, true, "FLEET never locks admin"},
		{`FLEET\other`, said(20, admin(20), false), 2, false, "FLEET did not say what holds for other, `fleetmend inventory sync` asks"},
		{`FLEET\admin`, said(20, nil, true), 2, false, "whether FLEET has a threshold of its own for admin is hidden from the account that reads the directory"},
		{`FLEET\admin`, old, 2, false, "what FLEET said of its threshold is 40 days old, `fleetmend inventory sync` asks again"},
		{`corp\admin`, said(20, admin(20), false), 2, false, "the threshold of CORP is not known, `fleetmend inventory sync` asks for it"},
		{`.\admin`, said(20, admin(20), false), 2, false, "nobody tells after how many wrong passwords machines lock accounts of their own"},
	} {
		got := desk.BearsOf([]inventory.Lockouts{{DNS: "other.test"}, c.said}, c.user, now)
		if got.Rule.Limit != c.limit || got.Known != c.known || got.Why != c.why {
			t.Errorf("%s: %+v", c.user, got)
		}
		if want := map[bool]time.Duration{true: 10 * time.Minute, false: 30 * time.Minute}[c.known]; got.Rule.Window != want {
			t.Errorf("%s: for %s", c.user, got.Rule.Window)
		}
	}
}

// Other domains have thresholds of their own, by either of their names; what they did not tell, or long ago, is not assumed.
func TestWhatAnAccountBearsElsewhere(t *testing.T) {
	now := time.Now()
	said := func(dns, netbios string, threshold int) inventory.Lockouts {
		return inventory.Lockouts{DNS: dns, NetBIOS: netbios, Domain: inventory.Lockout{Threshold: threshold, Window: time.Hour}, ReadAt: now}
	}
	home, branch, lab, plant, old := said("fleet.test", "FLEET", 50), said("branch.test", "BRANCH", 4), said("lab.test", "LAB", 9), said("plant.test", "PLANT", 9), said("old.test", "OLD", 9)
	home.Own = map[string]inventory.Lockout{"admin": home.Domain}
	lab.Own = map[string]inventory.Lockout{"admin": {Threshold: 6, Window: time.Minute}}
	plant.Hidden, old.ReadAt = true, now.Add(-40*24*time.Hour)
	all := []inventory.Lockouts{home, branch, lab, plant, old}
	rule := desk.RuleOf(all, `FLEET\admin`, now)
	if rule.Limit != 10 || rule.Safe != 25 || len(rule.Elsewhere) != 4 {
		t.Errorf("%+v", rule)
	}
	for name, want := range map[string]int{"BRANCH": 2, "BRANCH.TEST": 2, "LAB": 3, "PLANT": 0, "OLD": 0, "FLEET": 0} {
		if got := rule.Elsewhere[name]; got.Limit != want || name == "LAB" && got.Window != time.Minute {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if rule := desk.RuleOf(all, `.\admin`, now); rule.Safe != 0 || len(rule.Elsewhere) > 0 {
		t.Errorf("an account of each machine: %+v", rule)
	}
}
