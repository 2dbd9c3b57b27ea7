package main

import (
	"reflect"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/windows"
)

func TestValues(t *testing.T) {
	for _, v := range []windows.Value{
		{Type: "string", Data: `C:\Windows\käse 😀`}, {Type: "string", Data: ""}, {Type: "expand-string", Data: `%SystemRoot%\x`},
		{Type: "multi-string", Data: []string{"one", "two"}}, {Type: "multi-string", Data: []string{}},
		{Type: "dword", Data: uint64(0xfffffffe)}, {Type: "qword", Data: uint64(1) << 63}, {Type: "binary", Data: []byte{0, 1, 255}},
	} {
		kind, raw, err := encode(v)
		if err != nil {
			t.Errorf("%v: %v", v, err)
		}
		if got, err := decode(kind, raw); err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("%#v came back as %#v, %v", v, got, err)
		}
	}
	// As programs write them: without the NUL at the end, with more behind it, with half a character.
	for raw, want := range map[string]string{"a\x00b\x00": "ab", "a\x00\x00\x00b\x00\x00\x00": "a", "a\x00b": "a", "": ""} {
		if got, err := decode(regString, []byte(raw)); err != nil || got.Data != want {
			t.Errorf("%q: %v, %v", raw, got, err)
		}
	}
	if got, err := decode(regMultiString, []byte("a\x00\x00\x00b\x00")); err != nil || !reflect.DeepEqual(got.Data, []string{"a", "b"}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []windows.Value{{Type: "dword", Data: uint64(1) << 32}, {Type: "string", Data: uint64(1)}, {Type: "dword", Data: "1"}, {Type: "none"}} {
		if _, _, err := encode(bad); err == nil {
			t.Errorf("%#v was taken", bad)
		}
	}
	for kind, raw := range map[uint32][]byte{regDword: {1, 2, 3}, regQword: {1, 2, 3, 4}, 0: {}, 8: {1}} {
		if v, err := decode(kind, raw); err == nil {
			t.Errorf("type %d with %d bytes was taken for %v", kind, len(raw), v)
		}
	}
}
