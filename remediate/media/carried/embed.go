//go:build embedagent

package carried

import "embed"

//go:embed fleetmend-pe_amd64.exe.gz fleetmend-pe_arm64.exe.gz
var programs embed.FS
