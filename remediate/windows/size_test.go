package windows

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
)

// TestMemoryIsSmall holds a simulated machine that was fixed to the 20 KB that let 10,000 of them live in one process.
func TestMemoryIsSmall(t *testing.T) {
	base := NewBase(22631)
	c := loadCase(t, filepath.Join(caseFolder, "channel-file-affected.json"))
	for n := range 500 {
		base.AddFile(fmt.Sprintf(`C:\Windows\System32\drivers\drv%03d.sys`, n), make([]byte, 4096), time.Unix(0, 0))
	}
	const machines = 500
	all := make([]*Memory, machines)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for n := range all {
		all[n] = NewMemory(base)
		apply(t, all[n], c.Before)
		if got := New(all[n].Parts()).Do(context.Background(), agent.Request{Run: "r-1", Nonce: "n", Mode: agent.Fix, Playbook: c.Playbook}); got.Outcome != agent.Fixed {
			t.Fatalf("%+v", got)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / machines
	t.Logf("%d bytes a machine", each)
	if each > 20_000 {
		t.Errorf("%d bytes a machine", each)
	}
	runtime.KeepAlive(all)
}
