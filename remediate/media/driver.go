package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode/utf16"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

const (
	maxINF     = 16 << 20
	maxDrivers = 20_000 // files; more is a whole driver store, given by mistake
)

// drivers checks the folders and gives the changes that put them into the image, with the names of the folders there.
func drivers(folders []string, arch string) (changes []wim.Change, names []string, err error) {
	taken := map[string]bool{}
	for _, folder := range folders {
		name := filepath.Base(filepath.Clean(folder))
		if !ascii(name) || taken[strings.ToLower(name)] || name == "." || name == ".." {
			name = fmt.Sprintf("driver%d", len(names)+1)
		}
		taken[strings.ToLower(name)] = true
		names = append(names, name)
		list, infs, err := driverFiles(folder)
		if err != nil {
			return nil, nil, fmt.Errorf("driver folder %q: %w", folder, err)
		}
		if len(infs) == 0 {
			return nil, nil, hint.Wrap(fmt.Errorf("driver folder %q has no .inf file", folder),
				"give the folder of an unpacked driver, with its .inf, .cat and .sys files; an .exe or .cab is unpacked first")
		}
		for _, inf := range infs {
			if err := checkDriver(folder, inf, arch); err != nil {
				return nil, nil, err
			}
		}
		for _, file := range list {
			to := path.Join(aboard.Dir, aboard.DriversDir, name, file)
			changes = append(changes, wim.PutFile(to, filepath.Join(folder, filepath.FromSlash(file))))
			if len(changes) > maxDrivers {
				return nil, nil, fmt.Errorf("driver folder %q: more than %d files; give only the drivers that Windows PE needs: disk, network, USB", folder, maxDrivers)
			}
		}
	}
	return changes, names, nil
}

func driverFiles(folder string) (list, infs []string, err error) {
	err = fs.WalkDir(os.DirFS(folder), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%q is not a regular file", p)
		}
		if !ascii(p) {
			return hint.Wrap(fmt.Errorf("the name %q has letters that Windows PE cannot be relied on to load", p), "rename it with English letters")
		}
		list = append(list, p)
		if strings.EqualFold(path.Ext(p), ".inf") {
			infs = append(infs, p)
		}
		return nil
	})
	return list, infs, err
}

// checkDriver refuses a driver that Windows PE would not load: without catalogue (its signature), or for another processor.
func checkDriver(folder, inf, arch string) error {
	root := foldFS{os.DirFS(folder)}
	raw, err := readAll(root, inf, maxINF)
	if err != nil {
		return fmt.Errorf("read driver %q: %w", inf, err)
	}
	d := parseINF(raw)
	where := filepath.Join(folder, filepath.FromSlash(inf))
	catalogue, err := d.catalogue(arch)
	if err != nil {
		return hint.Wrap(fmt.Errorf("driver %q: %w", where, err), "Windows PE loads signed drivers only: take the maker's signed package")
	}
	if !isFile(root, path.Join(path.Dir(inf), catalogue)) {
		return hint.Wrap(fmt.Errorf("driver %q: its catalogue %s, which carries the signature, is not beside it", where, catalogue),
			"copy the whole folder of the driver, not the .inf alone")
	}
	if archs := d.architectures(); len(archs) > 0 && !archs[arch] {
		return hint.Wrap(fmt.Errorf("driver %q is for %s, but this Windows PE is for %s", where, strings.Join(sortedKeys(archs), ", "), arch),
			"take the driver's folder for "+arch)
	}
	return nil
}

// inf holds the sections of a setup information file, names in lower case.
type inf map[string][]string

// parseINF reads as much of an .inf as the checks need; it is UTF-16 or of an 8-bit code page.
func parseINF(raw []byte) inf {
	text := string(raw)
	if bytes.HasPrefix(raw, []byte{0xff, 0xfe}) {
		units := make([]uint16, (len(raw)-2)/2)
		for i := range units {
			units[i] = binary.LittleEndian.Uint16(raw[2+2*i:])
		}
		text = string(utf16.Decode(units))
	}
	sections, at := inf{}, ""
	for line := range strings.SplitSeq(text, "\n") {
		line, _, _ = strings.Cut(line, ";")
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			at = strings.ToLower(line[1 : len(line)-1])
			continue
		}
		if line != "" {
			sections[at] = append(sections[at], line)
		}
	}
	return sections
}

// catalogue is the name of the catalogue for an architecture.
func (d inf) catalogue(arch string) (string, error) {
	if len(d["version"]) == 0 {
		return "", errors.New("this is no driver: it has no [Version]")
	}
	general := ""
	for _, line := range d["version"] {
		key, value, _ := strings.Cut(line, "=")
		key, value = strings.ToLower(strings.TrimSpace(key)), strings.Trim(strings.TrimSpace(value), `"`)
		switch key {
		case "catalogfile.nt" + arch:
			return value, nil
		case "catalogfile", "catalogfile.nt":
			if value != "" {
				general = value
			}
		}
	}
	if general == "" || strings.ContainsAny(general, `/\`) {
		return "", errors.New("it names no catalogue (CatalogFile in [Version]), so it is not signed")
	}
	return general, nil
}

// architectures reads the decorations of [Manufacturer]: NTamd64, NTarm64...10.0, NTx86. Without any, the file does not say.
func (d inf) architectures() map[string]bool {
	found := map[string]bool{}
	for _, line := range d["manufacturer"] {
		_, models, _ := strings.Cut(line, "=")
		for i, word := range strings.Split(models, ",") {
			word = strings.ToLower(strings.TrimSpace(word))
			if i == 0 || !strings.HasPrefix(word, "nt") {
				continue
			}
			arch, _, _ := strings.Cut(word[2:], ".")
			if arch != "" {
				found[arch] = true
			}
		}
	}
	return found
}
