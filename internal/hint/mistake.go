package hint

import (
	"errors"
	"fmt"
)

// MistakeError says that what was asked for cannot be: a wrong word, a missing setting. Nothing was done. The command line ends
// with its code for wrong use.
type MistakeError struct{ Err error }

func (m *MistakeError) Error() string { return m.Err.Error() }
func (m *MistakeError) Unwrap() error { return m.Err }

// Mistake marks err as a mistake of whoever asked, with advice. A nil err gives nil.
func Mistake(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &MistakeError{Wrap(err, fmt.Sprintf(format, args...))}
}

// IsMistake reports whether err is one.
func IsMistake(err error) bool {
	var m *MistakeError
	return errors.As(err, &m)
}
