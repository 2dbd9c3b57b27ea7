package pack

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const most = 1 << 20

func TestPack(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "agent.ps1"))
	if err != nil {
		t.Fatal(err)
	}
	agent := string(raw)
	if strings.Contains(agent, "~") {
		t.Fatal("agent.ps1 has a ~, which marks copies where it is packed")
	}
	texts := []string{"", "a", agent, strings.Repeat("ab", packBlock+100)}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		text := make([]byte, random.IntN(20_000))
		for i := range text {
			text[i] = "ab \n$"[random.IntN(2+random.IntN(4))]
		}
		texts = append(texts, string(text))
	}
	for _, text := range texts {
		if got, err := Unpack(Pack(text), most); err != nil || got != text {
			t.Errorf("%d characters: %d, %v", len(text), len(got), err)
		}
	}
	if n := len(Pack(agent)); n > len(agent)/2 {
		t.Errorf("%d of %d bytes", n, len(agent))
	}
	for _, bad := range []string{"abcdefgh~", "abcdefgh~##", "abcdefgh~##\n", "abcdefgh~###~", "abcd~##$x", "abcdefgh~P###", "abcdefgh~}##", "abcdefgh~\"##"} {
		if got, err := Unpack(bad, most); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: %q, %v", bad, got, err)
		}
	}
}

func BenchmarkPack(b *testing.B) {
	raw, err := os.ReadFile(filepath.Join("..", "agent.ps1"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		Pack(string(raw))
	}
}
