package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/media/iso"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

var errTooLarge = errors.New("larger than such a file ever is")

const whereFrom = "take winre.wim (in C:\\Windows\\System32\\Recovery of a Windows 10 or 11, or with --winre out of an installation ISO), " +
	"or sources\\boot.wim of a Windows installation ISO"

// source is the administrator's Windows PE, opened for reading.
type source struct {
	name  string // for people: file and image
	raw   io.ReaderAt
	wim   *wim.File
	image wim.Image
	files fs.FS // of the image
	disc  fs.FS // the ISO around it, nil if there is none

	cleanup []func() error
}

func (s *source) close() error {
	var err error
	for i := len(s.cleanup) - 1; i >= 0; i-- {
		err = errors.Join(err, s.cleanup[i]())
	}
	return err
}

func openFile(name string) (*os.File, int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() && st.Mode()&os.ModeDevice == 0 {
		err = fmt.Errorf("%q is not a file", name)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	size := st.Size()
	if st.Mode()&os.ModeDevice != 0 {
		if size, err = f.Seek(0, io.SeekEnd); err != nil {
			return nil, 0, errors.Join(err, f.Close())
		}
	}
	return f, size, nil
}

// openSource opens a WIM, or the WIM inside an ISO, or the recovery environment inside an installation.
func openSource(ctx context.Context, spec Spec) (_ *source, err error) {
	f, size, err := openFile(spec.Source)
	if err != nil {
		return nil, fmt.Errorf("open source: %w", err)
	}
	s := &source{name: filepath.Base(spec.Source), raw: f, cleanup: []func() error{f.Close}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	s.wim, err = wim.Open(f, size)
	if errors.Is(err, wim.ErrNotWIM) {
		err = s.openDisc(f, size, spec.WinRE)
	}
	if err != nil {
		return nil, fmt.Errorf("read source %q: %w", spec.Source, err)
	}
	if err := s.pick(ctx, spec); err != nil {
		return nil, fmt.Errorf("source %q: %w", s.name, err)
	}
	if s.files, err = s.wim.FS(s.image.Index); err != nil {
		return nil, fmt.Errorf("read source %q: %w", s.name, err)
	}
	s.name += fmt.Sprintf(", image %d (%s)", s.image.Index, s.image.Name)
	return s, s.check(spec)
}

// openDisc finds the WIM of an installation disc.
func (s *source) openDisc(f *os.File, size int64, winRE bool) error {
	disc, err := iso.Open(f, size)
	if errors.Is(err, iso.ErrNotISO) {
		return hint.Wrap(errors.New("it is neither a WIM nor an ISO"), whereFrom)
	}
	if err != nil {
		return err
	}
	s.disc = disc
	name := "sources/boot.wim"
	if winRE {
		name = "sources/install.wim"
		if !isFile(disc, name) && isFile(disc, "sources/install.esd") {
			return hint.Wrap(errors.New("its installation is an .esd, which this program does not unpack"),
				"export it once on any Windows: dism /Export-Image /SourceImageFile:install.esd /SourceIndex:1 /DestinationImageFile:install.wim /Compress:max; or leave --winre away")
		}
	}
	file, err := disc.Open(name)
	if err != nil {
		return hint.Wrap(fmt.Errorf("this ISO has no %s: it is no Windows installation disc", name), whereFrom)
	}
	s.cleanup = append(s.cleanup, file.Close)
	at, ok := file.(io.ReaderAt)
	st, err := file.Stat()
	if err != nil || !ok {
		return errors.Join(fmt.Errorf("%s cannot be read at any place", name), err)
	}
	s.raw = at
	s.name += ", " + name
	s.wim, err = wim.Open(at, st.Size())
	return err
}

// pick chooses the image, and goes one level deeper where it is an installation: to its winre.wim.
func (s *source) pick(ctx context.Context, spec Spec) error {
	selector := spec.Image
	if s.wim.BootIndex() == 0 && selector == "" && len(s.wim.Images()) > 1 {
		selector = "1" // every edition of an installation carries the same recovery environment
	}
	image, err := s.wim.Pick(selector)
	if err != nil {
		return err
	}
	s.image = image
	entry, err := s.wim.Stat(image.Index, wim.WinREPath)
	if err != nil || entry.Dir {
		if spec.WinRE {
			return hint.Wrap(errors.New("it holds no winre.wim"), "take a complete installation; a machine keeps its own in C:\\Windows\\System32\\Recovery or on its recovery partition")
		}
		return nil
	}
	if err := checkSpace(tempDir(spec), entry.Size); err != nil {
		return fmt.Errorf("unpack winre.wim: %w", err)
	}
	temp, err := os.CreateTemp(spec.TempDir, "fleetmend-winre-*.wim")
	if err != nil {
		return fmt.Errorf("unpack winre.wim: %w", err)
	}
	gone := os.Remove(temp.Name()) == nil // so that a build that is killed leaves nothing; Windows keeps it while it is open
	s.cleanup = append(s.cleanup, func() error {
		err := temp.Close()
		if !gone {
			err = errors.Join(err, os.Remove(temp.Name()))
		}
		return err
	})
	if _, err := s.wim.ExtractWinRE(ctx, image.Index, temp); err != nil {
		return fmt.Errorf("unpack winre.wim: %w", err)
	}
	inner, err := wim.Open(temp, entry.Size)
	if err != nil {
		return fmt.Errorf("winre.wim: %w", err)
	}
	s.raw, s.wim = temp, inner
	s.name += ", winre.wim of " + image.Name
	s.image, err = inner.Pick("")
	return err
}

func tempDir(spec Spec) string {
	if spec.TempDir != "" {
		return spec.TempDir
	}
	return os.TempDir()
}

// check refuses images that are no Windows PE, and those that cannot unlock a disk.
func (s *source) check(spec Spec) error {
	if !isFile(s.files, "Windows/System32/winpeshl.exe") && !isFile(s.files, "Windows/System32/wpeinit.exe") {
		return hint.Wrap(fmt.Errorf("source %q is no Windows PE: it has neither winpeshl.exe nor wpeinit.exe", s.name), whereFrom)
	}
	if spec.NoBitLocker || hasComponent(s.files, bitLocker) {
		return nil
	}
	return hint.Wrap(hint.Wrap(fmt.Errorf("source %q has no BitLocker tools (manage-bde.exe, fveapi.dll): a locked disk could not be opened", s.name),
		"these have them: "+whereFrom+"; the bare winpe.wim of the ADK has not"),
		"if no machine is encrypted, say --no-bitlocker")
}
