package winrm

import "errors"

// Output is what a command wrote and how it ended.
type Output struct {
	Stdout   []byte
	Stderr   []byte
	ExitCode int  // as the machine reports it, an unsigned 32 bit number
	Done     bool // the machine reported that the command ended; without it ExitCode means nothing
}

// errTooMuch ends the reading of a command that writes more than Config.MaxOutput.
var errTooMuch = errors.New("the output is larger than the limit")

// output collects up to limit bytes of both streams together: the head of what came, and with it the end of the head's
// last part.
type output struct {
	Output
	limit int64
	came  int64 // bytes, those that were cut off included
}

func (o *output) size() int64 { return int64(len(o.Stdout)) + int64(len(o.Stderr)) }

func (o *output) write(stream string, data []byte) error {
	o.came += int64(len(data))
	room := o.limit - o.size()
	kept := data[:min(int64(len(data)), max(room, 0))]
	switch stream {
	case "stdout":
		o.Stdout = append(o.Stdout, kept...)
	case "stderr":
		o.Stderr = append(o.Stderr, kept...)
	}
	if len(kept) < len(data) {
		return errTooMuch
	}
	return nil
}
