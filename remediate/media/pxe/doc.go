// Package pxe starts machines over the network: [Bundle] makes a folder for any PXE or HTTP server out of a Windows PE, and
// [Server] is such a server, with proxyDHCP, TFTP and HTTP.
//
// The DHCP part is a proxy: it never gives out addresses and works beside the DHCP server that is there. Files come out of
// one folder only, however a path is written. Files for a single machine (its keys) are given once, for a token made when
// that machine fetched its script. With DryRun the server answers nothing and only reports who asked.
//
// Who says which MAC address he has cannot be checked: what is given to a machine must be sealed on its own. The package
// brings no iPXE and no wimboot along; the administrator puts them into the folder.
//
// Sources: PXE specification 2.1, RFC 2131, 4578 (options 93, 94, 97), UEFI Specification 2.10 section 24.7 (HTTP Boot),
// RFC 1350, 2348, 2349 (TFTP).
package pxe

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Arch is the kind of firmware that asks, option 93 of DHCP.
type Arch uint16

// The architectures that the server starts; the numbers are IANA's.
const (
	BIOS      Arch = 0
	IA32      Arch = 6
	X64       Arch = 7
	X64EBC    Arch = 9 // what some firmware for x64 says
	ARM64     Arch = 11
	IA32HTTP  Arch = 15
	X64HTTP   Arch = 16
	EBCHTTP   Arch = 17
	ARM64HTTP Arch = 19
)

func (a Arch) String() string {
	switch a {
	case BIOS:
		return "BIOS"
	case IA32:
		return "UEFI ia32"
	case X64, X64EBC:
		return "UEFI x64"
	case ARM64:
		return "UEFI arm64"
	case IA32HTTP:
		return "UEFI ia32 (HTTP)"
	case X64HTTP, EBCHTTP:
		return "UEFI x64 (HTTP)"
	case ARM64HTTP:
		return "UEFI arm64 (HTTP)"
	}
	return fmt.Sprintf("architecture %d", uint16(a))
}

// http reports whether firmware of this kind fetches by HTTP.
func (a Arch) http() bool { return a >= IA32HTTP && a <= ARM64HTTP }

// Client is a machine as it described itself.
type Client struct {
	MAC     string     `json:"mac,omitempty"`  // aa:bb:cc:dd:ee:ff
	UUID    string     `json:"uuid,omitempty"` // lower case, as Windows shows it
	Arch    Arch       `json:"arch"`
	Known   bool       `json:"-"` // Arch was told
	IPXE    bool       `json:"ipxe,omitempty"`
	Address netip.Addr `json:"address,omitzero"`
}

// Event is something a client did.
type Event struct {
	Time     time.Time `json:"time"`
	Service  string    `json:"service"` // dhcp, boot (port 4011), tftp, http
	Client   Client    `json:"client"`
	What     string    `json:"what"` // in plain words
	File     string    `json:"file,omitempty"`
	Bytes    int64     `json:"bytes,omitempty"` // sent
	Answered bool      `json:"answered"`
	whole    bool      // the whole file was fetched
}

// parseMAC returns an Ethernet address in its usual form.
func parseMAC(s string) (string, bool) {
	m, err := net.ParseMAC(s)
	if err != nil || len(m) != 6 {
		return "", false
	}
	return m.String(), true
}

// parseUUID returns a UUID in lower case.
func parseUUID(s string) (string, bool) {
	plain := strings.ReplaceAll(s, "-", "")
	b, err := hex.DecodeString(plain)
	if err != nil || len(b) != 16 || len(s) != 36 && len(s) != 32 {
		return "", false
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:]), true
}

// machineUUID reads option 97: a zero and the UUID with its first three fields in little-endian order, as SMBIOS has it.
func machineUUID(b []byte) string {
	if len(b) != 17 || b[0] != 0 {
		return ""
	}
	u := b[1:]
	return fmt.Sprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%x-%x", u[3], u[2], u[1], u[0], u[5], u[4], u[7], u[6], u[8:10], u[10:])
}
