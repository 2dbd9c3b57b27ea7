// Package textfile reads the text files that an operator names, whoever wrote them, and writes files that appear whole.
//
// Most callers need [Secret] for a password, passphrase or token in the first line of a file, [Read] for every other
// text, and [Write] for a file of their own. What is no text is an error that says where, before anything is sent,
// sealed or stored. The package never prints, never follows a link to write, and reads no more than it was allowed.
// It is the only place that decides what the bytes of a file mean: UTF-8 with or without mark, UTF-16 with mark or of
// mostly Latin letters. Tables may be in a code page too; internal/table adds those, and says so.
package textfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// Encodings that are told apart by the bytes alone.
const (
	UTF8    = "UTF-8"
	UTF16LE = "UTF-16 LE"
	UTF16BE = "UTF-16 BE"
)

// Text is a text and how it was written.
type Text struct {
	Content  string // valid UTF-8 without mark and without zero characters; line ends as they were
	Encoding string
}

// Error is a file that holds no text, or more than is taken.
type Error struct {
	Offset int64 // of the first byte that cannot be, -1 where no single byte is to blame
	Reason string
}

func (e *Error) Error() string {
	if e.Offset < 0 {
		return e.Reason
	}
	return fmt.Sprintf("%s (byte %d)", e.Reason, e.Offset+1)
}

// patience bounds the waiting for a pipe.
const patience = 30 * time.Second

// Bytes reads a file of at most limit bytes, such as a keytab. A folder or device is refused; a pipe is read to its end
// for at most half a minute, and one that nobody writes into is empty.
func Bytes(name string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(name, openFlags, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return nil, fmt.Errorf("%s: it is a folder", name)
	case mode&fs.ModeDevice != 0:
		return nil, fmt.Errorf("%s: it is a device, not a file", name)
	case mode.IsRegular() && info.Size() > limit:
		return nil, fmt.Errorf("%s: %w", name, tooLarge(limit))
	case !mode.IsRegular():
		_ = f.SetReadDeadline(time.Now().Add(patience)) // where the system cannot, the pipe's writer decides
	}
	data, err := readAll(f, limit, int(max(info.Size(), 0)))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("the pipe did not end within %s", patience)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

// ReadAll reads at most limit bytes; more are an [*Error]. What a [*bytes.Buffer] holds is given as it is, not copied.
func ReadAll(r io.Reader, limit int64) ([]byte, error) {
	if held, ok := r.(*bytes.Buffer); ok && int64(held.Len()) <= limit {
		return held.Next(held.Len()), nil
	}
	size := 0
	if held, ok := r.(interface{ Len() int }); ok { // it is in memory already
		size = held.Len()
	}
	return readAll(r, limit, size)
}

// readAll reads at most limit bytes, and takes memory once where their number is known.
func readAll(r io.Reader, limit int64, size int) ([]byte, error) {
	var b bytes.Buffer
	if int64(size) <= limit {
		b.Grow(size + bytes.MinRead)
	}
	if _, err := b.ReadFrom(io.LimitReader(r, limit+1)); err != nil {
		return nil, err
	}
	if int64(b.Len()) > limit {
		return nil, tooLarge(limit)
	}
	return b.Bytes(), nil
}

func tooLarge(limit int64) error {
	if limit < 1<<20 {
		return &Error{-1, fmt.Sprintf("it is larger than %d KB", limit>>10)}
	}
	return &Error{-1, fmt.Sprintf("it is larger than %d MB", limit>>20)}
}

// Read reads a text file of at most limit bytes.
func Read(name string, limit int64) (Text, error) {
	data, err := Bytes(name, limit)
	if err != nil {
		return Text{}, err
	}
	text, err := Decode(data)
	if err != nil {
		return Text{}, fmt.Errorf("%s: %w", name, err)
	}
	return text, nil
}

// ReadFrom is [Read] for a stream.
func ReadFrom(r io.Reader, limit int64) (Text, error) {
	data, err := ReadAll(r, limit)
	if err != nil {
		return Text{}, err
	}
	return Decode(data)
}

// Decode takes bytes for text; an [*Error] says what cannot be. It never replaces a character.
func Decode(data []byte) (Text, error) {
	t := Text{Encoding: UTF8}
	skip := 0
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		skip = 3
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		t.Encoding, skip = UTF16LE, 2
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		t.Encoding, skip = UTF16BE, 2
	case zeros(data, 1):
		t.Encoding = UTF16LE
	case zeros(data, 0):
		t.Encoding = UTF16BE
	}
	var err error
	if t.Encoding == UTF8 {
		t.Content, err = decode8(data[skip:], skip)
	} else {
		t.Content, err = decode16(data[skip:], skip, t.Encoding == UTF16BE)
	}
	if err != nil {
		return Text{}, hint.Wrap(err, "save it as UTF-8")
	}
	return t, nil
}

func decode8(data []byte, skip int) (string, error) {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return "", &Error{int64(i + skip), "it is no text in UTF-8 or UTF-16"}
		case r == 0:
			return "", &Error{int64(i + skip), "it is no text: it holds a zero character"}
		}
		i += n
	}
	return string(data), nil
}

func decode16(data []byte, skip int, big bool) (string, error) {
	if len(data)%2 != 0 {
		return "", &Error{int64(len(data) + skip - 1), "it is cut off: UTF-16 has two bytes for each character"}
	}
	var b strings.Builder
	b.Grow(len(data) / 2)
	unit := func(i int) rune {
		if big {
			return rune(data[i])<<8 | rune(data[i+1])
		}
		return rune(data[i+1])<<8 | rune(data[i])
	}
	for i := 0; i < len(data); i += 2 {
		r := unit(i)
		switch {
		case r == 0:
			return "", &Error{int64(i + skip), "it is no text: it holds a zero character"}
		case utf16.IsSurrogate(r):
			if i+3 < len(data) {
				r = utf16.DecodeRune(r, unit(i+2))
			} else {
				r = utf8.RuneError
			}
			if r == utf8.RuneError {
				return "", &Error{int64(i + skip), "it is no UTF-16: half a character stands alone"}
			}
			i += 2
		}
		b.WriteRune(r)
	}
	return b.String(), nil
}

// zeros reports whether most of the bytes at even (0) or odd (1) places are zero and none of the others, as in Latin
// text in UTF-16 without a mark.
func zeros(data []byte, place int) bool {
	n, hits, other := 0, 0, 0
	for i := 0; i+1 < len(data) && i < 200; i += 2 {
		n++
		if data[i+place] == 0 {
			hits++
		}
		if data[i+1-place] == 0 {
			other++
		}
	}
	return n > 0 && hits*10 > n*7 && other == 0
}

// MaxSecret bounds a file with a secret in its first line.
const MaxSecret = 64 << 10

// Secret gives the first line of a file. An empty line and what is no text are errors. The remark, if there is one, is
// for the person at the terminal: a blank at the end of the line is kept, save the one that `echo secret > file` of cmd
// leaves before CR LF; and where the system has modes, that others can read the file. The file's words are in neither.
func Secret(name string) (value secret.String, remark string, err error) {
	text, err := Read(name, MaxSecret)
	if err != nil {
		return secret.String{}, "", err
	}
	line, remark := firstLine(text.Content)
	if line == "" {
		return secret.String{}, "", hint.Wrapf(fmt.Errorf("%s: its first line is empty", name), "write the secret into the first line")
	}
	remarks := make([]string, 0, 2)
	for _, text := range []string{remark, readByOthers(name)} {
		if text != "" {
			remarks = append(remarks, name+": "+text)
		}
	}
	return secret.New(line), strings.Join(remarks, "; "), nil
}

func firstLine(text string) (line, remark string) {
	line, end := text, ""
	if i := strings.IndexAny(text, "\r\n"); i >= 0 {
		line, end = text[:i], text[i:]
	}
	bare := strings.TrimRight(line, " \t\u00a0")
	switch blanks := line[len(bare):]; {
	case bare == "":
		return "", ""
	case blanks == "":
		return line, ""
	case blanks == " " && strings.HasPrefix(end, "\r\n"):
		return bare, "the blank at the end of its first line was left out, for cmd's echo writes one; if it belongs to the secret, save the file without a line end"
	}
	return line, "the blank at the end of its first line was kept as part of the secret; remove it if it does not belong there"
}
