package directory_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/directory/dclab"
)

// Whatever way a password goes to a domain controller, the guard is asked once before, and told what became of it; where it keeps the
// password back no other controller gets it.
func TestEveryPasswordPassesTheGuard(t *testing.T) {
	lab.Need(t)
	for _, method := range directory.Methods() {
		for _, c := range []struct {
			password string
			barred   error
			want     []directory.Verdict
			kind     directory.Kind
		}{
			{dclab.AdminPW, nil, []directory.Verdict{"asked", directory.Accepted}, ""},
			{"wrong", nil, []directory.Verdict{"asked", directory.Refused}, directory.WrongPassword},
			{"wrong", errors.New("not again"), []directory.Verdict{"asked"}, directory.Barred},
		} {
			var got []directory.Verdict
			config := lab.Config(t, method, dclab.Admin, c.password)
			config.DCs = append(config.DCs, config.DCs...)
			config.Guard = func(directory.DC) (func(directory.Verdict), error) {
				got = append(got, "asked")
				return func(v directory.Verdict) { got = append(got, v) }, c.barred
			}
			conn, err := directory.Dial(t.Context(), config)
			if err == nil {
				_ = conn.Close() //nolint:errcheck // it has done its work
			}
			if !slices.Equal(got, c.want) || (err == nil) != (c.kind == "") || err != nil && directory.KindOf(err) != c.kind || c.barred != nil && !errors.Is(err, c.barred) {
				t.Errorf("%s, %s: %v, %v", method, c.password, got, err)
			}
		}
	}
}
