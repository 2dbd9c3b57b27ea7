package windows

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// fileVersion are the four numbers of a file's version, the highest first.
type fileVersion [4]uint16

func parseVersion(text string) (v fileVersion, err error) {
	parts := strings.Split(text, ".")
	if len(parts) != 4 {
		return v, fmt.Errorf("'%s' is no version of four numbers", text)
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return v, fmt.Errorf("'%s' is no version of four numbers", text)
		}
		v[i] = uint16(n)
	}
	return v, nil
}

// maxProgram bounds what is read of a program whose version is asked for.
const maxProgram = 256 << 20

// version reads the version of a program; the zero version where it has none. A file that is no program has none.
func (r *run) version(place string) (fileVersion, error) {
	file, err := r.Files.Open(place)
	if err != nil {
		return fileVersion{}, err
	}
	defer file.Close() //nolint:errcheck // only read
	at, ok := file.(io.ReaderAt)
	if !ok {
		raw, err := io.ReadAll(io.LimitReader(file, maxProgram+1))
		if err != nil {
			return fileVersion{}, err
		}
		if len(raw) > maxProgram {
			return fileVersion{}, errors.New("it is too large to have its version read")
		}
		at = bytes.NewReader(raw)
	}
	return programVersion(at), nil
}

const (
	resourceDirectory = 2  // IMAGE_DIRECTORY_ENTRY_RESOURCE
	versionType       = 16 // RT_VERSION
	maxResource       = 64 << 10
)

// programVersion reads VS_FIXEDFILEINFO out of the resources of a portable executable ([PE format], section .rsrc; the structure
// VS_VERSIONINFO). Whatever is not as it should be is no version, as it is to Windows.
func programVersion(file io.ReaderAt) (v fileVersion) {
	program, err := pe.NewFile(file)
	if err != nil {
		return v
	}
	defer program.Close() //nolint:errcheck // only read
	var directories []pe.DataDirectory
	switch h := program.OptionalHeader.(type) {
	case *pe.OptionalHeader32:
		directories = h.DataDirectory[:min(h.NumberOfRvaAndSizes, uint32(len(h.DataDirectory)))]
	case *pe.OptionalHeader64:
		directories = h.DataDirectory[:min(h.NumberOfRvaAndSizes, uint32(len(h.DataDirectory)))]
	}
	if len(directories) <= resourceDirectory || directories[resourceDirectory].VirtualAddress == 0 {
		return v
	}
	root := directories[resourceDirectory].VirtualAddress
	read := func(address, size uint32) []byte {
		for _, s := range program.Sections {
			if address >= s.VirtualAddress && address-s.VirtualAddress < s.Size {
				raw := make([]byte, min(size, s.Size-(address-s.VirtualAddress)))
				n, _ := s.ReadAt(raw, int64(address-s.VirtualAddress))
				return raw[:n]
			}
		}
		return nil
	}
	// The directory has three levels: type, name, language. Below the type the first of each is taken.
	at := root
	for level := range 3 {
		next, found := entry(read(at, maxResource), level == 0)
		if !found || (next&(1<<31) != 0) != (level < 2) {
			return v
		}
		at = root + next&^(1<<31)
	}
	leaf := read(at, 16)
	if len(leaf) < 8 {
		return v
	}
	return fixedInfo(read(binary.LittleEndian.Uint32(leaf), min(maxResource, binary.LittleEndian.Uint32(leaf[4:]))))
}

// entry finds where an IMAGE_RESOURCE_DIRECTORY leads: to the version's type, or to the first there is.
func entry(directory []byte, byType bool) (offset uint32, found bool) {
	if len(directory) < 16 {
		return 0, false
	}
	count := int(binary.LittleEndian.Uint16(directory[12:])) + int(binary.LittleEndian.Uint16(directory[14:]))
	for n := range count {
		one := directory[16:]
		if len(one) < 8*(n+1) {
			return 0, false
		}
		if one = one[8*n:]; !byType || binary.LittleEndian.Uint32(one) == versionType {
			return binary.LittleEndian.Uint32(one[4:]), true
		}
	}
	return 0, false
}

// fixedInfo reads VS_FIXEDFILEINFO, which stands behind three lengths and the key VS_VERSION_INFO.
func fixedInfo(info []byte) (v fileVersion) {
	const start, signature = 40, 0xfeef04bd
	if len(info) < start+16 || binary.LittleEndian.Uint32(info[start:]) != signature {
		return v
	}
	high, low := binary.LittleEndian.Uint32(info[start+8:]), binary.LittleEndian.Uint32(info[start+12:])
	return fileVersion{uint16(high >> 16), uint16(high), uint16(low >> 16), uint16(low)} //nolint:gosec // halves of a number
}

// versionHolds compares; both ends are included. A file without a version matches none.
func (r *run) versionHolds(place, least, most string) (bool, error) {
	now, err := r.version(place)
	if err != nil || now == (fileVersion{}) {
		return false, err
	}
	for limit, wrong := range map[string]int{least: -1, most: 1} {
		if limit == "" {
			continue
		}
		v, err := parseVersion(limit)
		if err != nil {
			return false, err
		}
		if slices.Compare(now[:], v[:]) == wrong {
			return false, nil
		}
	}
	return true, nil
}
