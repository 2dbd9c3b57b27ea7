package usb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Image is what is written. WriteTo streams exactly Size bytes; it is called once to look at the image before any disk is
// touched and once for every disk, for several disks at the same time, and gives the same bytes each time. SHA256, if not
// empty, is the hash of the whole image in hexadecimal.
type Image struct {
	Size    int64
	SHA256  string
	WriteTo func(context.Context, io.Writer) error
}

// FromReader is an image in a file.
func FromReader(r io.ReaderAt, size int64) Image {
	return Image{Size: size, WriteTo: func(_ context.Context, w io.Writer) error {
		_, err := io.CopyBuffer(onlyWriter{w}, io.NewSectionReader(r, 0, size), make([]byte, 1<<20))
		return err
	}}
}

type onlyWriter struct{ io.Writer }

// Options of [Write] and [Verify]. The zero value writes to the disks of this machine in silence.
type Options struct {
	System   System         // default: Local()
	Force    bool           // lifts the size ceiling
	Progress func(Progress) // called by one goroutine at a time, a few times a second at most for each disk
}

// Phase is what is being done to a disk.
type Phase string

// The phases of writing, in order.
const (
	Writing   Phase = "write"
	Verifying Phase = "verify"
)

// Progress is how far one disk is.
type Progress struct {
	Path  string        `json:"path"`
	Phase Phase         `json:"phase"`
	Done  int64         `json:"done"`  // bytes of this phase
	Total int64         `json:"total"` // bytes of this phase
	Rate  int64         `json:"rate"`  // bytes per second of this phase
	Left  time.Duration `json:"left"`  // until this disk is written and verified, at this rate
}

// Result is how one disk ended. Without Err it was read back, is right, and starts.
type Result struct {
	Disk      Disk
	SHA256    string // of the image
	Relocated bool   // the backup partition table was moved to the end of the disk
	Elapsed   time.Duration
	Err       error
	// Cleared tells, where Err is set, that the beginning and end of the disk are known to be empty.
	Cleared bool
	Touched bool // something was written, or it cannot be told
}

// CorruptError means that a disk gave back something else than was written.
type CorruptError struct {
	Path   string
	Offset int64 // where the first difference lies, within 4 MiB
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s does not give back what was written, near byte %d", e.Path, e.Offset)
}

// TooSmallError means that the image is larger than the disk.
type TooSmallError struct {
	Path        string
	Size, Image int64
}

func (e *TooSmallError) Error() string {
	return fmt.Sprintf("%s with %d bytes is too small for the image of %d: %d bytes are missing", e.Path, e.Size, e.Image, e.Image-e.Size)
}

// Write writes the image to all disks at the same time and verifies each. The image and every disk are checked before any
// disk is touched: an image that no firmware could start ([ErrNoImage]) or that has not the hash it should have is refused.
// The error is set only if no disk was touched; how each ended is in the results, in the order of disks. When ctx ends, the
// disks that are not finished are cleared at both ends, so that nothing starts from them.
func Write(ctx context.Context, image Image, disks []Disk, o Options) ([]Result, error) {
	if o.System == nil {
		o.System = Local()
	}
	if err := checkAll(ctx, image, disks, o); err != nil {
		return nil, err
	}
	if err := image.check(ctx); err != nil {
		return nil, err
	}
	report := serial(o.Progress)
	results := make([]Result, len(disks))
	var wg sync.WaitGroup
	for i, d := range disks {
		wg.Go(func() {
			start := time.Now()
			j := &job{image: image, disk: d, system: o.System, meter: newMeter(d.Path, report), result: Result{Disk: d}}
			j.run(ctx)
			j.result.Elapsed = time.Since(start)
			results[i] = j.result
		})
	}
	wg.Wait()
	return results, nil
}

// checkAll looks at the disks again, because between listing and writing somebody may have changed sticks.
func checkAll(ctx context.Context, image Image, disks []Disk, o Options) error {
	if len(disks) == 0 {
		return errors.New("no disk to write to")
	}
	now, err := o.System.Disks(ctx)
	if err != nil {
		return fmt.Errorf("list disks: %w", err)
	}
	seen := map[string]bool{}
	for _, d := range disks {
		if seen[d.Path] {
			return fmt.Errorf("%s is named twice", d.Path)
		}
		seen[d.Path] = true
		current := Disk{}
		for _, n := range now {
			if d.same(n) {
				current = n
			}
		}
		if current.Path == "" {
			return hint.Wrap(fmt.Errorf("%s: %w", d.Path, ErrGone), "Somebody has pulled or changed the stick. List the disks again.")
		}
		if err := current.Check(o.Force); err != nil {
			return err
		}
		if current.Size < image.Size {
			return hint.Wrapf(&TooSmallError{d.Path, current.Size, image.Size}, "Take a stick with at least %s.", Bytes(image.Size))
		}
	}
	return nil
}

// job writes one disk.
type job struct {
	image  Image
	disk   Disk
	system System
	meter  *meter
	dev    Device
	result Result

	head []byte     // the first MiB of the image, held back
	sums [][32]byte // of each chunk as written; the first lacks the first MiB
}

func (j *job) run(ctx context.Context) {
	dev, err := j.system.Open(ctx, j.disk, true)
	if err != nil {
		j.result.Err = fmt.Errorf("open %s: %w", j.disk.Path, err)
		return
	}
	j.dev = dev
	if err = j.write(ctx); err != nil {
		j.result.Cleared = j.result.Touched && j.clear() == nil
		err = advise(err, j.result)
	}
	if closing := dev.Close(); err == nil && closing != nil {
		err = fmt.Errorf("close %s: %w", j.disk.Path, closing)
	}
	j.result.Err = err
}

func advise(err error, r Result) error {
	text := "Nothing starts from this stick now. "
	switch {
	case !r.Touched:
		text = "Nothing was written to this stick. "
	case !r.Cleared:
		text = "Something was written to the stick, and it could not be emptied afterwards: do not use it. "
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return hint.Wrap(fmt.Errorf("write %s: stopped: %w", r.Disk.Path, err), text+"Write it again from the start.")
	}
	if lie := (*CorruptError)(nil); errors.As(err, &lie) {
		return hint.Wrap(err, text+"It is broken or holds less than it says: throw it away.")
	}
	return hint.Wrap(err, text+"Plug it in again or take another one.")
}

func (j *job) write(ctx context.Context) error {
	if err := j.clear(); err != nil {
		return fmt.Errorf("clear %s: %w", j.disk.Path, err)
	}
	whole := sha256.New() // once more, of what is written: the file may change while several sticks are
	body := &body{job: j, ctx: ctx, buf: aligned(chunk), fill: head}
	if err := j.image.WriteTo(ctx, io.MultiWriter(whole, body)); err != nil {
		return fmt.Errorf("write %s: %w", j.disk.Path, err)
	}
	if err := body.end(); err != nil {
		return fmt.Errorf("write %s: %w", j.disk.Path, err)
	}
	j.result.SHA256 = hex.EncodeToString(whole.Sum(nil))
	if want := j.image.SHA256; want != "" && !strings.EqualFold(want, j.result.SHA256) {
		return hint.Wrap(fmt.Errorf("the image has the SHA-256 %s instead of %s", j.result.SHA256, want), "The image is damaged; copy or build it again.")
	}
	if err := j.dev.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", j.disk.Path, err)
	}
	if err := j.verify(ctx); err != nil {
		return err
	}
	return j.finish(ctx)
}

// clear empties both ends, so that neither the partition table nor its backup is found. It does its work also when the
// context has ended.
func (j *job) clear() error {
	zero := aligned(head)
	last := (j.disk.Size - head) / sector * sector
	if err := j.put(zero, 0); err != nil {
		return err
	}
	return errors.Join(j.put(zero[:j.disk.Size/sector*sector-last], last), j.dev.Sync())
}

// finish writes what makes the disk bootable, the very beginning last, and reads it back. All else was verified before, so
// that a stick pulled in between is either empty to a firmware or complete.
func (j *job) finish(ctx context.Context) error {
	first, tail, ok := relocated(j.head, j.image.Size, j.disk.Size)
	room := j.disk.Size - j.image.Size
	if ok = ok && room >= tailSize && reversible(j.head, first, j.image.Size, j.disk.Size); !ok {
		first, tail = j.head, nil
	}
	j.result.Relocated = ok
	at := j.disk.Size/sector*sector - int64(len(tail))
	for _, p := range []struct {
		b  []byte
		at int64
	}{{tail, at}, {first, 0}} {
		if len(p.b) == 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		b := aligned(len(p.b))
		copy(b, p.b)
		if err := j.put(b, p.at); err != nil {
			return fmt.Errorf("write %s: %w", j.disk.Path, err)
		}
		if err := j.dev.Sync(); err != nil {
			return fmt.Errorf("write %s: %w", j.disk.Path, err)
		}
		clear(b)
		if err := readAt(j.dev, b, p.at); err != nil {
			return fmt.Errorf("read %s back: %w", j.disk.Path, err)
		}
		if string(b) != string(p.b) {
			return &CorruptError{j.disk.Path, p.at}
		}
	}
	return nil
}

// verify reads the body back, chunk by chunk.
func (j *job) verify(ctx context.Context) error {
	b := aligned(chunk)
	j.meter.begin(Verifying, j.image.Size, 0)
	for i, want := range j.sums {
		if err := ctx.Err(); err != nil {
			return err
		}
		from, to := int64(i)*chunk, min(int64(i+1)*chunk, roundUp(j.image.Size))
		if i == 0 {
			from = head
		}
		part := b[:to-from]
		if err := readAt(j.dev, part, from); err != nil {
			return fmt.Errorf("read %s back: %w", j.disk.Path, err)
		}
		if sha256.Sum256(part) != want {
			return &CorruptError{j.disk.Path, from}
		}
		j.meter.at(min(to, j.image.Size))
	}
	return nil
}

// body takes the image as a stream, keeps its first MiB, and writes the rest in chunks that end at multiples of 4 MiB.
type body struct {
	job  *job
	ctx  context.Context //nolint:containedctx // lives as long as one stream
	buf  []byte
	n    int64 // bytes taken so far
	fill int64 // where in buf, counted from the beginning of its chunk, the next byte goes
}

func (w *body) Write(p []byte) (int, error) {
	if w.n == 0 && len(w.job.head) == 0 {
		w.job.meter.begin(Writing, w.job.image.Size, w.job.image.Size)
	}
	taken := len(p)
	if w.n+int64(taken) > w.job.image.Size {
		return 0, fmt.Errorf("the image is longer than the %d bytes it was said to have", w.job.image.Size)
	}
	if missing := head - len(w.job.head); missing > 0 {
		k := min(missing, len(p))
		w.job.head = append(w.job.head, p[:k]...)
		p, w.n = p[k:], w.n+int64(k)
	}
	for len(p) > 0 {
		k := copy(w.buf[w.fill:], p)
		p, w.n, w.fill = p[k:], w.n+int64(k), w.fill+int64(k)
		if w.fill == chunk {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return taken, w.ctx.Err()
}

func (w *body) flush() error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	i := int64(len(w.job.sums))
	from := int64(0)
	if i == 0 {
		from = head
	}
	end := roundUp(w.fill)
	clear(w.buf[w.fill:end])
	part := w.buf[from:end]
	if err := w.job.put(part, i*chunk+from); err != nil {
		return err
	}
	w.job.sums = append(w.job.sums, sha256.Sum256(part))
	w.job.meter.at(w.n)
	w.fill = 0
	return nil
}

func (w *body) end() error {
	if w.n != w.job.image.Size {
		return fmt.Errorf("the image ended after %d of %d bytes", w.n, w.job.image.Size)
	}
	if w.fill > 0 && (len(w.job.sums) > 0 || w.fill > head) {
		return w.flush()
	}
	return nil
}

// put writes, and knows from then on that something may be on the disk. A first write that took nothing, as on a disk that
// protects itself, has touched nothing.
func (j *job) put(b []byte, at int64) error {
	n, err := j.dev.WriteAt(b, at)
	j.result.Touched = j.result.Touched || n > 0 || err == nil
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("at byte %d: %w", at+int64(n), err)
	}
	return nil
}

func readAt(d Device, b []byte, at int64) error {
	n, err := d.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	return fmt.Errorf("at byte %d: %w", at+int64(n), orShort(err))
}
