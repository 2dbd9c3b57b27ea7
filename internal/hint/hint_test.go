package hint_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
)

func TestHintsTravelWithoutChangingTheError(t *testing.T) {
	cause := errors.New("dial refused")
	err := fmt.Errorf("reach WS1: %w", hint.Wrap(cause, "is WinRM on?"))
	err = hint.Wrapf(err, "try %s", "probe")
	if err.Error() != "reach WS1: dial refused" || !errors.Is(err, cause) {
		t.Fatalf("the error changed: %v", err)
	}
	joined := errors.Join(err, hint.Wrap(errors.New("b"), "is WinRM on?"), hint.Wrap(errors.New("c"), "third"))
	if got := hint.Of(joined); !slices.Equal(got, []string{"try probe", "is WinRM on?", "third"}) {
		t.Fatalf("hints: %q", got)
	}
	if hint.Wrap(nil, "x") != nil || hint.Of(nil) != nil {
		t.Fatal("nil must stay nil")
	}
}

func TestNearest(t *testing.T) {
	keys := []string{"quarantine", "registry", "service", "driver", "bcd", "show"}
	for word, want := range map[string]string{"quarantene": "quarantine", "Registy": "registry", "servce": "service", "xyz": "", "bdc": "bcd", "shwo": "show", "wosh": ""} {
		if got := hint.Nearest(word, keys); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
