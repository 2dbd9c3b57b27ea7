// Command fleetmend-pe runs on a machine that was started from a fleetmend boot medium. It repairs the Windows on the
// machine's disks with the playbooks of the medium, leaves a result there and restarts the machine.
package main

import (
	"context"
	"os"
	"os/signal"

	"github.com/fleetmend/fleetmend/remediate/media/pe/program"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := program.Run(ctx, program.Process{Args: os.Args[1:], In: os.Stdin, Out: os.Stdout, SystemRoot: os.Getenv("SystemRoot"), Version: version})
	stop()
	os.Exit(code)
}
