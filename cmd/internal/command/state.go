package command

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// stateDir is where inventory and journal live when nothing is said.
func stateDir() (string, error) {
	dir, err := os.Getenv("XDG_STATE_HOME"), error(nil)
	switch {
	case dir != "":
	case runtime.GOOS == "windows":
		dir, err = os.UserCacheDir() // %LocalAppData%
	case runtime.GOOS == "darwin":
		dir, err = os.UserConfigDir() // Library/Application Support
	default:
		dir, err = os.UserHomeDir()
		dir = filepath.Join(dir, ".local", "state")
	}
	if err != nil {
		return "", hint.Wrap(fmt.Errorf("find a folder for the inventory and the journal: %w", err), "give one with --state-dir")
	}
	return filepath.Join(dir, "fleetmend"), nil
}
