// Package conformance holds a Windows for agent.ps1 where there is none: stand-ins for its registry, services, WMI and
// tools, no kinder than the real ones, which PowerShell loads before the agent. The runner conformance.ps1 and the
// simulated fleet use the same. [StandIns] is all of it; machine.ps1 says which files a machine is made of.
//
// It never runs anything by itself.
package conformance

import "embed"

// StandIns has windows.ps1, what it needs, and Windows' tools as shell scripts (NAME.exe) or functions (NAME.exe.ps1).
//
//go:embed windows.ps1 registry.ps1 rights.ps1 tools
var StandIns embed.FS
