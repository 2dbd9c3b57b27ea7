// Package practice makes a Windows PE image for practice: a WIM with the files that a builder of media looks for, all of
// them empty of function.
//
// [WIM] gives it and [SystemHive] a registry file, for demonstrations and tests where no Windows is at hand. Media built from it start firmware and then
// nothing: there is no Windows in it, and nothing of Microsoft's.
package practice

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

// made is the time of everything in the image, so that it is always the same.
var made = time.Date(2024, 7, 19, 4, 9, 0, 0, time.UTC)

// Loader is an EFI program for amd64 or arm64 that returns at once to the firmware. It is not signed.
func Loader(arch string) []byte {
	machine, code := uint16(0x8664), []byte{0x31, 0xc0, 0xc3} // xor eax,eax; ret
	if arch == "arm64" {
		machine, code = 0xaa64, []byte{0x00, 0x00, 0x80, 0xd2, 0xc0, 0x03, 0x5f, 0xd6} // mov x0,#0; ret
	}
	b, le := make([]byte, 0x400), binary.LittleEndian
	copy(b, "MZ")
	le.PutUint32(b[60:], 0x80)
	p := b[0x80:]
	copy(p, "PE\x00\x00")
	le.PutUint16(p[4:], machine)
	le.PutUint16(p[6:], 1)    // sections
	le.PutUint16(p[20:], 240) // optional header
	le.PutUint16(p[22:], 0x22)
	o := p[24:]
	le.PutUint16(o, 0x20b)           // PE32+
	le.PutUint32(o[4:], 0x200)       // code
	le.PutUint32(o[16:], 0x1000)     // entry
	le.PutUint32(o[20:], 0x1000)     // base of code
	le.PutUint32(o[32:], 0x1000)     // section alignment
	le.PutUint32(o[36:], 0x200)      // file alignment
	le.PutUint32(o[56:], 0x2000)     // image
	le.PutUint32(o[60:], 0x200)      // headers
	le.PutUint16(o[68:], 10)         // EFI application
	le.PutUint32(o[108:], 16)        // directories
	s := o[240:]                     // the section
	copy(s, ".text")                 //
	le.PutUint32(s[8:], 0x200)       // in memory
	le.PutUint32(s[12:], 0x1000)     // at
	le.PutUint32(s[16:], 0x200)      // in the file
	le.PutUint32(s[20:], 0x200)      // at
	le.PutUint32(s[36:], 0x60000020) // code, execute, read
	copy(b[0x200:], code)
	return b
}

// WIM makes the image for amd64 or arm64, and applies more changes to it.
func WIM(ctx context.Context, arch string, more ...wim.Change) ([]byte, error) {
	blank := wim.Blank(wim.Image{Name: "Practice Windows PE (" + arch + ")", Description: "no Windows in it", Architecture: arch}, made)
	var changes []wim.Change
	for _, name := range []string{"winpeshl.exe", "wpeinit.exe", "wpeutil.exe", "drvload.exe", "manage-bde.exe", "fveapi.dll", "reg.exe", "bcdedit.exe", "chkdsk.exe"} {
		changes = append(changes, wim.PutBytes("Windows/System32/"+name, fmt.Appendf(nil, "%s of no Windows\r\n", name)))
	}
	for _, f := range [][2]string{
		{"DVD/EFI/BCD", "BCD"}, {"DVD/EFI/boot.sdi", "SDI"}, {"EFI/boot.stl", "STL"}, {"Fonts/segoe_slboot.ttf", "font"},
	} {
		changes = append(changes, wim.PutBytes("Windows/Boot/"+f[0], []byte(f[1]+" for practice\r\n")))
	}
	changes = append(changes, wim.PutBytes("Windows/Boot/EFI/bootmgfw.efi", Loader(arch)))
	var out bytes.Buffer
	if _, err := wim.Inject(ctx, bytes.NewReader(blank), int64(len(blank)), &out, wim.Options{Time: made}, append(changes, more...)); err != nil {
		return nil, fmt.Errorf("make practice image: %w", err)
	}
	return out.Bytes(), nil
}
