package statefolder

import (
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
)

func TestAFolderOnANetworkIsRefused(t *testing.T) {
	if err := Local(t.TempDir()); err != nil {
		t.Fatalf("a folder of this computer: %v", err)
	}
	defer func(was func(string) (string, error)) { networkKind = was }(networkKind)
	networkKind = func(string) (string, error) { return "NFS", nil }
	err := Local("state")
	if err == nil || !strings.Contains(err.Error(), "NFS") || !hint.IsMistake(err) || len(hint.Of(err)) == 0 {
		t.Fatalf("%v %q", err, hint.Of(err))
	}
}
