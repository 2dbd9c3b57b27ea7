package usb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/leaktest"
	"github.com/fleetmend/fleetmend/remediate/media/gpt"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// stick is a disk in memory; the functions, where set, see every access first.
type stick struct {
	mu      sync.Mutex
	b       []byte
	onWrite func(p []byte, off int64) (n int, err error, done bool)
	onRead  func(p []byte, off int64)
	opened  int
	closed  int
	order   []int64 // offsets of writes
}

func (s *stick) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := bytes.NewReader(s.b).ReadAt(p, off)
	if s.onRead != nil {
		s.onRead(p[:n], off)
	}
	return n, err
}

func (s *stick) WriteAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if off%sector != 0 || len(p)%sector != 0 {
		return 0, errors.New("not aligned")
	}
	s.order = append(s.order, off)
	if s.onWrite != nil {
		if n, err, done := s.onWrite(p, off); done {
			return n, err
		}
	}
	if off+int64(len(p)) > int64(len(s.b)) {
		return 0, errors.New("behind the end")
	}
	return copy(s.b[off:], p), nil
}

func (s *stick) Sync() error  { return nil }
func (s *stick) Close() error { s.closed++; return nil }

// shelf is a System of sticks in memory.
type shelf struct {
	disks  []Disk
	sticks map[string]*stick
}

func (s *shelf) Disks(context.Context) ([]Disk, error) { return s.disks, nil }
func (s *shelf) Open(_ context.Context, d Disk, _ bool) (Device, error) {
	st := s.sticks[d.Path]
	st.opened++
	return st, nil
}

func (s *shelf) add(path string, size int) *stick {
	st := &stick{b: make([]byte, size)}
	rand.NewChaCha8([32]byte{7}).Read(st.b) // what was on it before
	if s.sticks == nil {
		s.sticks = map[string]*stick{}
	}
	s.sticks[path] = st
	s.disks = append(s.disks, Disk{Path: path, Model: "Test", Serial: "S-" + path, Size: int64(size), Sector: 512, Removable: true})
	return st
}

// bootImage is a disk image with a partition table and random content.
func bootImage(t *testing.T, partition int64) []byte {
	t.Helper()
	d, err := gpt.New(partition, gpt.Options{Seed: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	content := make([]byte, partition)
	rand.NewChaCha8([32]byte{1}).Read(content)
	if err := d.WriteTo(t.Context(), &b, func(_ context.Context, w io.Writer) error {
		_, err := w.Write(content)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func imageOf(b []byte) Image {
	sum := sha256.Sum256(b)
	image := FromReader(bytes.NewReader(b), int64(len(b)))
	image.SHA256 = hex.EncodeToString(sum[:])
	return image
}

func TestWritesSeveralSticks(t *testing.T) {
	t.Parallel()
	data := bootImage(t, 9<<20+512)
	var s shelf
	s.add("same", len(data))
	s.add("larger", 16<<20)
	s.add("odd", 13<<20+512*7)
	var seen []Progress
	results, err := Write(t.Context(), imageOf(data), s.disks, Options{System: &s, Progress: func(p Progress) { seen = append(seen, p) }})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("%s: %v", r.Disk.Path, r.Err)
		}
		st := s.sticks[r.Disk.Path]
		if r.Relocated != (len(st.b) > len(data)) {
			t.Errorf("%s: relocated %v", r.Disk.Path, r.Relocated)
		}
		size := int64(len(st.b))
		d, err := gpt.Read(bytes.NewReader(st.b), size)
		if err != nil || d.Backup {
			t.Fatalf("%s: table: %v %+v", r.Disk.Path, err, d)
		}
		broken := bytes.Clone(st.b)
		clear(broken[:1<<20])
		if d, err = gpt.Read(bytes.NewReader(broken), size); err != nil || !d.Backup {
			t.Errorf("%s: no backup table at its end: %v", r.Disk.Path, err)
		}
		if p := d.Partitions[0]; !bytes.Equal(st.b[p.Offset:p.Offset+p.Size], data[p.Offset:p.Offset+p.Size]) {
			t.Errorf("%s: the partition differs", r.Disk.Path)
		}
		if st.order[0] != 0 || st.order[len(st.order)-1] != 0 {
			t.Errorf("%s: the beginning must be cleared first and written last: %v", r.Disk.Path, st.order)
		}
		if st.opened != st.closed {
			t.Errorf("%s: opened %d times, closed %d times", r.Disk.Path, st.opened, st.closed)
		}
		if err := Verify(t.Context(), s.disks[i], imageOf(data), Options{System: &s}); err != nil {
			t.Errorf("verify what was written: %v", err)
		}
		st.b[5<<20] ^= 1
		if err := Verify(t.Context(), s.disks[i], imageOf(data), Options{System: &s}); !errors.As(err, new(*MismatchError)) {
			t.Errorf("one changed bit was not found: %v", err)
		}
		st.b[5<<20] ^= 1
		st.b[len(st.b)-100] ^= 1
		if err := Verify(t.Context(), s.disks[i], imageOf(data), Options{System: &s}); !errors.As(err, new(*MismatchError)) {
			t.Errorf("a damaged backup table was not found: %v", err)
		}
	}
	last := seen[len(seen)-1]
	if last.Phase != Verifying || last.Done != last.Total || last.Left != 0 {
		t.Errorf("last progress: %+v", last)
	}
}

// pretends reports whether a firmware could take the stick for a boot medium.
func pretends(b []byte) bool {
	_, err := gpt.Read(bytes.NewReader(b), int64(len(b)))
	return err == nil || b[510] == 0x55
}

func TestFailures(t *testing.T) {
	t.Parallel()
	data := bootImage(t, 14<<20)
	pulled := errors.New("no such device")
	cases := map[string]struct {
		break_  func(*stick, context.CancelFunc)
		want    func(error) bool
		cleared bool
	}{
		"write error": {func(s *stick, _ context.CancelFunc) {
			s.onWrite = func(p []byte, off int64) (int, error, bool) { return 512, io.ErrClosedPipe, off == 8<<20 }
		}, func(err error) bool {
			return errors.Is(err, io.ErrClosedPipe) && strings.Contains(err.Error(), "8389120")
		}, true},
		"short write": {func(s *stick, _ context.CancelFunc) {
			s.onWrite = func(p []byte, off int64) (int, error, bool) {
				return copy(s.b[off:], p[:len(p)/2]), nil, off == 4<<20
			}
		}, func(err error) bool { return errors.Is(err, io.ErrShortWrite) }, true},
		"pulled in the middle": {func(s *stick, _ context.CancelFunc) {
			gone := false
			s.onWrite = func(_ []byte, off int64) (int, error, bool) {
				gone = gone || off == 8<<20
				return 0, pulled, gone
			}
		}, func(err error) bool { return errors.Is(err, pulled) }, false},
		"pulled before the last MiB": {func(s *stick, _ context.CancelFunc) {
			heads := 0
			s.onWrite = func(p []byte, off int64) (int, error, bool) {
				if off == 0 {
					heads++
				}
				return 0, pulled, heads > 1
			}
		}, func(err error) bool { return errors.Is(err, pulled) }, false},
		"loses a bit": {func(s *stick, _ context.CancelFunc) {
			s.onWrite = func(p []byte, off int64) (int, error, bool) {
				n := copy(s.b[off:], p)
				if off == 4<<20 {
					s.b[off+12345] ^= 4
				}
				return n, nil, true
			}
		}, func(err error) bool {
			lie := (*CorruptError)(nil)
			return errors.As(err, &lie) && lie.Offset == 4<<20
		}, true},
		"holds less than it says": {func(s *stick, _ context.CancelFunc) {
			real := s.b[:8<<20]
			s.onWrite = func(p []byte, off int64) (int, error, bool) {
				for i := range p {
					real[(int(off)+i)%len(real)] = p[i]
				}
				return len(p), nil, true
			}
			s.onRead = func(p []byte, off int64) {
				for i := range p {
					p[i] = real[(int(off)+i)%len(real)]
				}
			}
		}, func(err error) bool { return errors.As(err, new(*CorruptError)) }, true},
		"lies about the beginning": {func(s *stick, _ context.CancelFunc) {
			s.onRead = func(p []byte, off int64) {
				if off == 0 {
					p[600] ^= 1
				}
			}
		}, func(err error) bool { return errors.As(err, new(*CorruptError)) }, true},
		"cancelled while writing": {func(s *stick, cancel context.CancelFunc) {
			s.onWrite = func(_ []byte, off int64) (int, error, bool) {
				if off == 4<<20 {
					cancel()
				}
				return 0, nil, false
			}
		}, func(err error) bool { return errors.Is(err, context.Canceled) }, true},
		"cancelled while verifying": {func(s *stick, cancel context.CancelFunc) {
			s.onRead = func(_ []byte, off int64) { cancel() }
		}, func(err error) bool { return errors.Is(err, context.Canceled) }, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var s shelf
			bad := s.add("bad", 20<<20)
			c.break_(bad, cancel)
			good := s.add("good", 20<<20)
			results, err := Write(ctx, imageOf(data), s.disks, Options{System: &s})
			if err != nil {
				t.Fatal(err)
			}
			r := results[0]
			if r.Err == nil || !c.want(r.Err) {
				t.Errorf("error: %v", r.Err)
			}
			if r.Cleared != c.cleared {
				t.Errorf("cleared: %v", r.Cleared)
			}
			if len(hint.Of(r.Err)) == 0 {
				t.Error("no advice")
			}
			switch {
			case name == "holds less than it says":
			case name == "pulled before the last MiB":
				// The backup table is there by then, but so is all of the content, read back and found right.
				if !bytes.Equal(bad.b[1<<20:15<<20], data[1<<20:15<<20]) || !bytes.Equal(bad.b[:1<<20], make([]byte, 1<<20)) {
					t.Error("neither empty nor complete")
				}
			case pretends(bad.b):
				t.Error("the stick still looks bootable")
			}
			if bad.opened != bad.closed {
				t.Error("the stick was not given back")
			}
			if ctx.Err() == nil && (results[1].Err != nil || !pretends(good.b)) {
				t.Errorf("the other stick suffered: %v", results[1].Err)
			}
		})
	}
}

func TestNeverTouched(t *testing.T) {
	t.Parallel()
	data := bootImage(t, 4<<20)
	change := func(f func(*Disk)) func(*shelf) { return func(s *shelf) { f(&s.disks[0]) } }
	cases := map[string]struct {
		change func(*shelf)
		want   string
	}{
		"internal":          {change(func(d *Disk) { d.Removable = false }), "internal"},
		"mounted":           {change(func(d *Disk) { d.Refused = []string{"sdb1 is mounted on /mnt"} }), "mounted on /mnt"},
		"another stick":     {change(func(d *Disk) { d.Serial = "other" }), "not the one that was chosen"},
		"large sectors":     {change(func(d *Disk) { d.Sector = 4096 }), "4096"},
		"gone":              {func(s *shelf) { s.disks = s.disks[1:] }, "not the one that was chosen"},
		"another device":    {change(func(d *Disk) { d.Number = "8:0" }), "not the one that was chosen"},
		"different in size": {change(func(d *Disk) { d.Size = 300 << 30 }), "not the one that was chosen"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s shelf
			s.add("a", 16<<20)
			s.add("b", 16<<20)
			chosen := append([]Disk(nil), s.disks...)
			c.change(&s)
			_, err := Write(t.Context(), imageOf(data), chosen, Options{System: &s, Force: true})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error: %v", err)
			}
			for path, st := range s.sticks {
				if st.opened > 0 {
					t.Errorf("%s was opened", path)
				}
			}
		})
	}
	var s shelf
	s.add("small", 4<<20)
	_, err := Write(t.Context(), imageOf(data), s.disks, Options{System: &s})
	if small := (*TooSmallError)(nil); !errors.As(err, &small) || small.Image-small.Size != int64(len(data)-4<<20) {
		t.Errorf("too small: %v", err)
	}
	big := Disk{Path: "big", Size: 300 << 30, Sector: 512, Removable: true}
	if err := big.Check(false); err == nil || len(hint.Of(err)) == 0 {
		t.Errorf("ceiling: %v", err)
	}
	if err := big.Check(true); err != nil {
		t.Errorf("forced: %v", err)
	}
}

func TestImageThatLies(t *testing.T) {
	t.Parallel()
	data := bootImage(t, 6<<20)
	calls := 0
	for name, image := range map[string]Image{
		"shorter": {Size: int64(len(data)) + 512, WriteTo: FromReader(bytes.NewReader(data), int64(len(data))).WriteTo},
		"longer":  {Size: int64(len(data)) - 512, WriteTo: FromReader(bytes.NewReader(data), int64(len(data))).WriteTo},
		"changes between the look and the writing": {Size: int64(len(data)), SHA256: imageOf(data).SHA256, WriteTo: func(ctx context.Context, w io.Writer) error {
			b := bytes.Clone(data)
			b[5<<20] ^= byte(calls)
			calls++
			return FromReader(bytes.NewReader(b), int64(len(b))).WriteTo(ctx, w)
		}},
	} {
		var s shelf
		st := s.add("a", 16<<20)
		results, err := Write(t.Context(), image, s.disks, Options{System: &s})
		if err != nil || results[0].Err == nil || !results[0].Cleared || pretends(st.b) {
			t.Errorf("%s: %v %+v", name, err, results)
		}
	}
}

// Two sticks of one make without a serial number are told apart by when they were put in; one with a serial number may be put in
// again.
func TestSticksWithoutSerialNumber(t *testing.T) {
	shown := Disk{Path: "/dev/sdb", Number: "8:16", Model: "Generic Flash", Size: 32e9, Turn: "41"}
	other := shown
	other.Turn = "42"
	if err := shown.prove(other); !errors.Is(err, ErrGone) {
		t.Errorf("another stick of the make: %v", err)
	}
	shown.Serial, other.Serial = "60A44C", "60A44C"
	if err := shown.prove(other); err != nil {
		t.Errorf("put in again: %v", err)
	}
}
