package windows

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"
)

func TestValuesComeBack(t *testing.T) {
	for _, v := range []Value{
		{"string", `C:\Windows\käse 😀`}, {"string", ""}, {"expand-string", `%SystemRoot%\x`}, {"none", []byte{1}}, {"none", []byte{}},
		{"multi-string", []string{"one", "two"}}, {"multi-string", []string{}}, {"multi-string", []string{"a", "", "b"}}, {"multi-string", []string{""}},
		{"dword", uint64(0xfffffffe)}, {"qword", uint64(1) << 63}, {"binary", []byte{0, 1, 255}}, {"type-1048577", []byte{1, 2}},
	} {
		kind, raw, err := v.Encode()
		if err != nil {
			t.Errorf("%v: %v", v, err)
		}
		// A list of one empty text has the bytes of none and one NUL more.
		if got := DecodeValue(kind, raw); !reflect.DeepEqual(got, v) {
			t.Errorf("%#v came back as %#v", v, got)
		}
	}
	for _, bad := range []Value{{"dword", uint64(1) << 32}, {"string", uint64(1)}, {"dword", "1"}, {"none", nil}, {"dword", []byte{1}}, {"type-x", []byte{}}} {
		if _, _, err := bad.Encode(); err == nil {
			t.Errorf("%#v was taken", bad)
		}
	}
}

// As programs write them: without the NUL at the end, with more behind it, with half a character.
func TestOddValuesAreReadAndComeBack(t *testing.T) {
	for raw, want := range map[string]string{"a\x00b\x00": "ab", "a\x00\x00\x00b\x00\x00\x00": "a", "a\x00b": "a", "": ""} {
		odd, ok := DecodeValue(1, []byte(raw)).Data.(Odd)
		if !ok || odd.As != want || string(odd.Raw) != raw {
			t.Errorf("%q: %#v", raw, odd)
		}
	}
	if odd, ok := DecodeValue(7, []byte("a\x00\x00\x00b\x00")).Data.(Odd); !ok || !reflect.DeepEqual(odd.As, []string{"a", "b"}) {
		t.Errorf("%#v", odd)
	}
	if odd, ok := DecodeValue(4, []byte{1, 0, 0, 0, 0, 0, 0, 0}).Data.(Odd); !ok || odd.As != nil {
		t.Errorf("%#v", odd)
	}
}

// Whatever lies in a registry comes back byte for byte, also through a record.
func TestEveryValueComesBackByteForByte(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		kind := uint32(random.IntN(13))
		raw := make([]byte, random.IntN(14))
		for i := range raw {
			raw[i] = byte(random.IntN(3) * random.IntN(128)) // many zeros
		}
		d, err := fromValue(DecodeValue(kind, raw))
		if err != nil {
			t.Fatalf("type %d, % x: %v", kind, raw, err)
		}
		v, err := d.value()
		if err != nil {
			t.Fatalf("type %d, % x as %+v: %v", kind, raw, d, err)
		}
		if k, got, err := v.Encode(); err != nil || k != kind || !bytes.Equal(got, raw) {
			t.Fatalf("type %d, % x came back as type %d, % x (%v)", kind, raw, k, got, err)
		}
	}
}
