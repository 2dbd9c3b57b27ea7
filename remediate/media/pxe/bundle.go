package pxe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
	"github.com/fleetmend/fleetmend/remediate/media/content"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

// Files of a bundle besides those of Windows.
const (
	SumsName   = "sums.sha256"
	ReadmeName = "README.txt"
)

// BundleOptions say what goes into a bundle.
type BundleOptions struct {
	From  string   // a medium as `media build` makes (image, ISO, folder), or a WIM
	Dir   string   // to be made; must not exist or be empty
	Extra []string // iPXE, wimboot and the like: files of the administrator, put at the top
}

// Bundled is what a bundle holds.
type Bundled struct {
	Dir      string   `json:"dir"`
	Files    []string `json:"files"`
	Bytes    int64    `json:"bytes"`
	Warnings []string `json:"warnings,omitempty"`
}

// errEmpty is what an interrupted download leaves: firmware would load it and say nothing of use.
var errEmpty = hint.Wrap(errors.New("it is empty"), "Download or copy the file again and compare its hash.")

// Bundle makes the folder. It is complete or, after an error, gone again.
func Bundle(ctx context.Context, o BundleOptions) (b Bundled, err error) {
	entries, closer, err := collect(o)
	if err != nil {
		return b, err
	}
	defer closer.Close()
	for _, name := range o.Extra {
		e, err := content.File(filepath.Base(name), name)
		if err != nil {
			return b, fmt.Errorf("take %q along: %w", name, err)
		}
		if e.Size == 0 {
			return b, fmt.Errorf("take %q along: %w", name, errEmpty)
		}
		entries = append(entries, e)
	}
	existed, err := makeEmpty(o.Dir)
	if err != nil {
		return b, err
	}
	defer func() {
		if err != nil {
			sweep(o.Dir, existed)
		}
	}()
	entries = append(entries, content.Bytes(aboard.NetworkFile, []byte("{\"v\": 1}\n")))
	b = Bundled{Dir: o.Dir, Files: make([]string, 0, len(entries)+3)}
	for _, e := range entries {
		b.Files = append(b.Files, e.Path)
	}
	b.Warnings = lacking(b.Files)
	slices.Sort(b.Files)
	entries = append(entries, content.Bytes(ScriptName, []byte(Script(b.Files, nil))), content.Bytes(ReadmeName, []byte(readme)))
	var sums []string
	for _, e := range entries {
		sum, err := copyTo(ctx, o.Dir, e)
		if err != nil {
			return b, err
		}
		b.Bytes += e.Size
		sums = append(sums, sum+"  "+e.Path+"\n")
	}
	slices.SortFunc(sums, func(a, b string) int { return strings.Compare(a[66:], b[66:]) })
	b.Files = append(b.Files, ScriptName, ReadmeName, SumsName)
	if _, err := copyTo(ctx, o.Dir, content.Bytes(SumsName, []byte(strings.Join(sums, "")))); err != nil {
		return b, err
	}
	return b, nil
}

// wanted are the files of Windows by their names in the bundle and the places where media and WIMs have them.
var wanted = []struct {
	name string
	from []string
}{
	{"BCD", []string{"EFI/Microsoft/Boot/BCD", "Windows/Boot/DVD/EFI/BCD"}},
	{"boot.sdi", []string{"boot/boot.sdi", "Windows/Boot/DVD/EFI/boot.sdi", "Windows/Boot/DVD/PCAT/boot.sdi"}},
	{"boot.stl", []string{"EFI/Microsoft/Boot/boot.stl", "Windows/Boot/EFI/boot.stl"}},
	{"BOOTX64.EFI", []string{"EFI/BOOT/BOOTX64.EFI"}},
	{"BOOTAA64.EFI", []string{"EFI/BOOT/BOOTAA64.EFI"}},
	{"bootmgr.exe", []string{"Windows/Boot/PXE/bootmgr.exe"}},
}

// collect finds the files of Windows in the source.
func collect(o BundleOptions) ([]content.Entry, io.Closer, error) {
	fsys, boot, closer, err := openSource(o.From)
	if err != nil {
		return nil, nil, err
	}
	entries := []content.Entry{boot}
	for _, w := range wanted {
		for _, from := range w.from {
			if e, err := content.FromFS(w.name, fsys, from); err == nil {
				entries = append(entries, e)
				break
			}
		}
	}
	for _, dir := range []string{"EFI/Microsoft/Boot/Fonts", "Windows/Boot/Fonts"} {
		fonts, err := fs.ReadDir(fsys, dir)
		if err != nil {
			continue
		}
		for _, f := range fonts {
			if strings.EqualFold(path.Ext(f.Name()), ".ttf") && plain(f.Name()) {
				if e, err := content.FromFS(f.Name(), fsys, path.Join(dir, f.Name())); err == nil {
					entries = append(entries, e)
				}
			}
		}
		break
	}
	return entries, closer, nil
}

// plain reports whether a name needs no quoting in a script of iPXE.
func plain(name string) bool {
	const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	return !strings.HasPrefix(name, ".") && strings.Trim(name, safe) == ""
}

// openSource opens a medium or a WIM and finds the WIM to start.
func openSource(name string) (fs.FS, content.Entry, io.Closer, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, content.Entry{}, nil, fmt.Errorf("open the source: %w", err)
	}
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
		w, err := wim.Open(f, st.Size())
		switch {
		case err == nil:
			fsys, err := w.FS(max(w.BootIndex(), 1))
			if err == nil && w.BootIndex() == 0 {
				err = hint.Wrap(errors.New("no image of it is marked to be started"), "Build a medium from it first (fleetmend media build); that marks one.")
			}
			if err != nil {
				f.Close()
				return nil, content.Entry{}, nil, fmt.Errorf("open %q: %w", name, err)
			}
			e, err := content.File("boot.wim", name)
			return fsys, e, f, err
		case !errors.Is(err, wim.ErrNotWIM):
			f.Close()
			return nil, content.Entry{}, nil, fmt.Errorf("open %q: %w", name, err)
		}
	}
	f.Close()
	m, err := media.OpenMedium(name)
	if err != nil {
		return nil, content.Entry{}, nil, err
	}
	e, err := content.FromFS("boot.wim", m.FS, "sources/boot.wim")
	if err != nil {
		_ = m.Close()
		return nil, e, nil, hint.Wrap(fmt.Errorf("find sources/boot.wim in %q: %w", name, err), "Give an image made by fleetmend media build, a Windows ISO, or a boot.wim.")
	}
	return m.FS, e, m, nil
}

// lacking says what a bundle cannot do with what it has.
func lacking(there []string) []string {
	has := func(names ...string) bool {
		return slices.ContainsFunc(there, func(t string) bool {
			return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(t, n) })
		})
	}
	var w []string
	if !has("wimboot") {
		w = append(w, "wimboot is missing: iPXE needs it to start Windows PE (README.txt says where it comes from)")
	}
	names := LoaderNames()
	if !has(names["x64"]...) && !has(names["bios"]...) && !has(names["arm64"]...) {
		w = append(w, "there is no first program for any firmware: add ipxe.efi and undionly.kpxe")
	}
	if !has("BCD") || !has("boot.sdi") {
		w = append(w, "BCD or boot.sdi were not found in the source: wimboot then takes those inside boot.wim, if it has them")
	}
	return w
}

// makeEmpty makes the folder and reports whether it was there before.
func makeEmpty(dir string) (existed bool, err error) {
	entries, err := os.ReadDir(dir)
	switch {
	case err == nil && len(entries) > 0:
		return true, hint.Wrap(fmt.Errorf("the folder %q is not empty", dir), "Give a new one; nothing is overwritten.")
	case err == nil:
		return true, nil
	case !errors.Is(err, fs.ErrNotExist):
		return false, fmt.Errorf("make the folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, fmt.Errorf("make the folder: %w", err)
	}
	return false, nil
}

// sweep removes what an unfinished bundle left in a folder that was empty.
func sweep(dir string, existed bool) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		_ = os.RemoveAll(filepath.Join(dir, e.Name()))
	}
	if !existed {
		_ = os.Remove(dir)
	}
}

// copyTo writes one file and returns its SHA-256. A name that is there already is an error.
func copyTo(ctx context.Context, dir string, e content.Entry) (string, error) {
	f, err := os.OpenFile(filepath.Join(dir, e.Path), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("two files want to be %q", e.Path)
	}
	if err != nil {
		return "", fmt.Errorf("write the bundle: %w", err)
	}
	sum := sha256.New()
	w := content.NewWriter(io.MultiWriter(f, sum))
	w.Content(ctx, e)
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		return "", fmt.Errorf("write the bundle: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

const readme = `Starting Windows PE over the network
====================================

What is here: boot.wim (Windows PE with the repair), the boot files of Windows that were found (BCD, boot.sdi, fonts, ...),
boot.ipxe (the script that starts it) and sums.sha256 (sha256sum -c sums.sha256).

What you add, because it is not ours to give away:
  wimboot        https://github.com/ipxe/wimboot/releases   starts Windows PE from iPXE (2.9 or later for Windows 11 24H2)
  ipxe.efi       https://ipxe.org                           first program for UEFI x64 (ipxe-arm64.efi for ARM64)
  undionly.kpxe  https://ipxe.org                           first program for BIOS
  With Secure Boot on, the first program must be signed: take ipxe-shimx64.efi and the ipxe.efi that belongs to it, and check
  that your wimboot is signed too (fleetmend media inspect shows the signatures).

With fleetmend:
  fleetmend media serve THIS-FOLDER --address 192.0.2.10 --dry-run     shows who asks, answers nothing
  fleetmend media serve THIS-FOLDER --address 192.0.2.10

With your own server: put this folder on any HTTP server and let iPXE load boot.ipxe from there (DHCP option 67 for clients of
the user class iPXE); give ipxe.efi or undionly.kpxe to all others.

There is nothing secret in this folder, and nothing secret belongs here: everybody on the network can read it. Files of single
machines are given by fleetmend media serve --machine-files.
`
