// Command wiminject writes a copy of a WIM with files added, for wim.sh to time: wiminject SRC DST PATH=FILE... It prints
// the size of the copy and, on Linux, the most memory it had in use.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "wiminject:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("usage: wiminject SRC DST PATH=FILE")
	}
	var changes []wim.Change
	for _, a := range args[2:] {
		path, file, _ := strings.Cut(a, "=")
		changes = append(changes, wim.PutFile(path, file))
	}
	rep, err := wim.InjectFile(context.Background(), args[0], args[1], wim.Options{}, changes)
	if err != nil {
		return err
	}
	fmt.Println("bytes", rep.NewSize)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil // not Linux: no figure
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			fmt.Println("peak_kib", strings.Fields(rest)[0])
		}
	}
	return nil
}
