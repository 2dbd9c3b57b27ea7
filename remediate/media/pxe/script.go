package pxe

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/remediate/media/aboard"
)

// ScriptName is the iPXE script at the root of a bundle.
const ScriptName = "boot.ipxe"

// Link is a file of one machine and where it is fetched.
type Link struct{ Name, URL string }

// Script is the iPXE script that starts the Windows PE among names with wimboot. wimboot shows every file by its name in
// \Windows\System32 of the started system; more are the files of one machine. Names are relative to the script.
func Script(names []string, more []Link) string {
	var b strings.Builder
	b.WriteString("#!ipxe\n\necho Starting Windows PE for repair. This takes a minute or two.\nkernel wimboot || goto missing\n")
	// On UEFI, iPXE hands files on by --name, on BIOS by the argument behind the address.
	for _, n := range names {
		if inScript(n) {
			fmt.Fprintf(&b, "initrd --name %s %s %s || goto failed\n", path.Base(n), n, path.Base(n))
		}
	}
	for _, l := range more {
		fmt.Fprintf(&b, "initrd --name %s %s %s || goto failed\n", l.Name, l.URL, l.Name)
	}
	b.WriteString("boot || goto failed\n\n:missing\necho wimboot is not on the server: see README.txt beside this script.\n:failed\necho Starting over the network did not work.\nprompt --timeout 60000 Press a key to go on. || exit\nexit\n")
	return b.String()
}

// inScript reports whether a file of the bundle belongs to what wimboot loads.
func inScript(name string) bool {
	lower := strings.ToLower(path.Base(name))
	return slices.Contains([]string{"bcd", "boot.sdi", "boot.stl", "boot.wim", "bootmgr.exe", aboard.NetworkFile}, lower) || path.Ext(lower) == ".ttf"
}

// LoaderNames are the file names that are taken for the first program a machine fetches, by kind of firmware, best first.
// The first of the signed names for UEFI work with Secure Boot on.
func LoaderNames() map[string][]string {
	return map[string][]string{
		"bios":  {"undionly.kpxe", "ipxe.pxe", "ipxe.kpxe"},
		"x64":   {"ipxe-shimx64.efi", "shimx64.efi", "ipxe.efi", "ipxe-x86_64.efi", "snponly.efi", "BOOTX64.EFI", "bootmgfw.efi"},
		"arm64": {"ipxe-shimaa64.efi", "shimaa64.efi", "ipxe-arm64.efi", "snponly-arm64.efi", "BOOTAA64.EFI"},
		"ia32":  {"ipxe-ia32.efi", "ipxe-i386.efi", "BOOTIA32.EFI"},
	}
}
