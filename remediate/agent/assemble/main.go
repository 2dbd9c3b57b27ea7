// Command assemble makes agent.ps1 out of the files of source, in the order of their names, and agent.packed, which is how it
// travels: go generate ./remediate/agent. Comments are for who changes the agent and stay behind, but for the first ones, which say
// what it is: what travels to every machine is a quarter shorter without them. agent.ps1 is committed, because that file and no other
// is signed, allow-listed and kept on machines.
package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/fleetmend/fleetmend/remediate/agent/pack"
)

const header = "# Assembled from remediate/agent/source of the project, where the reasons stand.\n"

func main() {
	text, err := assemble(os.DirFS("source"))
	if err == nil {
		err = os.WriteFile("agent.ps1", text, 0o644) //nolint:gosec // a file of the source tree
	}
	if err == nil {
		packed := pack.Pack(strings.TrimSuffix(string(text), "\n")) + "\n"
		err = os.WriteFile("agent.packed", []byte(packed), 0o644) //nolint:gosec // likewise
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "assemble:", err)
		os.Exit(1)
	}
}

// assemble joins the files and leaves out the lines that are comments; what stands in a here-string is text.
func assemble(source fs.FS) ([]byte, error) {
	names, err := fs.Glob(source, "*.ps1")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	begun, isText := false, false
	for _, name := range names {
		raw, err := fs.ReadFile(source, name)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(raw)) {
			isComment := !isText && strings.HasPrefix(strings.TrimLeft(line, " "), "#")
			switch {
			case isComment && begun:
				continue
			case !isComment && !begun:
				begun = true
				out.WriteString(header)
			}
			out.WriteString(line)
			switch {
			case strings.HasSuffix(line, "@'\n"), strings.HasSuffix(line, "@\"\n"):
				isText = true
			case strings.HasPrefix(line, "'@"), strings.HasPrefix(line, "\"@"):
				isText = false
			}
		}
	}
	if isText || !begun {
		return nil, fmt.Errorf("%d files, of which the last text is not closed", len(names))
	}
	return out.Bytes(), nil
}
