// Package compile makes fleetmend-pe.exe out of a source checkout with the Go toolchain at hand, for those who did not
// get it with a release.
//
// [Program] is the one call. The same sources and toolchain give the same bytes. It contacts no network if the module
// cache holds what go.mod asks for.
package compile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
)

const module = "github.com/fleetmend/fleetmend"

// ErrNoSource means that no source checkout or no Go toolchain is there.
var ErrNoSource = errors.New("no source checkout with a Go toolchain")

// Checkout looks for the source of this module in a folder and those above it.
func Checkout(dir string) (string, bool) {
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module "+module+"\n") {
			return dir, true
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", false
		}
		dir = up
	}
}

// Program compiles the program for an architecture (amd64, arm64) from the checkout into the file out.
func Program(ctx context.Context, checkout, arch, out string) error {
	if arch != "amd64" && arch != "arm64" {
		return fmt.Errorf("compile fleetmend-pe for %q: it is made for amd64 and arm64 only", arch)
	}
	toolchain, err := exec.LookPath("go")
	if err != nil {
		return fmt.Errorf("compile fleetmend-pe: %w", ErrNoSource)
	}
	cmd := exec.CommandContext(ctx, toolchain, "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", out, "./cmd/fleetmend-pe")
	cmd.Dir = checkout
	cmd.Env = append(cmd.Environ(), "GOOS=windows", "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return hint.Wrap(fmt.Errorf("compile fleetmend-pe for %s: %w\n%s", arch, err, strings.TrimSpace(string(text))),
			"or give --agent with the fleetmend-pe.exe of a release")
	}
	return nil
}
