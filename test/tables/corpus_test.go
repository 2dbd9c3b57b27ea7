package tables

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

// kind is what the files hold.
type kind struct {
	name string
	rows [][]string
}

// The machines and keys of all files. Serial numbers have zeros in front and many digits, sites letters of two scripts
// that Windows-1252 and 850 both have, and cells what must be quoted.
var (
	machines = kind{"machines", [][]string{
		{"Name", "DNSHostName", "Standort", "Serial Number", "OperatingSystem", "Last Seen"},
		{"MUC-WS-1", "muc-ws-1.corp.example", "München", "00012345", "Windows 11 Enterprise", "2024-07-19 04:09:00"},
		{"GIE-WS-2", "gie-ws-2.corp.example", "Gießen; Halle \"2\", Süd", "123456789012", "Windows Server 2022", "2024-07-20 05:10:00"},
		{"PAR-WS-3", "par-ws-3.corp.example", "Orléans", "5CG1234ABC", "Windows 10 Pro", "2024-07-21 06:11:00"},
	}}
	keys = kind{"keys", [][]string{
		{"Computer Name", "Recovery Key ID", "Recovery Key", "Created"},
		{"MUC-WS-1", "4C4B6D8A-1F2E-4D3C-9B8A-0123456789AB", "111111-222222-333333-444444-555555-666666-000000-720885", "2024-07-19 04:09:00"},
		{"GIE-WS-2", "5C4B6D8A-1F2E-4D3C-9B8A-0123456789AB", "081532-132044-122364-520564-243782-444268-362725-305965", "2024-07-20 05:10:00"},
		{"ORLÉANS-3", "6C4B6D8A-1F2E-4D3C-9B8A-0123456789AB", "193721-090981-367752-170005-714307-648065-680878-547316", "2024-07-21 06:11:00"},
	}}
)

// own is the program that this package is.
const own = "Go"

// sample is a file and who wrote it.
type sample struct {
	by, name string
	encoding string // to be told, where nobody can find it out
	data     []byte
}

// text writes the rows as CSV.
func (k kind) text(tb testing.TB, comma rune, crlf bool) string {
	tb.Helper()
	var out strings.Builder
	w := csv.NewWriter(&out)
	w.Comma, w.UseCRLF = comma, crlf
	if err := w.WriteAll(k.rows); err != nil {
		tb.Fatal(err)
	}
	return out.String()
}

// own are the files that this package writes.
func (k kind) own(tb testing.TB) []sample {
	var out []sample
	encodings := map[string]encoding.Encoding{
		"utf-8": encoding.Nop, "utf-8 with mark": unicode.UTF8BOM, "utf-16 le": unicode.UTF16(unicode.LittleEndian, unicode.UseBOM),
		"utf-16 be": unicode.UTF16(unicode.BigEndian, unicode.UseBOM), "utf-16 le bare": unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), "1252": charmap.Windows1252,
	}
	for name, e := range encodings {
		add := func(comma rune, before string) {
			text, err := e.NewEncoder().String(before + k.text(tb, comma, true))
			if err != nil {
				tb.Fatal(err)
			}
			out = append(out, sample{by: own, name: fmt.Sprintf("%s %q %q", name, comma, before), data: []byte(text)})
		}
		for _, comma := range []rune{',', ';', '\t'} {
			add(comma, "")
		}
		add(';', "sep=;\r\n")
		add(',', "#TYPE Selected.System.Management.Automation.PSCustomObject\r\n")
	}
	return out
}

// run starts a program that writes files into the folder, and takes those that match.
func run(tb testing.TB, by, dir, pattern string, stdin []byte, program string, args ...string) []sample {
	tb.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if t, ok := tb.(*testing.T); ok {
			t.Logf("not here: %s", program)
		}
		return nil
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
	cmd.Env = append(os.Environ(), "HOME="+dir, "DOTNET_CLI_TELEMETRY_OPTOUT=1", "POWERSHELL_TELEMETRY_OPTOUT=1", "LC_ALL=C.UTF-8")
	if text, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%s %q: %v\n%s", program, args, err, text)
	}
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) == 0 {
		tb.Fatalf("%s wrote nothing: %v", program, err)
	}
	var out []sample
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		s := sample{by: by, name: filepath.Base(file), data: data}
		if _, after, told := strings.Cut(s.name, "@"); told { // NAME@ENCODING.csv
			s.encoding, _, _ = strings.Cut(after, ".")
		}
		out = append(out, s)
	}
	return out
}

// iconv writes code pages that must be told, and Unicode in the forms it has.
func (k kind) iconv(tb testing.TB) []sample {
	dir := tb.TempDir()
	var out []sample
	for form, told := range map[string]string{"UTF-16": "", "UTF-16LE": "", "UTF-16BE": "", "WINDOWS-1252": "", "ISO-8859-1": "", "CP850": "@850", "CP858": "@858", "WINDOWS-1250": "", "WINDOWS-1254": ""} {
		if form == "WINDOWS-1250" && strings.Contains(k.text(tb, ',', true), "é") { // the same bytes there
			told = "@1250"
		}
		name := "iconv " + form + told + ".csv"
		out = append(out, run(tb, "iconv", dir, name, []byte(k.text(tb, ';', true)), "sh", "-c", "command -v iconv >/dev/null || exit 0; iconv -f UTF-8 -t "+form+" > '"+name+"'")...)
	}
	return out
}

const pythonWriter = `
import csv, json, sys
rows = json.load(sys.stdin)
for name, encoding, options in [
    ("excel", "utf-8", dict(dialect="excel")), ("excel sig", "utf-8-sig", dict(dialect="excel")), ("tab", "utf-16", dict(dialect="excel-tab")),
    ("unix", "utf-8", dict(dialect="unix")), ("all", "cp1252", dict(quoting=csv.QUOTE_ALL, delimiter=";")), ("minimal", "utf-8", dict(delimiter="|", lineterminator="\n")),
    ("nonnumeric", "utf-16", dict(quoting=csv.QUOTE_NONNUMERIC)), ("bar sig", "utf-8-sig", dict(delimiter="|")), ("oem@850", "cp850", dict(delimiter=";")),
]:
    with open("python " + name + ".csv", "w", encoding=encoding, newline="") as f:
        csv.writer(f, **options).writerows(rows)
objects = [dict(zip(rows[0], r)) for r in rows[1:]]
json.dump(objects, open("python list.json", "w", encoding="utf-8"))
json.dump({"value": objects}, open("python graph.json", "w", encoding="utf-8"), ensure_ascii=False, indent=2)
with open("python lines.json", "w", encoding="utf-8") as f:
    for o in objects: f.write(json.dumps(o) + "\n")
`

const powershellWriter = `
$ErrorActionPreference = 'Stop'
$rows = [Console]::In.ReadToEnd() | ConvertFrom-Json -NoEnumerate
$objects = foreach ($r in $rows[1..($rows.Count - 1)]) {
  $o = [ordered]@{}
  for ($i = 0; $i -lt $r.Count; $i++) { $o[$rows[0][$i]] = $r[$i] }
  [pscustomobject]$o
}
foreach ($e in 'utf8', 'utf8BOM', 'utf8NoBOM', 'unicode', 'bigendianunicode') {
  $objects | Export-Csv -Path "pwsh $e.csv" -Encoding $e
  $objects | Export-Csv -Path "pwsh $e tab.csv" -Encoding $e -Delimiter "` + "`t" + `" -UseQuotes AsNeeded
  $objects | Export-Csv -Path "pwsh $e type.csv" -Encoding $e -IncludeTypeInformation -Delimiter ';'
}
$objects | Export-Csv -Path 'pwsh ansi.csv' -Encoding 1252
foreach ($c in 'de-DE', 'fr-FR', 'tr-TR') {
  [cultureinfo]::CurrentCulture = $c
  $objects | Export-Csv -Path "pwsh $c.csv" -UseCulture -Encoding utf8BOM
}
$objects | ConvertTo-Json | Set-Content -Path 'pwsh list.json' -Encoding unicode
$objects | ConvertTo-Json -Compress | Set-Content -Path 'pwsh compressed.json' -Encoding utf8BOM
$objects | Select-Object *, @{n = 'Groups'; e = { , @('a', 'b') } } | ConvertTo-Json -Depth 4 | Set-Content -Path 'pwsh deep.json'
`

// office lets LibreOffice make workbooks and tables, of columns that it was told to leave as text.
func (k kind) office(tb testing.TB) []sample {
	dir := tb.TempDir()
	columns := make([]string, len(k.rows[0]))
	for i := range columns {
		columns[i] = fmt.Sprintf("%d/2", i+1) // text
	}
	text := k.text(tb, ',', false)
	if err := os.WriteFile(filepath.Join(dir, "office.csv"), []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	in := "--infilter=CSV:44,34,76,1," + strings.Join(columns, "/")
	convert := func(out, pattern string) []sample {
		return run(tb, "LibreOffice", dir, pattern, nil, "soffice", "--headless", "-env:UserInstallation=file://"+dir+"/profile", in, "--convert-to", out, "--outdir", "out", "office.csv")
	}
	samples := convert("xlsx", "out/office.xlsx")
	for _, o := range []string{"59,34,76,1", "9,34,76,1", "44,34,65535,1", "59,34,1,1", "124,34,76,1"} { // delimiter, quotation mark, encoding
		next := convert("csv:Text - txt - csv (StarCalc):"+o, "out/office.csv")
		for i := range next {
			next[i].name += " " + o
		}
		samples = append(samples, next...)
	}
	return samples
}
