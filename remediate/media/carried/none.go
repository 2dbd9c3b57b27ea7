//go:build !embedagent

package carried

import "embed"

var programs embed.FS
