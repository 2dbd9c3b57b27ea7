package media

import (
	"io/fs"

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

// offlineLimits says, one sentence each, what a playbook asks for that a Windows that does not run cannot give.
func offlineLimits(p playbook.Playbook, image fs.FS) (limits []string) {
	needs := map[string]bool{}
	for _, list := range [][]playbook.Condition{p.Detect, p.Verify} {
		for _, c := range list {
			needs["registry"] = needs["registry"] || c.Registry != "" || c.Service != "" || c.Driver != ""
			needs["script"] = needs["script"] || c.Script != nil
			needs["bcd"] = needs["bcd"] || c.BCD != ""
		}
	}
	for _, a := range p.Fix {
		needs["registry"] = needs["registry"] || a.Registry != nil || a.Service != nil || a.Driver != nil
		needs["script"] = needs["script"] || a.Script != nil
		needs["bcd"] = needs["bcd"] || a.BCD != nil
	}
	if needs["registry"] {
		limits = append(limits, "playbook "+p.Name+" works on the registry, services or drivers: on a Windows that does not run it will fail there and say so")
	}
	if needs["script"] {
		limits = append(limits, "playbook "+p.Name+" runs a script: on a Windows that does not run it will fail there and say so")
	}
	if needs["bcd"] && !hasComponent(image, bootEdit) {
		limits = append(limits, "playbook "+p.Name+" changes the boot configuration, but bcdedit.exe is not in this Windows PE: it will fail there and say so")
	}
	return limits
}
