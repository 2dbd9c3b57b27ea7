package media

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/media/content"
	"github.com/fleetmend/fleetmend/remediate/media/iso"
	"github.com/fleetmend/fleetmend/remediate/media/pesign"
)

const maxBootFile = 64 << 20

// place is where boot files may be: a folder the administrator gave, the image itself, the disc around it.
type place struct {
	name string
	fsys fs.FS
}

// loader is a boot manager that was found.
type loader struct {
	place
	path        string
	ex          bool // of the set for 2023: EFI_EX, Fonts_EX, DVD_EX
	raw         []byte
	file        *pesign.File
	authorities []pesign.Authority
}

func (l loader) by(a pesign.Authority) bool { return slices.Contains(l.authorities, a) }

// signedFor is the world a loader belongs to.
func (l loader) signedFor() SecureBoot {
	switch a, b := l.by(pesign.WindowsPCA2011), l.by(pesign.WindowsUEFI2023); {
	case a && b:
		return both
	case a:
		return For11
	case b:
		return For23
	}
	return nobody
}

const otherBootFiles = "take the boot files of another source with --boot-files: a current Windows installation ISO, the Media folder of an ADK, or a folder"

// bootPlaces lists where to look, in order.
func bootPlaces(spec Spec, s *source) (list []place, closer func() error, err error) {
	closer = func() error { return nil }
	if spec.BootFiles != "" {
		st, err := os.Stat(spec.BootFiles)
		if err != nil {
			return nil, closer, fmt.Errorf("open boot files: %w", err)
		}
		if st.IsDir() {
			list = append(list, place{spec.BootFiles, foldFS{os.DirFS(spec.BootFiles)}})
		} else {
			f, size, err := openFile(spec.BootFiles)
			if err != nil {
				return nil, closer, fmt.Errorf("open boot files: %w", err)
			}
			disc, err := iso.Open(f, size)
			if err != nil {
				return nil, closer, errors.Join(fmt.Errorf("open boot files %q: %w", spec.BootFiles, err), f.Close())
			}
			closer, list = f.Close, append(list, place{spec.BootFiles, disc})
		}
	}
	list = append(list, place{"the image", s.files})
	if s.disc != nil {
		list = append(list, place{"the ISO", s.disc})
	}
	return list, closer, nil
}

// find returns the first of the names that is anywhere, asking one place after the other.
func find(places []place, names ...string) (place, string, bool) {
	for _, p := range places {
		for _, n := range names {
			if isFile(p.fsys, n) {
				return p, n, true
			}
		}
	}
	return place{}, "", false
}

// loaderName is what firmware looks for on removable media.
func loaderName(arch string) string {
	switch arch {
	case "arm64":
		return "EFI/BOOT/BOOTAA64.EFI"
	case "x86":
		return "EFI/BOOT/BOOTIA32.EFI"
	}
	return "EFI/BOOT/BOOTX64.EFI"
}

// loaders finds all boot managers for an architecture.
func loaders(places []place, arch string) (list []loader, err error) {
	for _, p := range places {
		for _, c := range []struct {
			ex    bool
			names []string
		}{
			{true, []string{"Windows/Boot/EFI_EX/bootmgfw_EX.efi", "EFI_EX/bootmgfw_EX.efi", "bootmgfw_EX.efi"}},
			{false, []string{"Windows/Boot/EFI/bootmgfw.efi", "EFI/bootmgfw.efi", "bootmgfw.efi", loaderName(arch)}},
		} {
			_, name, ok := find([]place{p}, c.names...)
			if !ok {
				continue
			}
			l := loader{place: p, path: name, ex: c.ex}
			if l.raw, err = readAll(p.fsys, name, maxBootFile); err != nil {
				return nil, fmt.Errorf("read %s of %s: %w", name, p.name, err)
			}
			if l.file, err = pesign.Inspect(bytes.NewReader(l.raw), int64(len(l.raw))); err != nil {
				return nil, fmt.Errorf("%s of %s: %w", name, p.name, err)
			}
			if got := peArch(l.file.Machine); got != arch {
				return nil, hint.Wrap(fmt.Errorf("%s of %s is for %s, but the Windows PE is for %s", name, p.name, got, arch), otherBootFiles)
			}
			l.authorities = l.file.Authorities()
			list = append(list, l)
		}
	}
	return list, nil
}

// choose picks the loader for the world asked for.
func choose(list []loader, want SecureBoot) (loader, error) {
	if len(list) == 0 {
		return loader{}, hint.Wrap(errors.New("there is no UEFI boot manager (bootmgfw.efi) in the source"), otherBootFiles)
	}
	pick := func(ok func(loader) bool) (loader, bool) {
		if i := slices.IndexFunc(list, ok); i >= 0 {
			return list[i], true
		}
		return loader{}, false
	}
	is := func(w SecureBoot) func(loader) bool { return func(l loader) bool { return l.signedFor() == w } }
	if l, ok := pick(is(both)); ok {
		return l, nil
	}
	if want != Auto {
		if l, ok := pick(is(want)); ok {
			return l, nil
		}
		return loader{}, notSigned(list, want)
	}
	for _, w := range []SecureBoot{For23, For11} {
		if l, ok := pick(is(w)); ok {
			return l, nil
		}
	}
	if l, ok := pick(func(l loader) bool { return !l.ex }); ok {
		return l, nil
	}
	return list[0], nil
}

func notSigned(list []loader, want SecureBoot) error {
	hasEX := slices.ContainsFunc(list, func(l loader) bool { return l.ex })
	if want == For23 && !hasEX {
		return hint.Wrap(errors.New("the source is too old for Secure Boot 2023: it has no EFI_EX\\bootmgfw_EX.efi, and no boot manager signed by Windows UEFI CA 2023"),
			"take a Windows 10 or 11 ISO or winre.wim with the updates of 2024-07 or later; "+otherBootFiles)
	}
	var found []string
	for _, l := range list {
		found = append(found, fmt.Sprintf("%s of %s is %s", path.Base(l.path), l.name, signedBy(l.file)))
	}
	return hint.Wrap(fmt.Errorf("no boot manager here is signed for Secure Boot %s: %s", want, strings.Join(found, "; ")),
		otherBootFiles+"; --secure-boot auto takes what is there, for machines with Secure Boot off")
}

// bootSet is what starts the image, from one world.
type bootSet struct {
	loader   loader
	entries  []content.Entry
	efisys   *content.Entry // El Torito image for UEFI of the source; nil: build one
	etfsboot bool           // a BIOS can start the disc
	warnings []string
}

// gather puts the boot files for a loader together.
func gather(places []place, l loader, arch string, prompt bool) (*bootSet, error) {
	b := &bootSet{loader: l, entries: []content.Entry{content.Bytes(loaderName(arch), l.raw)}}
	const efi = "EFI/Microsoft/Boot/"
	if !b.add(places, efi+"BCD", "Windows/Boot/DVD/EFI/BCD", "DVD/EFI/BCD", efi+"BCD", "BCD") {
		return nil, lacks("the boot configuration (Windows\\Boot\\DVD\\EFI\\BCD)")
	}
	if !b.add(places, "boot/boot.sdi", "Windows/Boot/DVD/EFI/boot.sdi", "Windows/Boot/DVD/PCAT/boot.sdi", "DVD/EFI/boot.sdi", "boot/boot.sdi", "boot.sdi") {
		return nil, lacks("the RAM disk template (Windows\\Boot\\DVD\\EFI\\boot.sdi)")
	}
	if !b.add(places, efi+"boot.stl", "Windows/Boot/EFI/boot.stl", efi+"boot.stl", "EFI/boot.stl", "boot.stl") {
		b.warnings = append(b.warnings, "the source has no boot.stl: the boot manager of Windows 11 24H2 and later does not start without it")
	}
	if l.ex {
		b.add(places, "bootmgr.efi", "Windows/Boot/EFI_EX/bootmgr_EX.efi", "EFI_EX/bootmgr_EX.efi")
	} else {
		b.add(places, "bootmgr.efi", "Windows/Boot/EFI/bootmgr.efi", "EFI/bootmgr.efi", "bootmgr.efi")
	}
	if err := b.fonts(places, l.ex); err != nil {
		return nil, err
	}
	b.disc(places, l.ex, prompt)
	return b, nil
}

func lacks(what string) error {
	return hint.Wrap(fmt.Errorf("the source lacks %s", what), otherBootFiles)
}

func (b *bootSet) add(places []place, to string, from ...string) bool {
	p, name, ok := find(places, from...)
	if !ok {
		return false
	}
	e, err := content.FromFS(to, p.fsys, name)
	if err != nil {
		return false
	}
	b.entries = append(b.entries, e)
	return true
}

// fonts takes the boot manager's fonts; those of the set for 2023 lose the mark in their names.
func (b *bootSet) fonts(places []place, ex bool) error {
	dirs := []string{"Windows/Boot/Fonts", "Fonts", "EFI/Microsoft/Boot/Fonts"}
	if ex {
		dirs = []string{"Windows/Boot/Fonts_EX", "Fonts_EX", "EFI/Microsoft/Boot/Fonts"}
	}
	for _, p := range places {
		for _, dir := range dirs {
			entries, err := fs.ReadDir(p.fsys, dir)
			if err != nil {
				continue
			}
			n := 0
			for _, e := range entries {
				if e.IsDir() || !strings.EqualFold(path.Ext(e.Name()), ".ttf") {
					continue
				}
				name := strings.TrimSuffix(e.Name(), path.Ext(e.Name()))
				if ex {
					name = strings.TrimSuffix(strings.TrimSuffix(name, "_EX"), "_ex")
				}
				font, err := content.FromFS("EFI/Microsoft/Boot/Fonts/"+name+".ttf", p.fsys, path.Join(dir, e.Name()))
				if err != nil {
					return fmt.Errorf("read font: %w", err)
				}
				b.entries = append(b.entries, font)
				n++
			}
			if n > 0 {
				return nil
			}
		}
	}
	b.warnings = append(b.warnings, "the source has no boot fonts: messages of the boot manager may not be readable")
	return nil
}

// disc finds what only a disc needs.
func (b *bootSet) disc(places []place, ex, prompt bool) {
	names := []string{"efisys_noprompt", "efisys"}
	if prompt {
		slices.Reverse(names)
	}
	var from []string
	for _, n := range names {
		if ex {
			from = append(from, "Windows/Boot/DVD_EX/EFI/en-US/"+n+"_EX.bin", "DVD_EX/EFI/en-US/"+n+"_EX.bin", "EFI/Microsoft/Boot/"+n+"_EX.bin")
		} else {
			from = append(from, "Windows/Boot/DVD/EFI/en-US/"+n+".bin", "DVD/EFI/en-US/"+n+".bin", "EFI/Microsoft/Boot/"+n+".bin")
		}
	}
	if p, name, ok := find(places, from...); ok {
		if e, err := content.FromFS(efisysPath, p.fsys, name); err == nil {
			b.efisys = &e
		}
	}
	legacy := &bootSet{}
	b.etfsboot = legacy.add(places, etfsbootPath, "Windows/Boot/DVD/PCAT/etfsboot.com", "boot/etfsboot.com", "etfsboot.com") &&
		legacy.add(places, "bootmgr", "Windows/Boot/PCAT/bootmgr", "bootmgr") &&
		legacy.add(places, "boot/BCD", "Windows/Boot/DVD/PCAT/BCD", "boot/BCD")
	if b.etfsboot {
		b.entries = append(b.entries, legacy.entries...)
	}
}

const (
	efisysPath   = "EFI/Microsoft/Boot/efisys.bin"
	etfsbootPath = "boot/etfsboot.com"
)
