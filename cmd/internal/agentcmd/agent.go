// Package agentcmd is the noun agent of the command line: what is run on machines, for those who sign and allow-list it.
//
// [New] makes the command. It touches no machine and no store.
package agentcmd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/remediate/agent"
)

// New makes the command agent.
func New(c *command.Context) *cobra.Command {
	cmd := &cobra.Command{
		Use: "agent", Short: "What is run on machines, for allow lists and signatures", GroupID: "know", Args: command.NoArgs,
		Long: "The agent is one script, the same for every machine and every playbook. This writes it out as it travels.",
	}
	cmd.AddCommand(newExport(c))
	return cmd
}

func newExport(c *command.Context) *cobra.Command {
	return &cobra.Command{
		Use: "export FOLDER", Short: "Write the agent as it travels, with its SHA-256, to sign and to allow-list it",
		Example: "fleetmend agent export ./agent",
		Args:    command.Exactly(1, "a folder that is made for it"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := export(args[0]); err != nil {
				return err
			}
			c.Say("%s: agent.ps1 has the SHA-256 %s; README.txt says how to sign and to allow-list it", args[0], agent.Digest())
			return nil
		},
	}
}

// export writes into a folder of its own: what is there already is left alone.
func export(folder string) error {
	err := os.Mkdir(folder, 0o755) //nolint:gosec // nothing in it is secret, and others are to read it
	if errors.Is(err, fs.ErrExist) {
		return hint.Wrap(fmt.Errorf("%s is there already", folder), "name a folder that is not there; nothing is overwritten")
	}
	if err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	for _, f := range agent.Export() {
		name := filepath.Join(folder, f.Name)
		if err := textfile.Write(name, 0o644, func(w io.Writer) error {
			_, err := io.WriteString(w, f.Content)
			return err
		}); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}
