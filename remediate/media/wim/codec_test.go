package wim

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/fleetmend/fleetmend/internal/bounded"
)

// Chunks are contents that take the encoders through their cases.
func chunks() map[string][]byte {
	rng := rand.New(rand.NewPCG(3, 4))
	m := map[string][]byte{"one": {7}, "two": {7, 7}, "zeros": make([]byte, chunkSize), "run": bytes.Repeat([]byte{9}, 1000)}
	text := []byte{}
	for len(text) < chunkSize {
		text = fmt.Appendf(text, "driver%03d.sys\x00 %x ", rng.IntN(999), len(text))
	}
	m["text"] = text[:chunkSize]
	m["short"] = text[:333]
	wide := []byte{}
	for _, c := range text[:chunkSize/2] {
		wide = append(wide, c, 0)
	}
	m["utf16"] = wide
	calls := []byte{}
	for len(calls) < 20000 {
		calls = append(calls, 0xe8, byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.IntN(3)), []byte{0, 0xff}[rng.IntN(2)], 0x48, 0x8b, 0x90)
	}
	m["calls"] = calls
	noise := make([]byte, chunkSize)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	m["noise"] = noise
	far := bytes.Clone(noise) // matches over the whole window
	copy(far[chunkSize-600:], far[:600])
	m["far"] = far
	// Frequencies like Fibonacci numbers make codes longer than the limit.
	deep, a, b := []byte{}, 1, 1
	for s := byte(0); len(deep)+a < chunkSize; s++ {
		deep = append(deep, bytes.Repeat([]byte{s}, a)...)
		a, b = b, a+b
	}
	rng.Shuffle(len(deep), func(i, j int) { deep[i], deep[j] = deep[j], deep[i] })
	m["deep"] = deep
	return m
}

func TestEncodersAreDecoded(t *testing.T) {
	for name, data := range chunks() {
		for c, encode := range map[codec]func([]byte) []byte{codecLZX: encodeLZX, codecXPRESS: encodeXPRESS} {
			enc := encode(data)
			out := make([]byte, len(data))
			if err := decompress(c, enc, out); err != nil || !bytes.Equal(out, data) {
				t.Errorf("%v %s: %d bytes in %d, equal %v, %v", c, name, len(data), len(enc), bytes.Equal(out, data), err)
			}
			if name == "utf16" && len(enc) > len(data)/2 {
				t.Errorf("%v %s: %d bytes in %d", c, name, len(data), len(enc))
			}
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	for _, b := range chunks() {
		f.Add(b[:min(len(b), 600)])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		defer bounded.Input(t, len(data))()
		if len(data) == 0 || len(data) > chunkSize {
			return
		}
		out := make([]byte, len(data))
		if err := decompress(codecLZX, encodeLZX(data), out); err != nil || !bytes.Equal(out, data) {
			t.Fatalf("LZX: %v", err)
		}
		clear(out)
		if err := decompress(codecXPRESS, encodeXPRESS(data), out); err != nil || !bytes.Equal(out, data) {
			t.Fatalf("XPRESS: %v", err)
		}
	})
}

func FuzzDecompress(f *testing.F) {
	f.Add(true, make([]byte, 300), uint16(100))
	for _, name := range []string{"short", "run"} {
		f.Add(true, encodeXPRESS(chunks()[name]), uint16(len(chunks()[name])-1))
		f.Add(false, encodeLZX(chunks()[name]), uint16(len(chunks()[name])-1))
	}
	f.Fuzz(func(t *testing.T, xp bool, in []byte, n uint16) {
		defer bounded.Input(t, len(in))()
		out := make([]byte, min(int(n)+1, chunkSize))
		c := codecLZX
		if xp {
			c = codecXPRESS
		}
		_ = decompress(c, in, out)
	})
}
