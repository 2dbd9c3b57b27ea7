package directory_test

import (
	"errors"
	"testing"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/leaktest"
	"github.com/fleetmend/fleetmend/internal/simfleet"
)

// TestACallerThatHasEnoughEndsTheReadingAhead: whether it ends at once or behind what was read ahead of it, nothing is left behind
// and the connection is as good as before; and whoever takes everything gets each entry once, in the order of the directory.
func TestACallerThatHasEnoughEndsTheReadingAhead(t *testing.T) {
	leaktest.Check(t)
	f, err := simfleet.New(simfleet.Options{Machines: 1500, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.StartDirectory(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	user, _, _ := f.Account()
	password, err := f.DirectoryPassword(user)
	if err != nil {
		t.Fatal(err)
	}
	c, err := directory.Dial(t.Context(), directory.Config{Domain: "fleet.test", DCs: []directory.DC{{Host: "localhost", Address: f.LDAPS()}}, Method: directory.SimpleLDAPS,
		RootCAs: f.CA(), Credential: directory.Credential{User: user + "@fleet.test", Password: password}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var all []string
	query := directory.Query{Filter: directory.Computers, PageSize: 100}
	sum, err := c.Search(t.Context(), query, func(e *directory.Entry) error { all = append(all, e.DN); return nil })
	if err != nil || sum.Entries != len(all) || len(all) < 1500 || sum.Pages != (len(all)+99)/100 {
		t.Fatalf("%d entries, %+v, %v", len(all), sum, err)
	}
	whole := sum.Pages
	seen := map[string]bool{}
	for _, dn := range all {
		seen[dn] = true
	}
	if len(seen) != len(all) {
		t.Errorf("%d entries, %d of them different", len(all), len(seen))
	}
	full := errors.New("the store is full")
	for _, after := range []int{1, 64, 65, 1100, len(all)} {
		n := 0
		sum, err := c.Search(t.Context(), query, func(e *directory.Entry) error {
			if n++; e.DN != all[n-1] {
				t.Errorf("entry %d is %s, was %s", n, e.DN, all[n-1])
			}
			if n == after {
				return full
			}
			return nil
		})
		if !errors.Is(err, full) || n != after || sum.Entries != after {
			t.Errorf("after %d: %d entries, %+v, %v", after, n, sum, err)
		}
		if after == 1 && sum.Pages >= whole { // it cannot be so far ahead
			t.Errorf("after %d: %d pages were read", after, sum.Pages)
		}
		query := query
		query.Limit = after
		n = 0
		sum, err = c.Search(t.Context(), query, func(*directory.Entry) error { n++; return nil })
		if err != nil || n != after || sum.Entries != after || !sum.Cut {
			t.Errorf("at most %d: %d entries, %+v, %v", after, n, sum, err)
		}
	}
}
