package media

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
	"github.com/fleetmend/fleetmend/remediate/media/keybundle"
	"github.com/fleetmend/fleetmend/remediate/media/pesign"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// Format is the kind of medium.
type Format string

// The formats.
const (
	USB Format = "usb" // image of a stick: GPT with one FAT32 partition
	ISO Format = "iso" // image of a disc: ISO 9660 with Joliet, UEFI and, where the source has etfsboot.com, BIOS
)

// SecureBoot says whose signature the boot files must carry.
type SecureBoot string

// The choices. Auto takes a loader with both signatures where there is one, else 2023, else 2011, else what is there.
const (
	Auto   SecureBoot = "auto"
	For11  SecureBoot = "2011" // Microsoft Windows Production PCA 2011
	For23  SecureBoot = "2023" // Windows UEFI CA 2023
	both   SecureBoot = "both" // found, never asked for
	nobody SecureBoot = "none" // found, never asked for
)

// Spec is what to build. Source, Agent or FindAgent, Playbooks, Settings and Format must be given.
type Spec struct {
	Source     string     // boot.wim, winre.wim, install.wim or Windows ISO; only read
	Image      string     // index or name of the image in it; empty: the one that starts
	WinRE      bool       // take winre.wim out of the install.wim of an ISO instead of its boot.wim
	BootFiles  string     // folder or ISO with boot files, asked before the source
	SecureBoot SecureBoot // empty: Auto

	Agent string // path of fleetmend-pe.exe for the architecture of the source
	// FindAgent gives the path for an architecture (amd64, arm64) where Agent is empty.
	FindAgent func(ctx context.Context, arch string) (string, error)
	Playbooks []playbook.Playbook
	Drivers   []string // folders with .inf, .cat and .sys files
	Settings  aboard.Settings

	Keys       *keybundle.Bundle // nil: none aboard
	Passphrase secret.String

	Format      Format
	Size        int64 // of the stick in bytes; 0: as small as the content allows, with Slack left free for results
	Slack       int64 // default 64 MiB
	Label       string
	Prompt      bool      // ISO: "press any key to boot" as Microsoft's discs ask, where the source has it
	NoBitLocker bool      // the fleet does not use BitLocker: take a source without its tools
	Time        time.Time // of all files; zero: the newest of the source image, for the same bytes from the same input
	TempDir     string    // where winre.wim is unpacked to, if need be; empty: that of the system
}

const (
	defaultSlack = 64 << 20
	defaultLabel = "FLEETMEND"
)

// normal fills the defaults in and refuses what can be seen to be wrong without opening a file.
func (s Spec) normal() (Spec, error) {
	if s.SecureBoot == "" {
		s.SecureBoot = Auto
	}
	if s.Slack == 0 {
		s.Slack = defaultSlack
	}
	if s.Label == "" {
		s.Label = defaultLabel
	}
	if s.Settings.Version == 0 {
		s.Settings.Version = 1
	}
	if s.Settings.Choose == "" {
		s.Settings.Choose = aboard.Auto
	}
	switch {
	case s.Format != USB && s.Format != ISO:
		return s, fmt.Errorf("format %q is none of usb, iso", s.Format)
	case s.SecureBoot != Auto && s.SecureBoot != For11 && s.SecureBoot != For23:
		return s, fmt.Errorf("secure boot %q is none of auto, 2011, 2023", s.SecureBoot)
	case len(s.Playbooks) == 0:
		return s, hint.Wrap(errors.New("a medium needs at least one playbook"), "`fleetmend playbook list` shows the built-in ones")
	case !ascii(s.Label):
		return s, fmt.Errorf("label %q: the boot manager of Windows reads English letters, digits and signs only", s.Label)
	}
	seen := map[string]bool{}
	for _, p := range s.Playbooks {
		if seen[p.Name] {
			return s, fmt.Errorf("playbook %q is given twice", p.Name)
		}
		seen[p.Name] = true
	}
	return s, nil
}

func ascii(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// peArch names the processor of a program as the images of a WIM do.
func peArch(m pesign.Machine) string {
	switch m {
	case pesign.AMD64:
		return "amd64"
	case pesign.ARM64:
		return "arm64"
	case pesign.X86:
		return "x86"
	}
	return m.String()
}
