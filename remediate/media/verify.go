package media

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
)

// Check is the outcome of a comparison of a medium with its list of hashes.
type Check struct {
	Files   int      `json:"files"`   // compared
	Changed []string `json:"changed"` // other content, or not readable
	Missing []string `json:"missing"`
	Added   []string `json:"added"` // not in the list: results, keys, what was put on the medium to override
	Sums    string   `json:"sums"`  // SHA-256 of the list, to be compared with what the build said
}

// OK reports whether everything in the list is as it was built.
func (c Check) OK() bool { return len(c.Changed) == 0 && len(c.Missing) == 0 }

// Verify compares every file of a medium with its list of hashes. A difference is no error but in the Check; the error
// says that the medium could not be read or has no list.
func Verify(ctx context.Context, name string) (Check, error) {
	m, err := OpenMedium(name)
	if err != nil {
		return Check{}, err
	}
	c, err := m.Verify(ctx)
	return c, errors.Join(err, m.Close())
}

// Verify is [Verify] of a medium that is open.
func (m *Medium) Verify(ctx context.Context) (Check, error) {
	root := m.FS
	text, err := readAll(root, aboard.SumsFile, maxSums)
	if errors.Is(err, fs.ErrNotExist) {
		return Check{}, hint.Wrap(fmt.Errorf("there is no %s on it", aboard.SumsFile), "only media made by fleetmend have one; `fleetmend media inspect` reads others")
	}
	if err != nil {
		return Check{}, fmt.Errorf("read %s: %w", aboard.SumsFile, err)
	}
	list, err := parseSums(text)
	if err != nil {
		return Check{}, err
	}
	c := Check{Files: len(list), Changed: []string{}, Missing: []string{}, Added: []string{}, Sums: sha(text)}
	known := map[string]bool{strings.ToLower(aboard.SumsFile): true}
	for _, name := range slices.Sorted(maps.Keys(list)) {
		known[strings.ToLower(name)] = true
		digest, err := hashFile(ctx, root, name)
		switch {
		case ctx.Err() != nil:
			return c, ctx.Err()
		case errors.Is(err, fs.ErrNotExist):
			c.Missing = append(c.Missing, name)
		case err != nil || digest != list[name]:
			c.Changed = append(c.Changed, name)
		}
	}
	err = fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			c.Changed = append(c.Changed, p)
			return nil //nolint:nilerr // a folder that cannot be read is a difference, not the end
		}
		if !d.IsDir() && !known[strings.ToLower(p)] {
			c.Added = append(c.Added, p)
		}
		return ctx.Err()
	})
	return c, err
}

func hashFile(ctx context.Context, root fs.FS, name string) (string, error) {
	f, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read
	sum, buf := sha256.New(), make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := f.Read(buf)
		sum.Write(buf[:n])
		if err == io.EOF {
			return hex.EncodeToString(sum.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}
