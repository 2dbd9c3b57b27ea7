package playbook

import (
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

var (
	fullPath    = lazyregexp.New(`^(?:[A-Za-z]:|%[A-Za-z][A-Za-z0-9_()]*%)\\`)
	serviceName = lazyregexp.New(`^[^\\/*?\[\]"<>|]{1,256}$`)
	elementName = lazyregexp.New(`^[a-z][a-z0-9]{1,63}$`)
)

// filePath reads a path of files: full, with backslashes, wildcards in the last part only where they are allowed.
func (d *decoder) filePath(n *yaml.Node, path string, wildcards bool) string {
	before := len(d.errs)
	s := d.text(n, path, pathText)
	if len(d.errs) > before {
		return ""
	}
	whole := d.isTemplate(s)
	switch {
	case whole:
	case strings.Contains(s, "/"):
		d.fail(n, "a Windows path has backslashes: write '%s'", strings.ReplaceAll(clip(s), "/", `\`))
	case strings.HasPrefix(s, `\\`):
		d.fail(n, "%q is a network or device path; a playbook acts on the machine's own files, such as 'C:\\Windows\\...'", clip(s))
	case strings.HasPrefix(s, "${"): // the parameter brings the beginning
	case !fullPath.MatchString(s):
		d.fail(n, "%q is not a full path; begin it with a drive or a variable, such as 'C:\\Windows\\...' or '%%SystemRoot%%\\...'", clip(s))
	default:
		d.pathParts(n, s, wildcards)
	}
	return s
}

func (d *decoder) pathParts(n *yaml.Node, s string, wildcards bool) {
	parts := strings.Split(s, `\`)[1:]
	last := len(parts) - 1
	for i, part := range parts {
		switch {
		case part == "" && i == last:
			d.fail(n, "%q ends with a backslash; name a file, or files with * and ?", clip(s))
		case part == "":
			d.fail(n, "%q has a doubled backslash; in single quotes one is enough", clip(s))
		case part == "." || part == "..":
			d.fail(n, "%q climbs with %q; write the path out", clip(s), part)
		case strings.ContainsAny(part, `<>|":`):
			d.fail(n, "%q contains a character that no Windows file name has (< > | \" :)", clip(s))
		case strings.ContainsAny(part, "*?") && i < last:
			d.fail(n, "%q has a wildcard in a folder; * and ? may stand in the last part only", clip(s))
		case strings.ContainsAny(part, "*?") && !wildcards:
			d.fail(n, "%q has a wildcard; name the one file that is written", clip(s))
		case strings.HasSuffix(part, " ") || strings.HasSuffix(part, ".") && !strings.ContainsAny(part, "*?"):
			d.fail(n, "%q has a part that ends with a space or dot; Windows drops these", clip(s))
		default:
			continue
		}
		return
	}
}

// registryKey reads a key and gives its full name.
func (d *decoder) registryKey(n *yaml.Node, path string) string {
	before := len(d.errs)
	s := d.text(n, path, keyText)
	if len(d.errs) > before || d.isTemplate(s) || strings.HasPrefix(s, "${") {
		return s
	}
	s = strings.TrimPrefix(s, "Registry::")
	if !strings.Contains(s, `\`) && strings.Contains(s, "/") {
		d.fail(n, "a registry key has backslashes: write '%s'", strings.ReplaceAll(clip(s), "/", `\`))
		return ""
	}
	hive, rest, _ := strings.Cut(strings.TrimSuffix(s, `\`), `\`)
	switch strings.ToUpper(strings.TrimSuffix(hive, ":")) {
	case "HKLM", "HKEY_LOCAL_MACHINE":
	case "HKCU", "HKEY_CURRENT_USER":
		d.fail(n, "HKEY_CURRENT_USER would be the account that the agent runs as, not the user's; only HKEY_LOCAL_MACHINE is possible")
		return ""
	case "HKCR", "HKEY_CLASSES_ROOT":
		d.fail(n, "write 'HKLM\\SOFTWARE\\Classes\\...' for HKEY_CLASSES_ROOT; only HKEY_LOCAL_MACHINE is possible")
		return ""
	default:
		d.fail(n, "%q is not a key below HKEY_LOCAL_MACHINE; write it as 'HKLM\\SYSTEM\\...'", clip(s))
		return ""
	}
	if rest == "" || strings.HasPrefix(rest, `\`) || strings.Contains(rest, `\\`) {
		d.fail(n, "%q is not a full key; write it as 'HKLM\\SOFTWARE\\...', with single backslashes", clip(s))
		return ""
	}
	return `HKEY_LOCAL_MACHINE\` + rest
}

func (d *decoder) service(n *yaml.Node, path, what string) string {
	before := len(d.errs)
	s := d.text(n, path, nameText)
	if len(d.errs) == before && !serviceName.MatchString(s) {
		d.fail(n, "%q is not the name of a %s; it is the key's name below HKLM\\SYSTEM\\CurrentControlSet\\Services, without wildcards", clip(s), what)
	}
	return s
}

func (d *decoder) element(n *yaml.Node, path string) string {
	before := len(d.errs)
	s := d.text(n, path, nameText)
	if len(d.errs) == before && !d.isTemplate(s) && !elementName.MatchString(s) {
		d.fail(n, "%q is not an element of a boot entry; write it as bcdedit does, such as safeboot", clip(s))
	}
	return s
}
