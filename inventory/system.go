package inventory

import (
	"slices"
	"strings"
	"unicode"
)

// otherSystems are the words by which sources name systems that are no Windows, each with the name for people.
var otherSystems = map[string]string{
	"mac": "macOS", "macos": "macOS", "macosx": "macOS", "osx": "macOS", "darwin": "macOS", "macmdm": "macOS",
	"ios": "iOS", "ipados": "iPadOS", "tvos": "tvOS", "android": "Android", "androidforwork": "Android", "chrome": "ChromeOS", "chromeos": "ChromeOS",
	"linux": "Linux", "ubuntu": "Linux", "debian": "Linux", "rhel": "Linux", "centos": "Linux", "suse": "Linux", "sles": "Linux", "opensuse": "Linux",
	"fedora": "Linux", "rocky": "Linux", "almalinux": "Linux", "amzn": "Linux", "kali": "Linux", "arch": "Linux", "gentoo": "Linux", "redhat": "Linux",
	"esxi": "VMware ESXi", "aix": "AIX", "solaris": "Solaris", "sunos": "Solaris", "freebsd": "FreeBSD", "openbsd": "OpenBSD", "netbsd": "NetBSD",
}

// OtherSystem names the system of a machine that runs no Windows, in the words of any source ("Mac", "RHEL 8.9", "Mac OS
// X", "Red Hat Enterprise Linux"); empty for one that runs Windows or may do so.
func OtherSystem(os string) string {
	words := strings.FieldsFunc(strings.ToLower(os), func(r rune) bool { return !unicode.IsLetter(r) })
	if slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, "win") }) {
		return ""
	}
	if len(words) > 1 && words[0] == "red" && words[1] == "hat" || slices.Contains(words, "linux") {
		return "Linux"
	}
	for _, w := range words[:min(len(words), 2)] {
		if name := otherSystems[w]; name != "" {
			return name
		}
	}
	return ""
}

// classOf tells servers from workstations by the name of the system. The bare word Windows, as consoles and Entra write
// it for both, tells nothing.
func classOf(os string) Class {
	os = strings.ToLower(os)
	_, rest, windows := strings.Cut(os, "windows")
	switch {
	case !windows:
		return ""
	case strings.Contains(os, "server"):
		return Server
	case strings.ContainsFunc(rest, unicode.IsDigit), strings.Contains(os, "workstation"), strings.Contains(os, "professional"), strings.Contains(os, "enterprise"),
		strings.Contains(os, " vista"), strings.Contains(os, " xp"):
		return Workstation
	}
	return ""
}
