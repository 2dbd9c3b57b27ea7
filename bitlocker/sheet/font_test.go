package sheet

import (
	"testing"

	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gomonobold"
	"golang.org/x/image/font/sfnt"
)

func TestFontsHaveTheSameLetters(t *testing.T) {
	for name, data := range map[string][]byte{"bold": gobold.TTF, "mono": gomonobold.TTF} {
		f, err := sfnt.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		var b sfnt.Buffer
		for r := ' '; r < 0x20000; r++ {
			index, err := f.GlyphIndex(&b, r)
			if err != nil {
				t.Fatal(err)
			}
			if (index != 0) != printable(r) {
				t.Errorf("%s: %U is there: %v, in the regular one: %v", name, r, index != 0, printable(r))
			}
		}
	}
	if !printable('Ź') || !printable('Ω') || !printable('Ж') || printable('東') || printable('\n') {
		t.Error("what can be printed is judged wrongly")
	}
}
