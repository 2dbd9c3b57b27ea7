package lazyregexp

import (
	"slices"
	"testing"
)

// What does not compile is noticed when a test loads the package that has it, whether or not a test uses it.
func TestATestCompilesAtOnce(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an expression that does not compile went unnoticed")
		}
	}()
	New("(")
}

// A program compiles an expression once it is used, and not before.
func TestCompiledWhenUsed(t *testing.T) {
	underTest = false
	defer func() { underTest = true }()
	r := New("a(b*)c")
	if r.compiled != nil {
		t.Error("compiled before it was used")
	}
	if got := r.FindStringSubmatch("xabbc"); !slices.Equal(got, []string{"abbc", "bb"}) {
		t.Errorf("got %q", got)
	}
	if r.compiled == nil || !r.MatchString("ac") || r.MatchString("b") {
		t.Error("the compiled expression is not kept, or another")
	}
}
