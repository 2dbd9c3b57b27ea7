package media

import (
	"fmt"
	"io/fs"
	"slices"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// Component is something that a Windows PE can do, recognised by its files.
type Component struct {
	Name    string   `json:"name"`    // bitlocker, registry, bcd, dism, chkdsk, powershell, drivers
	Purpose string   `json:"purpose"` // for people
	Missing []string `json:"missing,omitempty"`
	Present bool     `json:"present"`
}

const (
	bitLocker = "bitlocker"
	bootEdit  = "bcd"
	loadDrv   = "drivers"
)

var components = []struct {
	name, purpose string
	files         []string
}{
	{bitLocker, "unlock BitLocker volumes (manage-bde)", []string{"manage-bde.exe", "fveapi.dll"}},
	{"registry", "load registry hives by hand (reg)", []string{"reg.exe"}},
	{bootEdit, "change the boot configuration (bcdedit)", []string{"bcdedit.exe"}},
	{"dism", "service an offline Windows (dism)", []string{"Dism.exe"}},
	{"chkdsk", "repair file systems (chkdsk)", []string{"chkdsk.exe"}},
	{loadDrv, "load drivers (drvload)", []string{"drvload.exe"}},
	{"powershell", "run PowerShell", []string{"WindowsPowerShell/v1.0/powershell.exe"}},
}

// componentsOf looks for all components in an image.
func componentsOf(image fs.FS) []Component {
	list := make([]Component, 0, len(components))
	for _, c := range components {
		out := Component{Name: c.name, Purpose: c.purpose}
		for _, f := range c.files {
			if !isFile(image, "Windows/System32/"+f) {
				out.Missing = append(out.Missing, f)
			}
		}
		out.Present = len(out.Missing) == 0
		list = append(list, out)
	}
	return list
}

func hasComponent(image fs.FS, name string) bool {
	for _, c := range componentsOf(image) {
		if c.Name == name {
			return c.Present
		}
	}
	return false
}

// checkOffline refuses a playbook that changes the boot configuration where the image has nothing to do it with: its other
// steps would be done and the machine would count as failed. It returns, a sentence each, what else will fail on a Windows
// that does not run.
func checkOffline(p playbook.Playbook, image fs.FS) (limits []string, err error) {
	boot, script, state := false, false, false
	for _, c := range slices.Concat(p.Detect, p.Verify) {
		boot, script, state = boot || c.BCD != "", script || c.Script != nil, state || c.State != ""
	}
	for _, a := range p.Fix {
		boot, script = boot || a.BCD != nil, script || a.Script != nil
	}
	if boot && !hasComponent(image, bootEdit) {
		return nil, hint.Wrap(fmt.Errorf("playbook %s works on the boot configuration, but this Windows PE has no bcdedit.exe", p.Name),
			"take winre.wim or the boot.wim of an installation disc, which have it, or a playbook without the step bcd")
	}
	if script {
		limits = append(limits, "playbook "+p.Name+" runs a script: on a Windows that does not run it will fail there and say so")
	}
	if state {
		limits = append(limits, "playbook "+p.Name+" looks whether a service runs: on a Windows that does not run it will fail there and say so")
	}
	return limits, nil
}
