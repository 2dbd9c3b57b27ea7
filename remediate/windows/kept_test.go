package windows

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
)

// TestKeptByTwoAtOnce keeps the agent from many requests at once, on real files: one of them writes it, none fails for it, and each
// that names it then is answered.
func TestKeptByTwoAtOnce(t *testing.T) {
	for range 20 {
		volume := t.TempDir()
		files, err := OpenFolder(volume)
		if err != nil {
			t.Fatal(err)
		}
		i := New(Parts{Files: files, System: offline{}})
		if err := files.Own(`C:\ProgramData\fleetmend`); err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				if kept, err := i.keep(""); err != nil || !kept {
					t.Errorf("kept: %v, %v", kept, err)
				}
			})
		}
		group.Wait()
		entries, err := os.ReadDir(filepath.Join(volume, "ProgramData", "fleetmend", "agent"))
		if err != nil || len(entries) != 1 || entries[0].Name() != agent.Digest()+".ps1" {
			t.Errorf("%v, %v", entries, err)
		}
		stdin, err := agent.EncodeKept(agent.Request{Run: "r-1", Nonce: "n-1", Mode: agent.Undo})
		if err != nil {
			t.Fatal(err)
		}
		if _, result, err := i.Answer(t.Context(), stdin, true); err != nil || result.Outcome != agent.Undone || result.Kept != agent.Digest() {
			t.Errorf("%+v, %v", result, err)
		}
		if _, _, err := i.Answer(t.Context(), stdin, false); !errors.Is(err, agent.ErrStdin) {
			t.Errorf("the other command: %v", err)
		}
		if err := files.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Where there is no room for the agent the work is done all the same, and the answer says why it was not kept.
func TestNotKeptOnAFullDisk(t *testing.T) {
	base := NewBase(0)
	base.AddFile(`C:\ProgramData\fleetmend\x`, nil, time.Unix(0, 0))
	m := NewMemory(base)
	p := m.Parts()
	p.Files = &narrow{m}
	stdin, err := agent.Encode(agent.Request{Run: "r-1", Nonce: "n-1", Mode: agent.Undo})
	if err != nil {
		t.Fatal(err)
	}
	_, result, err := New(p).Answer(t.Context(), stdin, false)
	if err != nil || result.Outcome != agent.Undone || result.Kept != "" || result.Note != "the agent was not kept on the machine: no space left" {
		t.Errorf("%+v, %v", result, err)
	}
}

// narrow has no room for large files.
type narrow struct{ *Memory }

func (n *narrow) Create(path string, content []byte) error {
	if len(content) > 10_000 {
		return errors.New("no space left")
	}
	return n.Memory.Create(path, content)
}
