package media

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/fleetmend/fleetmend/remediate/media/aboard"
	"github.com/fleetmend/fleetmend/remediate/media/content"
)

// sums hashes the files of a medium while they are written, so that each is read once, and is the list of hashes itself:
// its name comes last in the order in which an image is written.
type sums struct {
	mu    sync.Mutex
	paths []string
	known map[string]string
	last  string
}

func newSums() *sums { return &sums{known: map[string]string{}} }

func (s *sums) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.known)
}

// watch returns the entry with a content that is hashed when it is read.
func (s *sums) watch(e content.Entry) content.Entry {
	if e.Dir {
		return e
	}
	s.paths = append(s.paths, e.Path)
	open := e.Open
	e.Open = func(ctx context.Context) (io.ReadCloser, error) {
		if open == nil {
			open = content.Bytes(e.Path, nil).Open
		}
		r, err := open(ctx)
		if err != nil {
			return nil, err
		}
		done := func(digest string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.known[e.Path] = digest
		}
		if e.Size > aheadPieces*aheadSize {
			return newAhead(r, done), nil
		}
		return &hashing{ReadCloser: r, sum: sha256.New(), done: done}, nil
	}
	return e
}

// entry is the list, in the format of sha256sum.
func (s *sums) entry() content.Entry {
	slices.Sort(s.paths)
	size := int64(0)
	for _, p := range s.paths {
		size += int64(2*sha256.Size + 2 + len(p) + 1)
	}
	return content.Entry{Path: aboard.SumsFile, Size: size, Open: func(context.Context) (io.ReadCloser, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		var b strings.Builder
		for _, p := range s.paths {
			if s.known[p] == "" {
				return nil, errors.New("the list of hashes would be written before " + p)
			}
			fmt.Fprintf(&b, "%s  %s\n", s.known[p], p)
		}
		s.last = sha([]byte(b.String()))
		return io.NopCloser(strings.NewReader(b.String())), nil
	}}
}

// digest is the hash of the list; empty before it was written.
func (s *sums) digest() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

type hashing struct {
	io.ReadCloser
	sum  hash.Hash
	done func(string)
}

// Read implements io.Reader.
func (h *hashing) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	h.sum.Write(p[:n])
	if err == io.EOF {
		h.done(hex.EncodeToString(h.sum.Sum(nil)))
	}
	return n, err
}

const maxSums = 16 << 20

// parseSums reads a list of hashes: path to digest.
func parseSums(text []byte) (map[string]string, error) {
	list := map[string]string{}
	for i, line := range strings.Split(strings.TrimRight(string(text), "\r\n"), "\n") {
		digest, name, ok := strings.Cut(strings.TrimRight(line, "\r"), "  ")
		if _, err := hex.DecodeString(digest); !ok || err != nil || len(digest) != 2*sha256.Size || name == "" {
			return nil, fmt.Errorf("%s is damaged in line %d", aboard.SumsFile, i+1)
		}
		list[strings.TrimPrefix(name, "*")] = strings.ToLower(digest)
	}
	return list, nil
}
