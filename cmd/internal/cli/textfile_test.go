package cli

import (
	"os"
	"strings"
	"unicode/utf16"

	"github.com/rogpeppe/go-internal/testscript"
)

var textCmds = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"encode": encodeFile,
	"mark": func(ts *testscript.TestScript, neg bool, args []string) { // `mark FILE`: it begins with a byte order mark
		if text := ts.ReadFile(args[0]); strings.HasPrefix(text, "\ufeff") == neg {
			ts.Fatalf("%s begins with %q", args[0], text[:min(len(text), 10)])
		}
	},
}

// encodeFile is the script command `encode FROM TO FORM`: the text of FROM, written as other programs write it. FORM is
// utf16le, utf16be or utf8bom, with CR LF as line ends; blank, with cmd's blank before CR LF; or cp1252.
func encodeFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: encode FROM TO FORM")
	}
	text := strings.ReplaceAll(ts.ReadFile(args[0]), "\n", "\r\n")
	var out []byte
	switch args[2] {
	case "utf16le", "utf16be":
		for _, u := range utf16.Encode([]rune("\ufeff" + text)) {
			if args[2] == "utf16le" {
				out = append(out, byte(u), byte(u>>8))
			} else {
				out = append(out, byte(u>>8), byte(u))
			}
		}
	case "utf8bom":
		out = []byte("\ufeff" + text)
	case "blank":
		out = []byte(strings.TrimSuffix(text, "\r\n") + " \r\n")
	case "cp1252":
		for _, r := range text {
			out = append(out, byte(r)) // Latin letters have the same number there
		}
	default:
		ts.Fatalf("no form %q", args[2])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), out, 0o600))
}
