package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/fleetmend/fleetmend/remediate/media/aboard"
	"github.com/fleetmend/fleetmend/remediate/media/fat"
	"github.com/fleetmend/fleetmend/remediate/media/iso"
	"github.com/fleetmend/fleetmend/remediate/media/pesign"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

// Inspection is what a medium is, can do and carries.
type Inspection struct {
	Kind     string         `json:"kind"`
	Loaders  []Loader       `json:"loaders"`
	BIOS     bool           `json:"bios"` // has what a BIOS starts; only told of discs
	Images   []Image        `json:"images"`
	Medium   *aboard.Medium `json:"medium,omitempty"` // nil: not made by fleetmend
	Keys     bool           `json:"keys"`             // a sealed bundle is on it
	Results  int            `json:"results"`          // of machines, on it now
	Problems []string       `json:"problems"`         // why it may not start or not be of use
}

// Loader is a boot file that firmware may start.
type Loader struct {
	Path    string   `json:"path"`
	Arch    string   `json:"arch"`
	Signers []Signer `json:"signers"`
	Starts  []string `json:"starts"`
}

// Signer is one signature of a boot file.
type Signer struct {
	Name      string `json:"name"`
	Issuer    string `json:"issuer"`
	Authority string `json:"authority,omitempty"`
	From      string `json:"valid_from,omitempty"`
	Until     string `json:"valid_until,omitempty"` // firmware does not look at it
	Problem   string `json:"problem,omitempty"`
}

// Image is a Windows image on the medium.
type Image struct {
	File       string      `json:"file"`
	Index      int         `json:"index"`
	Name       string      `json:"name"`
	Arch       string      `json:"arch"`
	Version    string      `json:"version"`
	Boots      bool        `json:"boots"` // the one that is started
	Fleetmend  bool        `json:"fleetmend"`
	Components []Component `json:"components"`
}

// Inspect reads a medium. What is wrong with it is in the Inspection; the error says that it cannot be read at all.
func Inspect(ctx context.Context, name string) (*Inspection, error) {
	m, err := OpenMedium(name)
	if err != nil {
		return nil, err
	}
	in, err := m.Inspect(ctx)
	return in, errors.Join(err, m.Close())
}

// Inspect is [Inspect] of a medium that is open.
func (m *Medium) Inspect(ctx context.Context) (*Inspection, error) {
	in := &Inspection{Kind: m.Kind, Loaders: []Loader{}, Images: []Image{}, Problems: []string{}}
	if m.wim != nil {
		err := in.wim(m.wim, "the WIM")
		if err == nil {
			err = m.wim.Verify(ctx)
		}
		if err != nil {
			in.problem(err.Error())
		}
		return in, ctx.Err()
	}
	for _, arch := range processors {
		in.loader(m.FS, loaderName(arch), loaderName(arch), arch)
	}
	if m.disc != nil {
		in.bootEntries(m.disc)
	}
	if len(in.Loaders) == 0 {
		in.problem("it has no EFI\\BOOT\\BOOT*.EFI: UEFI firmware does not start it")
	}
	if err := in.images(ctx, m.FS); err != nil {
		return nil, err
	}
	if !isFile(m.FS, "EFI/Microsoft/Boot/BCD") && len(in.Images) > 0 {
		in.problem("it has no EFI\\Microsoft\\Boot\\BCD: the Windows boot manager will not know what to start")
	}
	medium, err := aboard.ReadMedium(m.FS)
	switch {
	case err == nil:
		in.Medium = medium
	case !errors.Is(err, aboard.ErrNoMedium):
		in.problem("its description cannot be read: " + err.Error())
	}
	in.Keys = isFile(m.FS, aboard.Dir+"/"+aboard.KeysFile)
	results, err := aboard.ReadResults(m.FS)
	if err != nil {
		in.problem("its results cannot be read: " + err.Error())
	}
	in.Results = len(results)
	return in, ctx.Err()
}

func (in *Inspection) problem(text string) { in.Problems = append(in.Problems, text) }

// loader adds a boot file, if it is there.
func (in *Inspection) loader(root fs.FS, name, shown, arch string) {
	raw, err := readAll(root, name, maxBootFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		in.problem(fmt.Sprintf("%s cannot be read: %v", shown, err))
		return
	}
	f, err := pesign.Inspect(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		in.problem(fmt.Sprintf("%s is no boot file: %v", shown, err))
		return
	}
	l := Loader{Path: shown, Arch: peArch(f.Machine), Signers: []Signer{}, Starts: startsOn(f)}
	for _, s := range f.Signatures {
		one := Signer{Issuer: s.Issuer(), Authority: string(s.Authority)}
		if s.Problem != nil {
			one.Problem = s.Problem.Error()
		}
		if c := s.Signer(); c != nil {
			one.Name = c.Subject.String()
			one.From, one.Until = c.NotBefore.UTC().Format("2006-01-02"), c.NotAfter.UTC().Format("2006-01-02")
		}
		l.Signers = append(l.Signers, one)
	}
	if l.Arch != arch {
		in.problem(fmt.Sprintf("%s is for %s: only machines with %s look for a file of that name, and they do not start it", shown, l.Arch, arch))
	}
	in.Loaders = append(in.Loaders, l)
}

// processors that a medium may have a boot file for.
var processors = []string{"amd64", "arm64", "x86"}

// bootEntries looks into the volumes of a disc that firmware starts.
func (in *Inspection) bootEntries(disc *iso.FS) {
	uefi := false
	for _, b := range disc.Boot() {
		switch b.Platform {
		case iso.BIOS:
			in.BIOS = true
		case iso.UEFI:
			uefi = true
			r := disc.BootImage(b)
			v, err := fat.Open(r, r.Size())
			if err != nil {
				in.problem(fmt.Sprintf("the UEFI boot volume of the disc cannot be read: %v", err))
				continue
			}
			for _, arch := range processors {
				in.loader(v, loaderName(arch), loaderName(arch)+" in the boot volume of the disc", arch)
			}
		}
	}
	if !uefi {
		in.problem("the disc has no UEFI boot entry")
	}
}

// images reads every WIM where boot media have them.
func (in *Inspection) images(ctx context.Context, root fs.FS) error {
	for _, dir := range []string{".", "sources", "boot", "fleetmend"} {
		entries, err := fs.ReadDir(root, dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			name := path.Join(dir, e.Name())
			if e.IsDir() || !strings.EqualFold(path.Ext(name), ".wim") {
				continue
			}
			if !ascii(name) {
				in.problem(fmt.Sprintf("the boot manager cannot start %s: it reads names with English letters only", name))
			}
			if err := in.wimOf(ctx, root, name); err != nil {
				in.problem(fmt.Sprintf("%s: %v", name, err))
			}
		}
	}
	if len(in.Images) == 0 {
		in.problem("it has no Windows image (sources\\boot.wim)")
	}
	return ctx.Err()
}

func (in *Inspection) wimOf(ctx context.Context, root fs.FS, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	st, err := f.Stat()
	if err != nil {
		return err
	}
	at, ok := f.(io.ReaderAt)
	if !ok {
		return errors.New("cannot be read at any place")
	}
	w, err := wim.Open(at, st.Size())
	if err != nil {
		return err
	}
	if w.BootIndex() == 0 && strings.EqualFold(path.Base(name), "boot.wim") {
		in.problem(name + " has no image that is marked to start")
	}
	if err := in.wim(w, name); err != nil || w.BootIndex() == 0 {
		return err
	}
	return w.Verify(ctx) // one that is damaged somewhere may start, and fail later
}

// wim adds the images of a WIM.
func (in *Inspection) wim(w *wim.File, name string) error {
	for _, im := range w.Images() {
		one := Image{File: name, Index: im.Index, Name: im.Name, Arch: im.Architecture, Version: im.Version, Boots: im.Boot}
		files, err := w.FS(im.Index)
		if err != nil {
			return err
		}
		one.Components = componentsOf(files)
		one.Fleetmend = isFile(files, aboard.Dir+"/"+aboard.Program)
		in.Images = append(in.Images, one)
		if im.Boot {
			in.match(im)
		}
	}
	return nil
}

// match compares the processors of boot files and image.
func (in *Inspection) match(im wim.Image) {
	for _, l := range in.Loaders {
		if im.Architecture == "" || l.Arch == im.Architecture {
			return
		}
	}
	if len(in.Loaders) > 0 {
		in.problem(fmt.Sprintf("its image %q is for %s, its boot files are not", im.Name, im.Architecture))
	}
}
