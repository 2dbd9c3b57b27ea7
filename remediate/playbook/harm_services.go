package playbook

import (
	"path"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/remediate/playbook/shellread"
)

// What is asked of the services, processes and registry keys that a command names (rows of harm_rows.go).

// shownNames are the English display names under which vital services and lifelines are stopped, too.
var shownNames = map[string]string{
	"windows remote management (ws-management)": "winrm", "dns client": "dnscache", "dhcp client": "dhcp", "base filtering engine": "bfe", "windows defender firewall": "mpssvc", "windows firewall": "mpssvc",
	"workstation": "lanmanworkstation", "server": "lanmanserver", "netlogon": "netlogon", "remote procedure call (rpc)": "rpcss", "windows event log": "eventlog", "cryptographic services": "cryptsvc",
	"network location awareness": "nlasvc", "remote desktop services": "termservice", "active directory domain services": "ntds", "user manager": "usermanager", "user profile service": "profsvc",
}

// vitalService reports whether a name, or a wildcard, is one that must not end.
func vitalService(name string) bool {
	name = strings.ToLower(strings.Trim(name, `"'`))
	if short, ok := shownNames[name]; ok {
		name = short
	}
	if !strings.ContainsAny(name, "*?") {
		return vital[name] || lifelines[name]
	}
	for _, all := range []map[string]bool{vital, lifelines} {
		for one := range all {
			if ok, err := path.Match(name, one); err == nil && ok {
				return true
			}
		}
	}
	return false
}

// briefly are services that repairs stop and start again; it is harmless where the script does both. WinRM is none: with it the script ends.
func stopsBriefly(name string, all []shellread.Command) bool {
	return !strings.EqualFold(name, "winrm") && slices.ContainsFunc(all, func(c shellread.Command) bool {
		starts := c.Name == "start-service" || (c.Name == "net" || c.Name == "sc") && hasWord(c, "start")
		return starts && slices.ContainsFunc(c.Words, func(w string) bool { return strings.EqualFold(w, name) })
	})
}

var serviceOfWMI = lazyregexp.New(`(?i)name\s*=\s*['"]?([\w.-]+)`)

// stopsVital: a service that is vital or a lifeline is stopped, disabled or deleted.
func stopsVital(c shellread.Command, all []shellread.Command) bool {
	words, stops, disables := c.Words, false, false
	switch c.Name {
	case "sc":
		stops, disables = hasWord(c, "stop|pause"), hasWord(c, "delete") || hasWord(c, "config") && hasWord(c, "disabled|start=\\s*disabled")
	case "net":
		stops = hasWord(c, "stop|pause")
	case ".stop", ".pause":
		stops = hasWord(c, "get-service|gsv")
	case "stop-service", "suspend-service":
		stops = true
		words = append(slices.Clone(words), c.Input...)
	case "restart-service":
		return slices.ContainsFunc(append(slices.Clone(words), c.Input...), func(w string) bool { return strings.EqualFold(w, "winrm") })
	case "set-service":
		stops, disables = hasWord(c, "stopped|paused"), hasWord(c, "disabled")
		words = append(slices.Clone(words), c.Input...)
	case "remove-service":
		disables = true
		words = append(slices.Clone(words), c.Input...)
	default: // through WMI
		text := strings.Join(append(slices.Clone(c.Words), c.Input...), " ")
		if m := serviceOfWMI.FindStringSubmatch(text); m != nil && hasWord(c, "stopservice|pauseservice|delete|disabled|changestartmode") {
			return vitalService(m[1])
		}
		return false
	}
	return (stops || disables) && slices.ContainsFunc(words, func(w string) bool { return vitalService(w) && (disables || !stopsBriefly(w, all)) })
}

// vitalProcesses end Windows, or the service of it, with themselves (csrss, wininit, winlogon, smss, services and lsass are critical).
var vitalProcesses = set("csrss wininit winlogon smss services lsass svchost dwm lsaiso fontdrvhost system wsmprovhost winrshost")

func endsVitalProcess(c shellread.Command, _ []shellread.Command) bool {
	return slices.ContainsFunc(append(slices.Clone(c.Words), c.Input...), func(w string) bool { return vitalProcesses[strings.TrimSuffix(strings.ToLower(w), ".exe")] })
}

// blocksLifeline: a rule of the firewall closes a port by which the machine is reached.
func blocksLifeline(c shellread.Command, _ []shellread.Command) bool {
	return hasWord(c, "block|action=block") && hasWord(c, "(?:localport=)?(?:5985|5986|445|135|any)") && !hasWord(c, "outbound|out|dir=out")
}

func leavesDomain(c shellread.Command, _ []shellread.Command) bool {
	return c.Name == "remove-computer" || c.Name == "dsregcmd" && hasWord(c, "-leave|-forcerecovery") || c.Name == "netdom" && hasWord(c, "remove")
}

func deletesShadows(c shellread.Command, all []shellread.Command) bool {
	text := strings.ToLower(strings.Join(append(slices.Clone(c.Words), c.Input...), " "))
	deletes := c.Name == ".delete" || strings.HasPrefix(c.Name, "remove-") || strings.Contains(text, ".delete")
	return strings.Contains(text, "win32_shadowcopy") && deletes
}

// clearsLog: of setting a log only what turns it off.
func clearsLog(c shellread.Command, _ []shellread.Command) bool {
	return hasWord(c, "cl|clear-log") || hasWord(c, "-e|-enabled") && hasWord(c, "false")
}

// deletesProtector: one of them by its ID, beside a new one, is a rotation.
func deletesProtector(c shellread.Command, all []shellread.Command) bool {
	return !hasWord(c, "-id") || !slices.ContainsFunc(all, func(other shellread.Command) bool {
		return other.Name == "manage-bde" && hasWord(other, "-protectors") && hasWord(other, "-add")
	})
}
