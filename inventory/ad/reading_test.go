package ad

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/inventory"
)

var now = time.Date(2024, 7, 20, 0, 0, 0, 0, time.UTC)

// at makes a reading of fleet.test, as far as it needs no connection, after one that left before.
func at(before inventory.Before) *reading {
	r := &reading{Source: &Source{}, before: before, objects: map[string]*object{}, emit: func(inventory.Record) error { return nil },
		Result: Result{LeftOut: map[string]int{}, left: map[string]inventory.LeftOut{}, Missing: map[string]error{}, groups: map[string]string{}, at: now}}
	r.next = cursor{Version: cursorVersion, Scope: r.scope(), Domains: map[string]mark{}}
	r.domains = []*domain{{reading: r, conn: &directory.Conn{}, name: "fleet.test", mark: mark{"copy-1", 100}, rids: map[string]string{}, members: map[string]*membership{}}}
	return r
}

// see lets a computer answer the roll.
func (r *reading) see(key, dn string, usn int64, groups ...string) *object {
	o := &object{domain: r.domains[0], key: key, dn: dn, usn: usn, groups: groups}
	r.objects[key] = o
	return o
}

// TestWholeReadingsComeByThemselves: each reason for reading everything, and none where nothing speaks for it.
func TestWholeReadingsComeByThemselves(t *testing.T) {
	usual := cursor{Version: cursorVersion, Scope: (&Source{}).scope(), Whole: now.Add(-time.Hour), Changes: 3, Domains: map[string]mark{"fleet.test": {"copy-1", 100}}}
	for _, c := range []struct {
		why    string
		change func(*cursor)
	}{
		{"", func(*cursor) {}},
		{"", func(c *cursor) { c.Whole = now.Add(-wholeAge + time.Minute) }},
		{"the last whole reading was 7 days ago", func(c *cursor) { c.Whole = now.Add(-wholeAge) }},
		{"", func(c *cursor) { c.Changes = wholeCount - 1 }},
		{"20 readings since the last whole one", func(c *cursor) { c.Changes = wholeCount }},
		{"noted for a time to come", func(c *cursor) { c.Whole = now.Add(time.Minute) }},
		{"another version", func(c *cursor) { c.Version = 1 }},
		{"the scope is another", func(c *cursor) { c.Scope = "" }},
		{"another domain controller answers for fleet.test", func(c *cursor) { c.Domains = map[string]mark{"fleet.test": {"copy-2", 100}} }},
		{"another domain controller answers for fleet.test", func(c *cursor) { c.Domains = nil }},
		{"was set back to an earlier state", func(c *cursor) { c.Domains = map[string]mark{"fleet.test": {"copy-1", 101}} }},
	} {
		was := usual
		c.change(&was)
		text, err := json.Marshal(was)
		if err != nil {
			t.Fatal(err)
		}
		if got := at(inventory.Before{Cursor: string(text)}).whyWhole(); (got == "") != (c.why == "") || !strings.Contains(got, c.why) {
			t.Errorf("%q, want %q", got, c.why)
		}
	}
	if got := at(inventory.Before{Cursor: "4711"}).whyWhole(); got == "" {
		t.Error("a note that cannot be read was taken")
	}
}

// TestOldComputerThatIsNewToUsMeansNewRights, unless groups limit the scope: who joins one did not change himself.
func TestOldComputerThatIsNewToUsMeansNewRights(t *testing.T) {
	r := at(inventory.Before{Stamps: map[string]string{"a": "fleet.test x"}, LeftOut: map[string]inventory.LeftOut{"b": {}}})
	r.prev.Domains = map[string]mark{"fleet.test": {"copy-1", 50}}
	r.see("a", "CN=A", 10)
	r.see("b", "CN=B", 10)
	r.see("new", "CN=NEW", 51)
	if why := r.strange(); why != "" {
		t.Error(why)
	}
	r.see("c", "CN=C", 50)
	if why := r.strange(); !strings.Contains(why, "new rights") {
		t.Errorf("%q", why)
	}
	r.wanted = []string{"cn=tills"}
	if why := r.strange(); why != "" {
		t.Error(why)
	}
}

// TestStampFollowsEverythingThatMatters: another stamp for another state, the same for the same, in whatever order it comes.
func TestStampFollowsEverythingThatMatters(t *testing.T) {
	stamp := func(change func(*object)) string {
		r := at(inventory.Before{})
		d := r.domains[0]
		d.rids["515"] = "CN=Domain Computers"
		d.edges = map[string][]string{"cn=tills": {"CN=All"}, "cn=all": {"CN=Tills", "CN=Top"}} // a cycle
		o := r.see("a", "CN=A,OU=X", 7, "CN=Tills", "CN=Other")
		o.primary = "515"
		change(o)
		return o.stamp()
	}
	same := stamp(func(*object) {})
	if again := stamp(func(o *object) { slices.Reverse(o.groups) }); again != same {
		t.Error("the order of groups changes the stamp")
	}
	for what, change := range map[string]func(*object){
		"the computer changed": func(o *object) { o.usn++ }, "its OU was renamed": func(o *object) { o.dn = "CN=A,OU=Y" },
		"it left a group": func(o *object) { o.groups = o.groups[:1] }, "its primary group changed": func(o *object) { o.primary = "516" },
		"its group left another":          func(o *object) { o.domain.edges["cn=all"] = nil },
		"another copy of the directory":   func(o *object) { o.domain.mark.Invocation = "copy-2" },
		"a name that swallows the number": func(o *object) { o.usn, o.dn = 0, "7CN=A,OU=X" },
	} {
		if stamp(change) == same {
			t.Errorf("%s, and the stamp is the same", what)
		}
	}
	if !strings.HasPrefix(same, "fleet.test ") {
		t.Error(same)
	}
}

// TestWhoIsGone: who is known and did not answer, but for those of a domain that could not be asked.
func TestWhoIsGone(t *testing.T) {
	r := at(inventory.Before{
		Stamps:  map[string]string{"here": "fleet.test x", "gone": "fleet.test x", "away": "other.test x", "old": "", "linux": "fleet.test x"},
		LeftOut: map[string]inventory.LeftOut{"printer": {Why: "not Windows", Stamp: "other.test y"}, "host": {Why: "not Windows", Stamp: "fleet.test y"}},
	})
	r.Missing["other.test"] = errors.New("no domain controller answers")
	r.see("here", "CN=HERE", 1)
	linux := r.see("linux", "CN=LINUX", 1)
	linux.read, linux.leftOut = true, "not Windows"
	if err := r.conclude(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.Gone, []string{"gone", "linux"}) || !slices.Equal(r.unread, []string{"away", "old"}) || r.Called != 1 {
		t.Errorf("gone %q, not asked for %q, called %d", r.Gone, r.unread, r.Called)
	}
	if len(r.left) != 2 || r.left["printer"].Why == "" || r.left["linux"].Why == "" || r.LeftOut["not Windows"] != 2 || r.Result.groups != nil {
		t.Errorf("left out %v, groups %v", r.left, r.Result.groups)
	}
}
