package media

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/remediate/media/usb"
)

// WriteRequest says what is written where.
type WriteRequest struct {
	Image   string   // a file
	Disks   []string // by path, link or serial number
	SHA256  string   // that the image must have; empty: any
	Force   bool     // lifts the size ceiling
	Serials []string // of the disks that may be written (for those without one, the size in bytes); empty: any
	Sure    bool     // Serials are the consent; nobody is asked
	// Answers agree to lose a disk: path and serial number, typed. The ID of the question holds all that was shown of the disk, so
	// that the answer counts for no other disk that has come under the same name meanwhile.
	Answers  question.Answers
	Progress func(usb.Progress)
}

// Write writes an image to disks and verifies each; how each ended is in the results. Without consent to a disk it returns a
// [question.NeededError] about it; with any error nothing was touched.
func Write(ctx context.Context, d *desk.Desk, r WriteRequest) ([]Written, error) {
	if r.Sure && len(r.Serials) == 0 {
		return nil, hint.Mistake(errors.New("--yes erases disks without a question and therefore needs --serial"), "`fleetmend media disks` shows the serial numbers")
	}
	f, err := os.Open(r.Image)
	if err != nil {
		return nil, fmt.Errorf("open the image: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return nil, hint.Mistake(fmt.Errorf("%q is not an image", r.Image), "give a file made by `fleetmend media build`")
	}
	chosen, err := r.choose(ctx, d)
	if err != nil {
		return nil, err
	}
	image := usb.FromReader(f, st.Size())
	image.SHA256 = strings.TrimSpace(r.SHA256)
	results, err := usb.Write(ctx, image, chosen, usb.Options{System: system(d), Force: r.Force, Progress: r.Progress})
	return written(results), err
}

// choose finds the disks; each must be agreed to before any is touched.
func (r WriteRequest) choose(ctx context.Context, d *desk.Desk) ([]usb.Disk, error) {
	all, err := Disks(ctx, d)
	if err != nil {
		return nil, err
	}
	var chosen []usb.Disk
	for _, name := range r.Disks {
		disk, err := usb.Find(all, name)
		if err == nil {
			err = disk.Check(r.Force)
		}
		if err != nil {
			return nil, err
		}
		word := disk.Serial
		if word == "" {
			word = fmt.Sprint(disk.Size)
		}
		if len(r.Serials) > 0 && !slices.Contains(r.Serials, word) {
			return nil, hint.Mistake(fmt.Errorf("%s has %q, which is not among --serial %s", disk.Path, word, strings.Join(r.Serials, ",")), "Look at `fleetmend media disks` again: is it the right stick?")
		}
		led := ""
		if !strings.EqualFold(name, disk.Path) {
			led = name + " is "
		}
		text := fmt.Sprintf("%s%s: %s, %s, holds %s. ALL OF IT WILL BE LOST.", led, disk.Path, disk.Model, usb.Bytes(disk.Size), disk.Holds())
		q := question.Question{
			ID: fmt.Sprintf("disk.erase %s, number %s, %d bytes", text, disk.Number, disk.Size), Kind: question.Word, Word: disk.Path + " " + word, About: []usb.Disk{disk}, Flag: "add --yes with --serial " + word,
			Text: text,
		}
		switch {
		case r.Sure && led != "":
			d.Tell(led + disk.Path)
		case !r.Sure && !r.Answers.Has(q):
			return nil, &question.NeededError{Question: q}
		}
		chosen = append(chosen, disk)
	}
	return chosen, nil
}

// Compared is a disk that holds an image, byte for byte.
type Compared struct {
	Disk   usb.Disk `json:"disk"`
	SHA256 string   `json:"sha256"`
}

// Compare holds every byte of a disk against the image that was written to it.
func Compare(ctx context.Context, d *desk.Desk, name, image string, progress func(usb.Progress)) (Compared, error) {
	all, err := Disks(ctx, d)
	if err != nil {
		return Compared{}, err
	}
	disk, err := usb.Find(all, name)
	if err != nil {
		return Compared{}, err
	}
	f, err := os.Open(image)
	if err != nil {
		return Compared{}, fmt.Errorf("open the image: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, reader{ctx, f})
	if err != nil {
		return Compared{}, fmt.Errorf("read the image: %w", err)
	}
	want := usb.Image{Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))}
	if err := usb.Verify(ctx, disk, want, usb.Options{System: system(d), Progress: progress}); err != nil {
		return Compared{}, err
	}
	return Compared{disk, want.SHA256}, nil
}

// reader ends with its context.
type reader struct {
	ctx context.Context //nolint:containedctx // lives as long as one copy
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
