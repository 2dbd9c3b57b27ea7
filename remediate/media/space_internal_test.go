package media

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
)

func TestSpace(t *testing.T) {
	dir := t.TempDir()
	err := checkSpace(dir, 1<<61)
	if err == nil || !strings.Contains(err.Error(), "2147483648 GB are needed") || !strings.Contains(strings.Join(hint.Of(err), ""), "free some space") {
		t.Errorf("%v, %v", err, hint.Of(err))
	}
	if err := errors.Join(checkSpace(dir, 1), checkSpace(filepath.Join(dir, "not there"), 1<<61)); err != nil {
		t.Error(err)
	}
	full := noSpace(fmt.Errorf("write x: %w", syscall.ENOSPC), 70<<20)
	if !errors.Is(full, syscall.ENOSPC) || !strings.Contains(full.Error(), "the image needs 70 MB") || len(hint.Of(full)) == 0 {
		t.Errorf("%v, %v", full, hint.Of(full))
	}
	if other := errors.New("other"); !errors.Is(noSpace(other, 1), other) || len(hint.Of(noSpace(other, 1))) != 0 {
		t.Error("another error was changed")
	}
}
