// Command dirread is the helper of test/bench/directory.sh and keys.sh: it serves a simulated directory, measures a command, and reads
// the machines of the directory the way inventory sync does, without the store.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/simfleet"
)

func main() {
	serve := flag.String("serve", "", "serve a fleet and write its files into this folder")
	machines := flag.Int("machines", 20_000, "how many machines to serve")
	measured := flag.String("measure", "", "run the command behind --, and write milliseconds, peak kilobytes and milliseconds of processor time into this file")
	read := flag.String("read", "", "read the directory whose files are in this folder")
	altered := flag.String("altered", "", "with -serve: change three machines for each line of standard input, and say so in this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch {
	case *serve != "":
		err = serveFleet(ctx, *serve, *machines, *altered)
	case *measured != "":
		err = measure(*measured, flag.Args())
	case *read != "":
		err = readDirectory(ctx, *read)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "dirread:", err)
		os.Exit(1)
	}
}

// serveFleet prints the address of the directory and serves until it is interrupted.
func serveFleet(ctx context.Context, dir string, machines int, altered string) error {
	fleet, err := simfleet.New(simfleet.Options{Machines: machines, Seed: 1, Mix: &simfleet.Mix{Affected: 0.6}})
	if err != nil {
		return err
	}
	if err := fleet.StartDirectory(ctx); err != nil {
		return err
	}
	defer fleet.Close()
	if err := fleet.Write(dir); err != nil {
		return err
	}
	fmt.Println(fleet.LDAPS())
	if altered != "" {
		return alter(fleet, altered)
	}
	<-ctx.Done()
	return nil
}

// alter sets an attribute of three machines for each line of standard input.
func alter(fleet *simfleet.Fleet, to string) error {
	lines := bufio.NewScanner(os.Stdin)
	for round := 1; lines.Scan(); round++ {
		for _, m := range fleet.Machines()[:3] {
			if err := fleet.Directory().Set("CN="+m.Name+","+m.OU, "operatingSystemVersion", fmt.Sprintf("10.0 (%d)", 26000+round)); err != nil {
				return err
			}
		}
		if err := os.WriteFile(to, []byte("altered 3\n"), 0o600); err != nil {
			return err
		}
	}
	return lines.Err()
}

func measure(file string, command []string) error {
	if len(command) == 0 {
		return fmt.Errorf("no command to measure")
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(command[0]), err)
	}
	took, state := time.Since(began), cmd.ProcessState
	return os.WriteFile(file, fmt.Appendf(nil, "%d %d %d\n", took.Milliseconds(), peak(state), (state.UserTime()+state.SystemTime()).Milliseconds()), 0o644)
}

func firstLine(file string) (string, error) {
	data, err := os.ReadFile(file)
	line, _, _ := strings.Cut(string(data), "\n")
	return line, err
}
