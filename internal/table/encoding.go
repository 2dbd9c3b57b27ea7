package table

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

type codePage struct {
	number int
	words  string
	page   encoding.Encoding
}

// codePages are the code pages of Windows by number: those of its windows (ANSI) and those of its console (OEM).
var codePages = []codePage{
	{1252, "Western European", charmap.Windows1252},
	{1250, "Central European", charmap.Windows1250},
	{1251, "Cyrillic", charmap.Windows1251},
	{1253, "Greek", charmap.Windows1253},
	{1254, "Turkish", charmap.Windows1254},
	{1255, "Hebrew", charmap.Windows1255},
	{1256, "Arabic", charmap.Windows1256},
	{1257, "Baltic", charmap.Windows1257},
	{1258, "Vietnamese", charmap.Windows1258},
	{874, "Thai", charmap.Windows874},
	{850, "OEM, Western European", charmap.CodePage850},
	{437, "OEM, United States", charmap.CodePage437},
	{852, "OEM, Central European", charmap.CodePage852},
	{858, "OEM, Western European with the euro", charmap.CodePage858},
	{860, "OEM, Portuguese", charmap.CodePage860},
	{863, "OEM, French Canadian", charmap.CodePage863},
	{865, "OEM, Nordic", charmap.CodePage865},
	{866, "OEM, Cyrillic", charmap.CodePage866},
	{932, "Japanese, Shift JIS", japanese.ShiftJIS},
	{936, "Chinese, GBK", simplifiedchinese.GBK},
	{949, "Korean", korean.EUCKR},
	{950, "Chinese, Big5", traditionalchinese.Big5},
}

// Encodings are the names that [Options] takes: UTF-8, UTF-16 and the code pages of Windows by number.
func Encodings() []string {
	out := []string{"utf-8", "utf-16"}
	for _, p := range codePages {
		out = append(out, fmt.Sprint(p.number))
	}
	return out
}

// CheckEncoding says whether [Options] takes a name of an encoding.
func CheckEncoding(name string) error {
	if _, _, err := pageOf(name); err != nil {
		return err
	}
	return nil
}

// pageOf finds a code page by what people call it: 850, cp850, ibm850, windows-1252, shift_jis; nil for UTF.
func pageOf(name string) (encoding.Encoding, string, error) {
	word := strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(name))
	switch word {
	case "", "utf8", "utf16", "utf16le", "utf16be", "unicode":
		return nil, "", nil
	case "shiftjis", "sjis":
		word = "932"
	case "gbk", "gb2312", "gb18030":
		word = "936"
	case "euckr":
		word = "949"
	case "big5":
		word = "950"
	case "latin1", "iso88591", "ansi":
		word = "1252"
	}
	for _, before := range []string{"windows", "cp", "ibm", "oem", "win", "dos"} {
		word = strings.TrimPrefix(word, before)
	}
	for _, p := range codePages {
		if fmt.Sprint(p.number) == word {
			return p.page, pageName(p.number), nil
		}
	}
	return nil, "", hint.Wrapf(fmt.Errorf("unknown encoding %q", name), "known are %s", strings.Join(Encodings(), ", "))
}

func pageName(number int) string {
	if number > 1000 {
		return fmt.Sprintf("Windows-%d", number)
	}
	return fmt.Sprintf("code page %d", number)
}

// decode reads text of a named encoding, or finds out which it is. What is no UTF, and has no mark of it, is taken for Windows-1252, if it can
// be, and that guess is marked; five bytes have no letter there, and tell that it is something else.
func decode(data []byte, name string) (Table, error) {
	page, words, err := pageOf(name)
	if err != nil {
		return Table{}, err
	}
	if page != nil {
		text, err := decodePage(data, page, words)
		return Table{Encoding: words, text: text}, err
	}
	text, err := textfile.Decode(data)
	if err == nil {
		return Table{Encoding: text.Encoding, text: text.Content}, nil
	}
	var wrong *textfile.Error
	if name != "" || !errors.As(err, &wrong) || bytes.IndexByte(data, 0) >= 0 || bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) || bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return Table{}, err
	}
	t := Table{Encoding: pageName(1252)}
	if t.text, err = decodePage(data, charmap.Windows1252, t.Encoding); err != nil {
		return t, hint.Wrapf(fmt.Errorf("it is neither UTF-8 nor UTF-16 nor Windows-1252: %w", err), "say which it is with --encoding: %s", suggestions(data, err))
	}
	t.Guess = fmt.Sprintf("%q in line %d", wordAt(t.text, strings.IndexFunc(t.text, func(r rune) bool { return r >= 0x80 })), 1+bytes.Count(data[:wrong.Offset], []byte("\n")))
	return t, nil
}

// decodePage decodes a code page and refuses bytes that mean nothing in it.
func decodePage(data []byte, page encoding.Encoding, words string) (string, error) {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return "", &textfile.Error{Offset: int64(i), Reason: "it is no text: it holds a zero character"}
	}
	out, err := page.NewDecoder().Bytes(data)
	if err != nil {
		return "", fmt.Errorf("decode %s: %w", words, err)
	}
	text := string(out)
	if page == charmap.Windows1252 { // the decoder follows browsers, which give control characters for the five
		unused := []byte{0x81, 0x8d, 0x8f, 0x90, 0x9d}
		if i := slices.IndexFunc(data, func(b byte) bool { return bytes.IndexByte(unused, b) >= 0 }); i >= 0 {
			return "", &textfile.Error{Offset: int64(i), Reason: fmt.Sprintf("byte %#x is no letter in %s", data[i], words)}
		}
	}
	if i := strings.IndexRune(text, utf8.RuneError); i >= 0 {
		line := 1 + strings.Count(text[:i], "\n")
		return "", &textfile.Error{Offset: -1, Reason: fmt.Sprintf("line %d holds bytes that are no letter in %s", line, words)}
	}
	return text, nil
}

// suggestions show a word that gave the encoding away as the likely code pages have it.
func suggestions(data []byte, err error) string {
	at := 0
	var wrong *textfile.Error
	if errors.As(err, &wrong) && wrong.Offset > 0 {
		at = int(wrong.Offset)
	}
	from := 1 + bytes.LastIndexAny(data[:at], "\r\n,;\t|\"")
	to := len(data)
	if n := bytes.IndexAny(data[at:], "\r\n,;\t|\""); n >= 0 {
		to = at + n
	}
	var out []string
	for _, number := range []int{850, 852, 866, 1251, 932, 936, 949} {
		p := codePages[slices.IndexFunc(codePages, func(p codePage) bool { return p.number == number })]
		if text, err := decodePage(data[from:min(to, from+60)], p.page, ""); err == nil {
			out = append(out, fmt.Sprintf("%d (%s) would give %q", p.number, p.words, hushed(text, groupDigits)))
		}
	}
	return strings.Join(out, ", ")
}

// wordAt is the word around a place of a text, for a person to judge.
func wordAt(text string, at int) string {
	if at < 0 {
		return ""
	}
	from := 1 + strings.LastIndexAny(text[:at], "\r\n,;\t|\" ")
	word := text[from:]
	if n := strings.IndexAny(text[at:], "\r\n,;\t|\""); n >= 0 {
		word = text[from : at+n]
	}
	word = hushed(word, groupDigits)
	if r := []rune(word); len(r) > 24 {
		word = string(r[:24])
	}
	return word
}

// groupDigits are the digits between two dashes of a recovery password, which may be all that is there of it.
const groupDigits = 6

// hushed takes the digits out of a word with that many of them, for it may be a recovery password with dashes of a code page
// between its groups; letters are what an encoding is judged by.
func hushed(word string, most int) string {
	digits := 0
	out := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return r
		}
		digits++
		return '*'
	}, word)
	if digits < most {
		return word
	}
	return out
}
