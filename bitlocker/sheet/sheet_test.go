package sheet_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/sheet"
	"github.com/fleetmend/fleetmend/internal/secret"
)

func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
}

func key(n int) sheet.Entry {
	var numbers [8]uint16
	for i := range numbers {
		numbers[i] = uint16(n*977 + i*7919 + 4711)
	}
	return sheet.Entry{Name: fmt.Sprintf("LON-PC-%04d", n), Site: "LON", Serial: "SN42", Key: bitlocker.RecoveryKey{
		KeyRef:   bitlocker.KeyRef{ID: bitlocker.KeyID(fmt.Sprintf("4C4B6D8A-1F2E-4D3C-9B8A-%012X", n)), Volume: bitlocker.VolumeOS, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Source: "ad:fleet.test"},
		Password: bitlocker.PasswordFromNumbers(numbers)},
		LAPS: &sheet.Account{User: "Administrator", Password: secret.New("Pä55<w>"), Expires: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)}}
}

// scan lets an independent reader look for codes in an image and returns what it would type, one text per code.
func scan(t *testing.T, path string) map[string]string {
	t.Helper()
	out, err := exec.Command("zbarimg", "--quiet", "--xml", path).CombinedOutput()
	if err != nil {
		t.Fatalf("zbarimg: %v: %s", err, out)
	}
	found := map[string]string{}
	for i, m := range regexp.MustCompile(`(?s)type='([^']+)'.*?<data[^>]*><!\[CDATA\[(.*?)\]\]></data>`).FindAllStringSubmatch(string(out), -1) {
		found[fmt.Sprintf("%s %d", m[1], i)] = m[2]
	}
	return found
}

func TestPDFIsReadByAScanner(t *testing.T) {
	need(t, "zbarimg", "pdftoppm", "pdftotext")
	for _, enter := range []bool{false, true} {
		entries := []sheet.Entry{key(1), key(2), key(3)}
		var b bytes.Buffer
		o := sheet.Options{Title: "Site Zürich", Date: time.Date(2026, 7, 19, 4, 9, 0, 0, time.UTC), Operator: "ops, ticket 12", Enter: enter}
		if err := sheet.PDF(&b, entries, o); err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		if err := sheet.PDF(&again, entries, o); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
			t.Fatalf("not the same bytes twice, %v", err)
		}
		dir := t.TempDir()
		file := filepath.Join(dir, "sheet.pdf")
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("pdftoppm", "-r", "200", "-png", file, filepath.Join(dir, "page")).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		pages, _ := filepath.Glob(filepath.Join(dir, "page*.png"))
		if len(pages) != 2 {
			t.Fatalf("pages %v", pages)
		}
		count := map[string]int{}
		for _, page := range pages {
			for kind, content := range scan(t, page) {
				kind, _, _ = strings.Cut(kind, " ")
				count[kind+" "+content]++
			}
		}
		for _, e := range entries {
			want := e.Key.Password.Digits()
			if enter {
				want += "\r"
			}
			if count["QR-Code "+want] != 1 || count["CODE-128 "+want] != 1 {
				t.Errorf("enter %v: %s was not read: %v", enter, e.Name, count)
			}
		}
		text, err := exec.Command("pdftotext", "-layout", file, "-").Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"LON-PC-0001", "4C4B6D8A-1F2E-4D3C-9B8A-000000000001", "Pä55<w>", "Site Zürich", entries[2].Key.Password.Groups()[5], "ticket 12", "2/2"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%q is not on the sheet", want)
			}
		}
	}
}

func TestHTML(t *testing.T) {
	e := key(1)
	e.Name = "<script>alert(1)</script>"
	var b bytes.Buffer
	if err := sheet.HTML(&b, []sheet.Entry{e}, sheet.Options{Enter: true}); err != nil {
		t.Fatal(err)
	}
	s := b.String()
	if strings.Contains(s, "<script") || strings.Contains(s, "http://") || strings.Contains(s, "https://") || strings.Contains(s, "Pä55<w>") || !strings.Contains(s, "Pä55&lt;w&gt;") {
		t.Fatal("not escaped, or it loads something")
	}
	for _, g := range e.Key.Password.Groups() {
		if !strings.Contains(s, "<span>"+g+"</span>") {
			t.Fatalf("group %s is missing", g)
		}
	}
}

// paint turns terminal text into an image, with cells of 4 by 8 pixels, light ink on dark ground or the reverse.
func paint(t *testing.T, text string, lightInk bool) string {
	t.Helper()
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	columns := 0
	for _, l := range lines {
		columns = max(columns, len([]rune(l)))
	}
	const w, h, border = 4, 8, 24
	img := image.NewGray(image.Rect(0, 0, columns*w+2*border, len(lines)*h+2*border))
	ink, ground := color.Gray{255}, color.Gray{0}
	if !lightInk {
		ink, ground = ground, ink
	}
	for i := range img.Pix {
		img.Pix[i] = ground.Y
	}
	for y, l := range lines {
		for x, r := range []rune(l) {
			for py := range h {
				for px := range w {
					on := r == '█' || r == '#' || r == '▀' && py < h/2 || r == '▄' && py >= h/2 || r == '▌' && px < w/2 || r == '▐' && px >= w/2
					if on {
						img.SetGray(border+x*w+px, border+y*h+py, ink)
					}
				}
			}
		}
	}
	path := filepath.Join(t.TempDir(), "screen.png")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
	return path
}

var ansi = regexp.MustCompile("\x1b\\[[0-9;]*m")

func TestTerminalIsReadByAScanner(t *testing.T) {
	need(t, "zbarimg")
	p := key(7).Key.Password
	for name, s := range map[string]sheet.Screen{
		"dark": {}, "light": {Light: true}, "colour": {Color: true}, "ascii": {ASCII: true}, "ascii light": {ASCII: true, Light: true},
		"enter": {Enter: true}, "wide": {Width: 200}, "100 columns": {Width: 100, Enter: true},
	} {
		t.Run(name, func(t *testing.T) {
			want := p.Digits()
			if s.Enter {
				want += "\r"
			}
			limit := s.Width
			if limit == 0 {
				limit = 80
			}
			var b bytes.Buffer
			if err := sheet.QRCode(&b, p, s); err != nil {
				t.Fatal(err)
			}
			got := scan(t, paint(t, ansi.ReplaceAllString(b.String(), ""), !s.Light))
			if got["QR-Code 0"] != want {
				t.Errorf("QR code: %q", got)
			}
			b.Reset()
			if err := sheet.Code128(&b, p, s); err != nil {
				t.Fatal(err)
			}
			read := ""
			plain := ansi.ReplaceAllString(b.String(), "")
			for _, block := range strings.Split(strings.TrimRight(plain, "\n"), "\n\n") {
				if first, rest, ok := strings.Cut(block, "\n"); ok && strings.HasPrefix(first, "part ") {
					block = rest
				}
				for _, l := range strings.Split(block, "\n") {
					if len([]rune(l)) > limit {
						t.Fatalf("a line of %d columns on a screen of %d", len([]rune(l)), limit)
					}
				}
				read += scan(t, paint(t, block, !s.Light))["CODE-128 0"]
			}
			if read != want {
				t.Errorf("Code128: %q, want %q", read, want)
			}
		})
	}
}

func TestNarrowAndPhonetic(t *testing.T) {
	p := key(7).Key.Password
	var b bytes.Buffer
	if err := sheet.Terminal(&b, p, sheet.Screen{Width: 20}); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); strings.Count(s, "too narrow") != 2 || !strings.Contains(s, p.Groups()[3]) {
		t.Fatalf("%s", s)
	}
	q, err := bitlocker.ParsePassword("111111-222222-333333-444444-555555-666666-000000-720885")
	if err != nil {
		t.Fatal(err)
	}
	lines := sheet.Phonetic(q)
	if len(lines) != 8 || lines[7] != "group 8 of 8:  seven-two-zero ... eight-eight-five" {
		t.Fatalf("%q", lines)
	}
	if err := sheet.PDF(&b, nil, sheet.Options{}); err == nil {
		t.Fatal("an empty sheet")
	}
	if err := sheet.HTML(&b, []sheet.Entry{{}}, sheet.Options{}); err == nil {
		t.Fatal("a sheet without password")
	}
}

// Names of any length and script: what the fonts have is printed, the rest stands as numbers and is said, and nothing ever
// reaches the code.
func TestPDFPrintsNamesOfAnyKind(t *testing.T) {
	need(t, "zbarimg", "pdftoppm", "pdftotext")
	names := []string{"ŁÓDŹ-PC-01", "ΑΘΗΝΑ-7", "МОСКВА-ПК-3", "東京-PC-01", strings.Repeat("WWWWWWWWWW", 15), strings.Repeat("東京", 200) + ".fleet.test", "i"}
	entries := make([]sheet.Entry, len(names))
	for i, name := range names {
		entries[i] = key(i)
		entries[i].Name, entries[i].Site, entries[i].Serial = name, strings.Repeat("Site ", 60), strings.Repeat("S", 300)
	}
	entries[0].Key.ID, entries[3].Key.ID = "UNKNOWN-ŁÓDŹ-PC-01", "UNKNOWN-東京-PC-01"
	entries[0].LAPS.Password = secret.New("correct horse battery staple Łódź 7!")
	entries[1].LAPS.Password = secret.New("東京")
	entries[2].LAPS.Password = secret.New(strings.Repeat("W", 300))
	o := sheet.Options{Title: strings.Repeat("Zürich ", 60), Operator: strings.Repeat("because ", 100), Date: time.Date(2026, 7, 19, 4, 9, 0, 0, time.UTC)}
	var b bytes.Buffer
	if err := sheet.PDF(&b, entries, o); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "sheet.pdf")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("pdftotext", "-layout", file, "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	text := string(out)
	for _, want := range []string{names[0], names[1], names[2], "[6771][4EAC]-PC-01", "UNKNOWN-ŁÓDŹ-PC-01", "UNKNOWN-[6771][4EAC]-PC-01", "WWW…WWW", "correct horse battery staple Łódź 7!", "\ni "} {
		if !strings.Contains(text, want) && !strings.Contains(text, strings.TrimSpace(want)) {
			t.Errorf("%q is not on the sheet", want)
		}
	}
	if strings.Count(text, "cannot be printed here") != 2 {
		t.Errorf("passwords that cannot be printed:\n%s", text)
	}
	problems := strings.Join(sheet.Problems(entries, o), "\n")
	for _, want := range []string{"東京-PC-01: U+6771 U+4EAC stand", "ΑΘΗΝΑ-7: the password", "МОСКВА-ПК-3: the password"} {
		if !strings.Contains(problems, want) {
			t.Errorf("not said: %s\n%s", want, problems)
		}
	}
	if strings.Contains(problems, "ŁÓDŹ") || strings.Contains(problems, strings.Repeat("W", 200)) {
		t.Errorf("said without need, or a secret:\n%s", problems)
	}
	// No word beside a QR code ends right of where the code begins: 210 - 15 - 44 mm, in points.
	boxes, err := exec.Command("pdftotext", "-bbox", file, "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	words := regexp.MustCompile(`<word xMin="([0-9.]+)" yMin="([0-9.]+)" xMax="([0-9.]+)" yMax="([0-9.]+)">`).FindAllStringSubmatch(string(boxes), -1)
	const mm = 72 / 25.4
	checked := 0
	for _, w := range words {
		var box [4]float64
		for i := range box {
			if _, err := fmt.Sscan(w[i+1], &box[i]); err != nil {
				t.Fatal(err)
			}
		}
		for _, top := range []float64{32, 156} {
			if box[1] > (top-2)*mm && box[3] < (top+48)*mm {
				checked++
				if box[2] > (210-15-44)*mm {
					t.Errorf("a word ends at %.0f mm, over the code", box[2]/mm)
				}
			}
		}
	}
	if checked < 5*len(names) {
		t.Errorf("only %d words were looked at", checked)
	}
	if out, err := exec.Command("pdftoppm", "-r", "200", "-png", file, filepath.Join(dir, "page")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pages, _ := filepath.Glob(filepath.Join(dir, "page*.png"))
	read := map[string]int{}
	for _, page := range pages {
		for _, content := range scan(t, page) {
			read[content]++
		}
	}
	for _, e := range entries {
		if read[e.Key.Password.Digits()] != 2 {
			t.Errorf("the codes of %.20s were read %d times", e.Name, read[e.Key.Password.Digits()])
		}
	}
}
