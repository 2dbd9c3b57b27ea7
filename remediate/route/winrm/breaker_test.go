package winrm_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
)

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := winrm.NewBreaker()
		first, err := b.Enter(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		entered := make(chan error, 3)
		for range 2 {
			go func() {
				pass, err := b.Enter(t.Context(), "a")
				if err == nil {
					defer pass.Release()
				}
				entered <- err
			}()
		}
		synctest.Wait()
		if len(entered) != 0 {
			t.Fatal("a second machine was tried before the first answered")
		}
		if other, err := b.Enter(t.Context(), "b"); err != nil {
			t.Fatal("another credential must not wait")
		} else {
			other.Release()
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.Enter(ctx, "a"); !errors.Is(err, context.Canceled) {
			t.Fatalf("waiting does not end with ctx: %v", err)
		}
		first.Release() // the machine went away: the next one tries, and after it the last
		for range 2 {
			if err := <-entered; err != nil {
				t.Fatal(err)
			}
		}
		third, err := b.Enter(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		third.Accepted()
		third.Release()
		late, err := b.Enter(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Enter(t.Context(), "a"); err != nil {
			t.Fatal("a proven credential must not wait")
		}
		late.Rejected("WS7")
		late.Rejected("WS8")
		if where, rejected := b.Rejected("a"); !rejected || where != "WS7" {
			t.Fatalf("%q %v", where, rejected)
		}
		if _, err := b.Enter(t.Context(), "a"); !errors.Is(err, winrm.ErrRejected) {
			t.Fatalf("a rejected credential was let through: %v", err)
		}
	})
}

func TestRejectionWakesEveryoneWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := winrm.NewBreaker()
		first, err := b.Enter(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		refused := make(chan error, 1000)
		for range 1000 {
			go func() { _, err := b.Enter(t.Context(), "a"); refused <- err }()
		}
		synctest.Wait()
		first.Rejected("WS1")
		for range 1000 {
			if err := <-refused; !errors.Is(err, winrm.ErrRejected) {
				t.Fatal(err)
			}
		}
	})
}

func TestBreakerKey(t *testing.T) {
	a := winrm.Credential{User: "Admin", Domain: "corp", Password: secret.New("p1")}
	same := winrm.Credential{User: "ADMIN", Domain: "CORP", Password: secret.New("p1")}
	changed := winrm.Credential{User: "Admin", Domain: "corp", Password: secret.New("p2")}
	if a.BreakerKey() != same.BreakerKey() || a.BreakerKey() == changed.BreakerKey() {
		t.Error("a key must ignore the case of names and tell passwords apart")
	}
}
