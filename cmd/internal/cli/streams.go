package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Streams are the three standard streams with what is known of them. Every decision about how to print asks here.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	InTTY    bool
	OutTTY   bool
	ErrTTY   bool
	Width    int // columns of the terminal, 80 where there is none
}

func (s Streams) detect() Streams {
	s.InTTY, s.OutTTY, s.ErrTTY = isTerminal(s.In), isTerminal(s.Out), isTerminal(s.Err)
	s.Width = 80
	for _, stream := range []any{s.Err, s.Out} {
		if f, ok := stream.(*os.File); ok {
			if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
				s.Width = width
				break
			}
		}
	}
	return s
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// ask prints question and returns the line typed, without its end. It is only called where InTTY and ErrTTY hold.
func (s Streams) ask(question string) (string, error) {
	fmt.Fprint(s.Err, question)
	line, err := bufio.NewReader(s.In).ReadString('\n')
	if err != nil && line == "" {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	return strings.TrimSpace(line), nil
}

// askSecret is ask without echo.
func (s Streams) askSecret(question string) (string, error) {
	f, ok := s.In.(*os.File)
	if !ok {
		return "", fmt.Errorf("a secret can only be typed at a terminal")
	}
	fmt.Fprint(s.Err, question)
	text, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(s.Err)
	if err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	return string(text), nil
}
