package windows

import (
	"fmt"
	"io"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/agent"
)

// between lets another request have its turn just before the n-th call of this one.
type between struct {
	*Memory
	left int
	turn func()
}

func (b *between) next() {
	if b.left--; b.left == 0 {
		b.turn()
	}
}

func (b *between) List(folder string) ([]FileInfo, error) {
	b.next()
	return b.Memory.List(folder)
}

func (b *between) Open(path string) (io.ReadCloser, error) {
	b.next()
	return b.Memory.Open(path)
}

func (b *between) Create(path string, content []byte) error {
	b.next()
	return b.Memory.Create(path, content)
}

func (b *between) Move(from, to string) error {
	b.next()
	return b.Memory.Move(from, to)
}

func (b *between) Remove(path string) error {
	b.next()
	return b.Memory.Remove(path)
}

func (b *between) Look(path string) (Kind, error) {
	b.next()
	return b.Memory.Look(path)
}

func (b *between) Own(folder string) error {
	b.next()
	return b.Memory.Own(folder)
}

// TestAnotherInBetween lets a second request of the run answer whole at each outward call of the first: one of them acts,
// the other is busy or answers from the record, and neither fails.
func TestAnotherInBetween(t *testing.T) {
	for _, mode := range []agent.Mode{agent.Fix, agent.Undo} {
		turns := 0
		for n := 1; ; n++ {
			m, p, before := threeFiles()
			want := map[string]string{`C:\Data\c.cfg`: "new"}
			if mode == agent.Undo {
				New(m.Parts()).Do(t.Context(), request(agent.Fix, "n-0", p))
				want = before
			}
			var answers []agent.Result
			first := m.Parts()
			first.Files = &between{m, n, func() {
				answers = append(answers, New(m.Parts()).Do(t.Context(), request(mode, "n-2", p)))
			}}
			answers = append(answers, New(first).Do(t.Context(), request(mode, "n-1", p)))
			if len(answers) == 1 {
				break
			}
			turns++
			acted := 0
			for _, a := range answers {
				done := a.Outcome == agent.Fixed || a.Outcome == agent.Undone
				if done && !a.Repeated && a.Changed == 3 {
					acted++
				} else if a.Outcome != agent.Busy && (!done || !a.Repeated) {
					t.Errorf("%s, call %d: %+v", mode, n, a)
				}
			}
			if now := contents(m); acted != 1 || fmt.Sprint(now) != fmt.Sprint(want) {
				t.Errorf("%s, call %d: %d acted, left %v: %+v", mode, n, acted, now, answers)
			}
			back := New(m.Parts()).Do(t.Context(), request(agent.Undo, "n-3", p))
			if now := contents(m); back.Outcome != agent.Undone || fmt.Sprint(now) != fmt.Sprint(before) {
				t.Errorf("%s, call %d, then undo: %+v, left %v", mode, n, back, now)
			}
		}
		if turns < 20 {
			t.Errorf("%s: only %d turns", mode, turns)
		}
	}
}
