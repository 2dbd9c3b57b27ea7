// Command bcryptprimitives writes a DLL of that name for Wine before 8.15, which lacks it and cannot start Go programs
// therefore: bcryptprimitives FILE. The DLL holds no code; its one export, ProcessPrng, is forwarded to the generator of
// random bytes that Wine has.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: bcryptprimitives FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], dll(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "bcryptprimitives:", err)
		os.Exit(1)
	}
}

// Dll lays out a PE32+ file with one section that holds the export directory.
func dll() []byte {
	const rva, raw = 0x1000, 0x200
	b := make([]byte, 0x400)
	le := binary.LittleEndian
	copy(b, "MZ")
	le.PutUint32(b[60:], 0x80)
	p := b[0x80:]
	copy(p, "PE\x00\x00")
	le.PutUint16(p[4:], 0x8664)  // amd64
	le.PutUint16(p[6:], 1)       // sections
	le.PutUint16(p[20:], 240)    // optional header
	le.PutUint16(p[22:], 0x2022) // DLL, executable, large addresses
	o := p[24:]
	le.PutUint16(o, 0x20b)
	le.PutUint64(o[24:], 0x180000000)
	le.PutUint32(o[32:], 0x1000)
	le.PutUint32(o[36:], 0x200)
	le.PutUint16(o[40:], 6)
	le.PutUint16(o[48:], 6)
	le.PutUint32(o[56:], 0x2000) // image
	le.PutUint32(o[60:], raw)    // headers
	le.PutUint16(o[68:], 3)
	le.PutUint16(o[70:], 0x100) // DEP
	le.PutUint64(o[72:], 1<<20)
	le.PutUint64(o[80:], 1<<12)
	le.PutUint64(o[88:], 1<<20)
	le.PutUint64(o[96:], 1<<12)
	le.PutUint32(o[108:], 16)
	le.PutUint32(o[112:], rva) // export directory
	le.PutUint32(o[116:], 0x100)
	s := o[240:]
	copy(s, ".edata")
	le.PutUint32(s[8:], 0x200)
	le.PutUint32(s[12:], rva)
	le.PutUint32(s[16:], 0x200)
	le.PutUint32(s[20:], raw)
	le.PutUint32(s[36:], 0x40000040)
	e := b[raw:]
	for at, v := range map[int]uint32{12: rva + 64, 16: 1, 20: 1, 24: 1, 28: rva + 40, 32: rva + 44, 36: rva + 48, 40: rva + 0xa0, 44: rva + 0x80} {
		le.PutUint32(e[at:], v)
	}
	copy(e[64:], "bcryptprimitives.dll")
	copy(e[0x80:], "ProcessPrng")
	copy(e[0xa0:], "advapi32.SystemFunction036")
	return b
}
