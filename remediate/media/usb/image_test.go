package usb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// foreign is an image of random content with partitions in the old way: status, type, first sector, sectors.
func foreign(size int, partitions ...[4]uint32) []byte {
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{3}).Read(data)
	clear(data[446:510])
	data[510], data[511] = 0x55, 0xaa
	for i, p := range partitions {
		e := data[446+16*i:]
		e[0], e[4] = byte(p[0]), byte(p[1])
		le.PutUint32(e[8:], p[2])
		le.PutUint32(e[12:], p[3])
	}
	return data
}

// TestNoImageOfAStick: what no firmware could start is refused before a disk is opened, and so is another hash.
func TestNoImageOfAStick(t *testing.T) {
	t.Parallel()
	good := bootImage(t, 4<<20)
	change := func(f func(b []byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	noise := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{4}).Read(noise)
	mib := make([]byte, 1<<20)
	copy(mib, "MSWIM\x00\x00\x00")
	const sectors = 5 << 20 / 512
	for name, c := range map[string]struct {
		image []byte
		sum   string
		want  string
	}{
		"noise":                    {noise, "", "no partition table"},
		"a MiB of a WIM":           {mib, "", "no partition table"},
		"less than a MiB":          {mib[:1<<20-512], "", "it has 1048064 bytes"},
		"empty":                    {nil, "", "it has 0 bytes"},
		"only the backup table":    {change(func(b []byte) { clear(b[512:1024]) }), "", "its GUID partition table is missing"},
		"only the backup entries":  {change(func(b []byte) { b[1024] ^= 1 }), "", "checksum"},
		"cut off":                  {good[:3<<20], "", "outside the disk"},
		"empty table":              {foreign(5 << 20), "", "no partition table"},
		"cut off in the old way":   {foreign(5<<20, [4]uint32{0x80, 0x0c, 2048, sectors}), "", "cut off"},
		"text where the table is":  {foreign(5<<20, [4]uint32{'D', 'i', 1, 2}), "", "no partition table"},
		"no sectors":               {foreign(5<<20, [4]uint32{0, 0x0c, 1, 0}), "", "no partition table"},
		"no type":                  {foreign(5<<20, [4]uint32{0x80, 0, 1, 5}), "", "no partition table"},
		"another hash":             {good, strings.Repeat("0", 64), "has the SHA-256 " + imageOf(good).SHA256},
		"a changed bit, right sum": {change(func(b []byte) { b[3<<20] ^= 1 }), imageOf(good).SHA256, "instead of " + imageOf(good).SHA256},
		"half a hash":              {good, imageOf(good).SHA256[:32], "is no SHA-256"},
		"not a hash":               {good, strings.Repeat("x", 64), "is no SHA-256"},
	} {
		var s shelf
		st := s.add("a", 16<<20)
		image := FromReader(bytes.NewReader(c.image), int64(len(c.image)))
		image.SHA256 = c.sum
		results, err := Write(t.Context(), image, s.disks, Options{System: &s})
		if err == nil || results != nil || st.opened > 0 || !strings.Contains(err.Error(), c.want) || !strings.Contains(strings.ToLower(fmt.Sprint(hint.Of(err))), "nothing was written") {
			t.Errorf("%s: %v, %+v, hints %v", name, err, results, hint.Of(err))
		}
		if c.sum == "" && !errors.Is(err, ErrNoImage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var s shelf
	s.add("a", 16<<20)
	image := imageOf(good)
	image.SHA256 = strings.ToUpper(image.SHA256)
	if results, err := Write(t.Context(), image, s.disks, Options{System: &s}); err != nil || results[0].Err != nil {
		t.Errorf("a hash in capitals: %v %+v", err, results)
	}
}

// TestNothingWritten: a disk that takes no byte at all was not emptied either, and is not called so.
func TestNothingWritten(t *testing.T) {
	t.Parallel()
	protected := errors.New("write-protected")
	for name, first := range map[string]int{"nothing": 0, "a part": 512} {
		var s shelf
		st := s.add("a", 16<<20)
		n := first
		st.onWrite = func(p []byte, off int64) (int, error, bool) { defer func() { n = 0 }(); return n, protected, true }
		results, err := Write(t.Context(), imageOf(bootImage(t, 4<<20)), s.disks, Options{System: &s})
		r := results[0]
		text := fmt.Sprint(hint.Of(r.Err))
		if err != nil || !errors.Is(r.Err, protected) || r.Cleared || r.Touched != (first > 0) || strings.Contains(text, "Nothing was written") == r.Touched {
			t.Errorf("%s: %v %+v %s", name, err, r, text)
		}
		if first == 0 && st.order != nil && len(st.order) != 1 {
			t.Errorf("tried again and again: %v", st.order)
		}
	}
}

func TestForeignImageIsWrittenAsItIs(t *testing.T) {
	t.Parallel()
	data := foreign(5<<20+512, [4]uint32{0x80, 0x0c, 63, 9000})
	var s shelf
	st := s.add("a", 16<<20)
	results, err := Write(t.Context(), imageOf(data), s.disks, Options{System: &s})
	if err != nil || results[0].Err != nil || results[0].Relocated || !bytes.Equal(st.b[:len(data)], data) {
		t.Fatalf("%v %+v", err, results)
	}
	if err := Verify(t.Context(), s.disks[0], imageOf(data), Options{System: &s}); err != nil {
		t.Error(err)
	}
	r, c, err := Content(t.Context(), s.disks[0], &s)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	part := make([]byte, 5000)
	if _, err := r.ReadAt(part, 12345); err != nil || !bytes.Equal(part, data[12345:17345]) {
		t.Errorf("read in the middle: %v", err)
	}
	if n, err := r.ReadAt(part, 16<<20-100); n != 100 || err != io.EOF {
		t.Errorf("read at the end: %d %v", n, err)
	}
}
