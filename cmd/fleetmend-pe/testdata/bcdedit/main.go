// Command bcdedit stands in for Windows' own under Wine, which has none: one boot entry, kept in a file beside it. Into
// another file it writes what the reg program sees of a registry file that is loaded meanwhile.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

func main() {
	program, err := os.Executable()
	if err != nil {
		os.Exit(1)
	}
	seen, _ := exec.Command("reg", "query", `HKLM\fleetmend-SYSTEM`, "/s").CombinedOutput()
	if err := os.WriteFile(program+".registry", seen, 0o644); err != nil {
		os.Exit(1)
	}
	state := program + ".state"
	text, _ := os.ReadFile(state)
	switch strings.Join(os.Args[1:], " ") {
	case "/enum {default} /v":
		fmt.Printf("identifier              {0}\r\n%s", text)
	case "/deletevalue {default} safeboot":
		if err := os.WriteFile(state, nil, 0o644); err != nil {
			os.Exit(1)
		}
	default:
		os.Exit(87)
	}
}
