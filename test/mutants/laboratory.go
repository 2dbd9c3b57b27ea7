package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/fleetmend/fleetmend/internal/pwsh"
)

// laboratory is one PowerShell that tries texts of the agent with cases (cases.ps1), because to start one takes longer than most cases. It is
// started again where a mutant has ended it.
type laboratory struct {
	dir     string // for what the cases write
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	stop    context.CancelFunc
}

// request is what the laboratory is asked, answer a line of what it says.
type request struct {
	Agent string    `json:"agent"`
	Mode  string    `json:"mode"`
	Cases []oneCase `json:"cases"`
	Marks bool      `json:"marks"`
}

type oneCase struct {
	File string `json:"file"`
	Most int    `json:"most"` // milliseconds of processor time that one request may take
}

type answer struct {
	Marks     [][2]int `json:"marks"`
	Functions []string `json:"functions"`
	Case      string   `json:"case"`
	Ended     bool     `json:"ended"`
	Problem   string   `json:"problem"`
	Cost      int      `json:"cost"` // milliseconds of processor time
	Met       []int    `json:"met"`
	Over      bool     `json:"over"`
}

// errDied is a PowerShell that ended although nobody told it to.
var errDied = errors.New("the laboratory ended")

func (l *laboratory) start() error {
	shell, why := pwsh.Path()
	if shell == "" {
		return fmt.Errorf("%w: %s", errNoPowerShell, why)
	}
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	l.dir, l.stop = dir, stop
	l.command = exec.CommandContext(ctx, shell, "-NoLogo", "-NoProfile", "-NonInteractive", "-File", "test/mutants/cases.ps1", filepath.Dir(agentFile))
	// A text that grows for ever ends the laboratory and not the machine.
	l.command.Env = append(os.Environ(), "TMPDIR="+dir, "TZ=America/St_Johns", "DOTNET_GCHeapHardLimit=0x60000000", "DOTNET_TieredPGO=0")
	l.command.Stderr = os.Stderr
	l.command.WaitDelay = 10 * time.Second
	in, err := l.command.StdinPipe()
	if err != nil {
		return err
	}
	out, err := l.command.StdoutPipe()
	if err != nil {
		return err
	}
	l.in, l.out = in, bufio.NewReaderSize(out, 1<<20)
	if err := l.command.Start(); err != nil {
		return fmt.Errorf("start the laboratory: %w", err)
	}
	return nil
}

func (l *laboratory) close() {
	if l.command == nil {
		return
	}
	_ = l.in.Close()
	l.stop()
	_ = l.command.Wait()
	_ = os.RemoveAll(l.dir)
	l.command = nil
}

// ask hands a text over and gives each line of the answer to say. A laboratory that ends is errDied.
func (l *laboratory) ask(ctx context.Context, r request, say func(answer) error) error {
	if l.command == nil {
		if err := l.start(); err != nil {
			return err
		}
	}
	stopped := context.AfterFunc(ctx, l.stop)
	defer stopped()
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := l.in.Write(append(line, '\n')); err != nil {
		l.close()
		return fmt.Errorf("%w: %w", errDied, err)
	}
	for {
		line, err := l.out.ReadBytes('\n')
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			l.close()
			return fmt.Errorf("%w: %w", errDied, err)
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			return fmt.Errorf("an answer of the laboratory: %w: %.200s", err, line)
		}
		if a.Over {
			return nil
		}
		if err := say(a); err != nil {
			return err
		}
	}
}
