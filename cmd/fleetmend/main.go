// Command fleetmend brings a fleet of broken Windows machines back.
package main

import (
	"os"

	"github.com/fleetmend/fleetmend/cmd/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
