package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/agent"
)

// Set by the release build.
var (
	version = "development"
	commit  = ""
	date    = ""
)

type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Date    string `json:"date,omitempty"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Agent   string `json:"agent_sha256"` // what an allow-list of scripts needs
}

func newVersion(a *app) *cobra.Command {
	return command.Formats(&cobra.Command{
		Use: "version", Short: "Print the version, and the hash of the agent script", GroupID: "rest", Args: command.NoArgs,
		Example: "fleetmend version\nfleetmend version -o json",
		RunE: func(*cobra.Command, []string) error {
			info := versionInfo{version, commit, date, runtime.Version(), runtime.GOOS, runtime.GOARCH, agent.Digest()}
			if build, ok := debug.ReadBuildInfo(); ok && info.Commit == "" {
				for _, s := range build.Settings {
					if s.Key == "vcs.revision" {
						info.Commit = s.Value
					}
				}
			}
			return a.One(info, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "fleetmend %s (%s/%s, %s)\nagent.ps1 sha256 %s\n", info.Version, info.OS, info.Arch, info.Go, info.Agent)
				return err
			})
		},
	}, terminal.OneFormats...)
}
