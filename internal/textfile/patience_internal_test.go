package textfile

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// What another process holds is tried again for about a second; what fails otherwise is not.
func TestPatientWhereAFileIsHeld(t *testing.T) {
	held, other := errors.New("sharing violation"), errors.New("no space left")
	for name, c := range map[string]struct {
		answers []error
		want    error
		times   int
	}{
		"free":          {[]error{nil}, nil, 1},
		"held a while":  {[]error{held, held, held, nil}, nil, 4},
		"other":         {[]error{other}, other, 1},
		"held, other":   {[]error{held, other}, other, 2},
		"held for ever": {[]error{held}, held, 11},
	} {
		synctest.Test(t, func(t *testing.T) {
			began, n := time.Now(), 0
			err := patiently(func() error {
				n++
				return c.answers[min(n, len(c.answers))-1]
			}, func(err error) bool { return errors.Is(err, held) })
			if !errors.Is(err, c.want) || n != c.times || time.Since(began) > 2*time.Second {
				t.Errorf("%s: %v after %d times and %s", name, err, n, time.Since(began))
			}
		})
	}
}
