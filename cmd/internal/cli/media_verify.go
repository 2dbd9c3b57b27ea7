package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/media/usb"
)

func newMediaVerify(a *app) *cobra.Command {
	var image string
	cmd := &cobra.Command{
		Use: "verify MEDIUM", Short: "Compare every file of a medium with its list of hashes, or a stick with its image",
		Long: `Read every file of an image, a disk or a mounted stick and compare it with sums.sha256 on it. Compare the SHA-256 of the
list itself with what media build said to be sure of the list. What was added (results, keys, overrides) is named and no error.

With --image every byte of a disk is compared with the image it was written from. Windows writes a little to every stick it
sees, so that only a fresh one is equal. A disk is named by path or serial number.`,
		Example: "fleetmend media verify fleetmend.img\nfleetmend media verify E:\\\nfleetmend media verify /dev/sdb --image fleetmend.img",
		Args:    exactly(1, "an image, a disk or a folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if image != "" {
				return a.verifyBytes(cmd.Context(), args[0], image)
			}
			return a.verifyFiles(cmd.Context(), args[0])
		},
	}
	cmd.Flags().StringVar(&image, "image", "", "the image that was written to the disk: compare every byte")
	exits(cmd, exitTimeout, exitInterrupted)
	return cmd
}

// openMedium opens an image, a folder, or one of the disks, by path or serial number. Disks are read past the cache.
func (a *app) openMedium(ctx context.Context, name string) (*media.Medium, error) {
	st, err := os.Stat(name)
	if err == nil && (st.IsDir() || st.Mode().IsRegular()) {
		return media.OpenMedium(name)
	}
	all, wrong := a.disks().Disks(ctx)
	if wrong == nil {
		var d usb.Disk
		if d, wrong = usb.Find(all, name); wrong == nil {
			r, closer, err := usb.Content(ctx, d, a.disks())
			if err != nil {
				return nil, err
			}
			return media.ReadMedium(d.Path, r, d.Size, closer)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("there is no image or folder of this name either: %w", wrong)
	}
	return media.OpenMedium(name) // a partition, or a device that is not listed
}

func (a *app) verifyFiles(ctx context.Context, name string) error {
	m, err := a.openMedium(ctx, name)
	if err != nil {
		return err
	}
	c, err := m.Verify(ctx)
	if err = errors.Join(err, m.Close()); err != nil {
		return err
	}
	err = one(a.out, a.streams.Out, c, func(w io.Writer) error { return showCheck(w, c) })
	if err == nil && !c.OK() {
		return coded(exitError, fmt.Errorf("the medium is not as it was built: %s changed, %s missing",
			counted(len(c.Changed), "file", "files"), counted(len(c.Missing), "file", "files")))
	}
	return err
}

// verifyBytes compares a disk with the image that was written to it.
func (a *app) verifyBytes(ctx context.Context, name, image string) error {
	all, err := a.disks().Disks(ctx)
	if err != nil {
		return err
	}
	d, err := usb.Find(all, name)
	if err != nil {
		return err
	}
	f, err := os.Open(image)
	if err != nil {
		return fmt.Errorf("open the image: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		return fmt.Errorf("read the image: %w", err)
	}
	want := usb.Image{Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))}
	show := a.newWriting()
	err = usb.Verify(ctx, d, want, usb.Options{System: a.disks(), Progress: show.progress})
	show.end()
	if err != nil {
		return err
	}
	return one(a.out, a.streams.Out, struct {
		Disk   usb.Disk `json:"disk"`
		SHA256 string   `json:"sha256"`
	}{d, want.SHA256}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s holds the image %s, byte for byte\nSHA-256 %s\n", d.Path, oneLine(image), want.SHA256)
		return err
	})
}
