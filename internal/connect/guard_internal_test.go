package connect

import (
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// Where no number of sign-ins helps, none is named.
func TestNoSettingIsNamedThatDoesNotHelp(t *testing.T) {
	for more, want := range map[int]string{0: "try again", 3: "`sign-ins: 3` under run: in the settings lets it be sent at once where fewer than 6 wrong"} {
		err := keptBack(&route.BarredError{Account: route.Account{Name: "admin"}, All: true, Why: "dc1 rejected admin", More: more, Locks: 2 * more})
		if advice := strings.Join(hint.Of(err), " "); !strings.Contains(advice, want) || more == 0 && strings.Contains(advice, "sign-ins:") || strings.Contains(err.Error(), "--sign-ins") {
			t.Errorf("%d: %v\n%s", more, err, advice)
		}
	}
}
