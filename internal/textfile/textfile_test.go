package textfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// utf16Bytes writes a text in UTF-16.
func utf16Bytes(text string, big, mark bool) []byte {
	var out []byte
	if mark {
		text = "\ufeff" + text
	}
	for _, u := range utf16.Encode([]rune(text)) {
		if big {
			out = append(out, byte(u>>8), byte(u))
		} else {
			out = append(out, byte(u), byte(u>>8))
		}
	}
	return out
}

func file(t *testing.T, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// The same secret, as PowerShell 5.1, Notepad, cmd, Linux and an editor on another byte order write it, is one secret.
func TestSecretIsTheSameInEveryForm(t *testing.T) {
	for _, secret := range []string{"correct horse battery", "Grüße-ß-é", "p", "秘密のパスワードabcdefghijkl", "emoji 😀 in it"} {
		for _, end := range []string{"", "\n", "\r\n", "\r", "\r\nsecond line\r\n"} {
			for form, data := range map[string][]byte{
				"plain":          []byte(secret + end),
				"marked":         []byte("\ufeff" + secret + end),
				"UTF-16 LE":      utf16Bytes(secret+end, false, true),
				"UTF-16 BE":      utf16Bytes(secret+end, true, true),
				"UTF-16 LE bare": utf16Bytes(secret+end, false, false),
				"UTF-16 BE bare": utf16Bytes(secret+end, true, false),
			} {
				if strings.HasSuffix(form, "bare") && strings.ContainsAny(secret, "秘😀") {
					continue // not to be told from other bytes
				}
				got, remark, err := textfile.Secret(file(t, data))
				if err != nil || got.Reveal() != secret || remark != "" {
					t.Errorf("%s, end %q: %q, remark %q, %v; want %q", form, end, got.Reveal(), remark, err, secret)
				}
			}
		}
	}
}

func TestSecretWithBlankAtTheEnd(t *testing.T) {
	for text, want := range map[string]struct{ value, remark string }{
		"secret \r\n":     {"secret", "left out"}, // cmd: echo secret > file
		"secret ":         {"secret ", "kept"},
		"secret \n":       {"secret ", "kept"},
		"secret  \r\n":    {"secret  ", "kept"},
		"secret\t\r\n":    {"secret\t", "kept"},
		"secret\u00a0\n":  {"secret\u00a0", "kept"},
		" secret\r\n":     {" secret", ""},
		"two words\r\nx ": {"two words", ""},
	} {
		got, remark, err := textfile.Secret(file(t, []byte(text)))
		if err != nil || got.Reveal() != want.value || (remark == "") != (want.remark == "") || !strings.Contains(remark, want.remark) || strings.Contains(remark, "secret\"") {
			t.Errorf("%q: %q, remark %q, %v", text, got.Reveal(), remark, err)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		data   []byte
		offset int64
	}{
		"empty line":       {[]byte("\r\nsecret"), -2},
		"empty":            {nil, -2},
		"only blanks":      {[]byte(" \t\n"), -2},
		"Windows-1252":     {[]byte("Gr\xfc\xdfe"), 2},
		"zero":             {[]byte("ab\x00cdefg\n"), 2},
		"odd UTF-16":       {append(utf16Bytes("abc", false, true), 'x'), 8},
		"half a character": {[]byte("\xff\xfea\x00\x00\xd8b\x00"), 4},
		"UTF-32":           {[]byte("\xff\xfe\x00\x00a\x00\x00\x00"), 2},
		"picture":          {[]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), 0},
		"large":            {bytes.Repeat([]byte("a"), textfile.MaxSecret+1), -1},
	} {
		got, _, err := textfile.Secret(file(t, c.data))
		if err == nil {
			t.Errorf("%s was taken as %q", name, got.Reveal())
			continue
		}
		var wrong *textfile.Error
		if c.offset == -2 {
			if !strings.Contains(err.Error(), "first line is empty") {
				t.Errorf("%s: %v", name, err)
			}
		} else if !errors.As(err, &wrong) || wrong.Offset != c.offset {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := textfile.ReadFrom(strings.NewReader("123456"), 5); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("more than was allowed: %v", err)
	}
	if _, err := textfile.Read(t.TempDir(), 100); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := textfile.Read(filepath.Join(t.TempDir(), "none"), 100); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range []string{"secret\r\n", "Grüße", "😀", ""} {
		f.Add([]byte(text))
		f.Add(utf16Bytes(text, false, true))
		f.Add(utf16Bytes(text, true, false))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		defer bounded.Input(t, len(data))()
		text, err := textfile.Decode(data)
		if err != nil {
			return
		}
		if !utf8.ValidString(text.Content) || strings.ContainsRune(text.Content, 0) {
			t.Fatalf("%q", text.Content)
		}
		// What was decoded and is written again is the same bytes: nothing was replaced.
		var back []byte
		for _, mark := range []bool{true, false} {
			switch text.Encoding {
			case textfile.UTF8:
				if back = []byte(text.Content); mark {
					back = []byte("\ufeff" + text.Content)
				}
			default:
				back = utf16Bytes(text.Content, text.Encoding == textfile.UTF16BE, mark)
			}
			if bytes.Equal(back, data) {
				return
			}
		}
		t.Fatalf("%q as %s gives %q, which is written %q", data, text.Encoding, text.Content, back)
	})
}

func ExampleDecode() {
	text, err := textfile.Decode([]byte("\xff\xfeh\x00i\x00"))
	fmt.Println(text.Content, text.Encoding, err)
	// Output: hi UTF-16 LE <nil>
}
