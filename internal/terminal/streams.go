// Package terminal is how a face talks with the person at a terminal: streams, questions, lists, the status line, Ctrl-C.
//
// [New] makes a [Terminal] of three streams, such as [Of] gives. [Terminal.Ask] puts a question and ends with its context, with the terminal as it
// was; [List] and [One] print data in the format of -o. What goes to Out is data, what goes to Err is talk. The package opens
// no store, decides nothing, and knows no exit code.
package terminal

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

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

// Of are the streams of a process.
func Of(in, out, err *os.File) Streams {
	s := Streams{In: in, Out: out, Err: err}
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

// ReaderGone reports whether err says that nobody reads on what is printed as data, as head does when it has enough.
func (s Streams) ReaderGone(err error) bool {
	out, isFile := s.Out.(*os.File)
	wrote, ok := errors.AsType[*fs.PathError](err)
	return isFile && ok && wrote.Path == out.Name() && errors.Is(err, syscall.EPIPE)
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
