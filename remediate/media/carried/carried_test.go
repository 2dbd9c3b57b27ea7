package carried

import (
	"bytes"
	"compress/gzip"
	"errors"
	"testing"
	"testing/fstest"
)

func TestUnpack(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write([]byte("MZ, the program")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{
		"fleetmend-pe_amd64.exe.gz": {Data: packed.Bytes()},
		"fleetmend-pe_cut.exe.gz":   {Data: packed.Bytes()[:packed.Len()-6]},
		"fleetmend-pe_text.exe.gz":  {Data: []byte("no archive")},
	}
	var out bytes.Buffer
	if err := unpack(&out, files, "amd64"); err != nil || out.String() != "MZ, the program" {
		t.Errorf("%q, %v", out.String(), err)
	}
	for _, arch := range []string{"cut", "text"} {
		if err := unpack(&out, files, arch); err == nil || errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", arch, err)
		}
	}
	if err := unpack(&out, files, "arm64"); !errors.Is(err, ErrNone) {
		t.Errorf("arm64: %v", err)
	}
	if err := Program(&out, "mips"); !errors.Is(err, ErrNone) {
		t.Errorf("mips: %v", err)
	}
}
