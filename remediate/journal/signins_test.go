package journal_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/signin"
)

// Two processes of one state folder are two journals of one file: their locks are as strange to each other.
func TestProcessesShareTheSignIns(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "journal.db")
	var ledgers []*signin.Ledger
	for range 2 {
		j, err := journal.Open(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = j.Close() }) //nolint:errcheck // the folder goes as well
		ledgers = append(ledgers, signin.New(j.SignIns(), signin.Rule{}))
	}
	who := func(m route.Target) route.Account { return route.Account{Name: `CORP\ada`, Domain: "CORP", Home: true} }
	var out, most, wrong, attempts atomic.Int64
	var changed atomic.Bool
	sign := func(ctx context.Context, trial route.Trial) error {
		attempts.Add(1)
		now := out.Add(1)
		for {
			was := most.Load()
			if now <= was || most.CompareAndSwap(was, now) {
				break
			}
		}
		time.Sleep(200 * time.Microsecond)
		bad := changed.Load()
		out.Add(-1)
		if bad {
			wrong.Add(1)
			return trial.Refused(ctx)
		}
		trial.Accepted()
		return nil
	}
	ask := func(ctx context.Context, _ route.Target, begin func(string) (route.Trial, error)) error {
		trial, err := begin("CORP")
		if err != nil {
			return err
		}
		return sign(ctx, trial)
	}
	var group sync.WaitGroup
	var done [2]atomic.Int64
	for p, l := range ledgers {
		for w := range 20 {
			group.Go(func() {
				for i := range 20 {
					m := route.Target{ID: fmt.Sprint(p, w, i), Name: fmt.Sprint("PC", p, w, i)}
					trial, err := l.Try(ctx, who(m), m, ask)
					if err != nil || sign(ctx, trial) != nil {
						return
					}
					if done[p].Add(1); done[0].Load()+done[1].Load() > 500 {
						changed.Store(true)
					}
				}
			})
		}
	}
	group.Wait()
	if most.Load() > signin.Limit || wrong.Load() > signin.Limit || done[0].Load() < 50 || done[1].Load() < 50 {
		t.Errorf("%d at once, %d refused, %d and %d done", most.Load(), wrong.Load(), done[0].Load(), done[1].Load())
	}
	// A third finds it as it is.
	before := attempts.Load()
	j, err := journal.Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	m := route.Target{ID: "x", Name: "PCX"}
	if _, err := signin.New(j.SignIns(), signin.Rule{}).Try(ctx, who(m), m, ask); err == nil || attempts.Load() != before {
		t.Errorf("%v after %d more", err, attempts.Load()-before)
	}
	against, err := j.SignIns().Against(ctx, `corp\ada`, time.Now().Add(-time.Minute))
	if err != nil || len(against) == 0 || against[0].State != signin.Refused || against[0].Target.Name == "" {
		t.Errorf("%+v %v", against, err)
	}
}
