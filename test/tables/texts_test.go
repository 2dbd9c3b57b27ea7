package tables

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	keycsv "github.com/fleetmend/fleetmend/bitlocker/csv"
	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/inventory/csv"
)

// What Windows saves and manage-bde prints, in words of several languages and the code pages of their consoles. Only the
// digits matter, and they are the same in all.
var texts = []struct {
	language, pages string
	words           [3]string // what it is, the ID, the password
}{
	{"en", "CP437 WINDOWS-1252", [3]string{"BitLocker Drive Encryption recovery key", "Identifier:", "Recovery Key:"}},
	{"de", "CP850 WINDOWS-1252", [3]string{"BitLocker-Laufwerkverschlüsselung", "Bezeichner:", "Wiederherstellungsschlüssel:"}},
	{"fr", "CP850 WINDOWS-1252", [3]string{"Clé de récupération BitLocker", "Identificateur :", "Clé de récupération :"}},
	{"cs", "CP852 WINDOWS-1250", [3]string{"Obnovovací klíč nástroje BitLocker", "Identifikátor:", "Obnovovací klíč:"}},
	{"ru", "CP866 WINDOWS-1251", [3]string{"Ключ восстановления BitLocker", "Идентификатор:", "Ключ восстановления:"}},
	{"tr", "CP857 WINDOWS-1254", [3]string{"BitLocker kurtarma anahtarı", "Tanımlayıcı:", "Kurtarma Anahtarı:"}},
	{"ja", "CP932 SHIFT_JIS", [3]string{"BitLocker ドライブ暗号化の回復キー", "識別子:", "回復キー:"}},
	{"zh", "GBK BIG5", [3]string{"BitLocker 恢復", "標識:", "恢復:"}},
	{"ar", "CP864 WINDOWS-1256", [3]string{"مفتاح الاسترداد", "المعرف:", "مفتاح الاسترداد:"}},
}

// textCorpus are the texts in UTF-8 and UTF-16, and as iconv writes them for the console of their language.
func textCorpus(tb testing.TB) []sample {
	var out []sample
	dir := tb.TempDir()
	for _, t := range texts {
		var all strings.Builder
		fmt.Fprintf(&all, "%s\r\n\r\n", t.words[0])
		for i, row := range keys.rows[1:] {
			fmt.Fprintf(&all, "Volume %c: [%s]\r\n\r\n  %s\r\n    {%s}\r\n\r\n  %s\r\n    %s\r\n\r\n", 'C'+rune(i), "OS", t.words[1], row[1], t.words[2], row[2])
		}
		out = append(out, sample{by: own, name: t.language + " utf-8", data: []byte(all.String())}, sample{by: own, name: t.language + " utf-8 with mark", data: []byte("\ufeff" + all.String())})
		for _, page := range append(strings.Fields(t.pages), "UTF-16") {
			name := t.language + " " + page + ".txt"
			script := "command -v iconv >/dev/null || exit 0; iconv -l | grep -qw '" + page + "' && iconv -f UTF-8 -t " + page + "//TRANSLIT > '" + name + "' || touch '" + name + "'"
			for _, s := range run(tb, "iconv", dir, name, []byte(all.String()), "sh", "-c", script) {
				if len(s.data) > 0 {
					out = append(out, s)
				}
			}
		}
	}
	return out
}

func TestTexts(t *testing.T) {
	samples := textCorpus(t)
	told(t, samples, "iconv")
	for _, s := range samples {
		source, report, err := keycsv.Read(bytes.NewReader(s.data), keycsv.Options{Source: "csv:x"})
		if err != nil || report.Keys != 3 || len(report.BadRows)+len(report.Problems) > 0 {
			t.Errorf("%s, %s: %+v, %v", s.by, s.name, report, err)
			continue
		}
		for i, ref := range source.Refs() {
			want := keys.rows[i+1]
			if p, err := source.Password(t.Context(), ref); err != nil || string(ref.ID) != want[1] || p.Reveal() != want[2] {
				t.Errorf("%s, %s: %+v, %v; want %s", s.by, s.name, ref, err, want[1])
			}
		}
	}
}

// A table that LibreOffice opened and saved as it guesses: dates stay the dates they were, long numbers keep their digits.
// (Zeros in front are lost on the way; nobody can know.)
func TestTableThatWasOpenedAndSaved(t *testing.T) {
	if os.Getenv("FLEETMEND_LONG") == "" {
		t.Skip("LibreOffice is for the long tests")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "opened.csv"), []byte(machines.text(t, ',', false)), 0o600); err != nil {
		t.Fatal(err)
	}
	var samples []sample
	for _, to := range []string{"xlsx", "csv:Text - txt - csv (StarCalc):44,34,76,1"} {
		ext, _, _ := strings.Cut(to, ":")
		samples = append(samples, run(t, "LibreOffice", dir, "out/opened."+ext, nil, "soffice", "--headless", "-env:UserInstallation=file://"+dir+"/profile", "--convert-to", to, "--outdir", "out", "opened.csv")...)
	}
	for _, s := range samples {
		records, report, err := csv.Read(bytes.NewReader(s.data), csv.Options{Source: "csv:x", SeenAt: time.Unix(1, 0)})
		if err != nil || len(records) != 3 {
			t.Fatalf("%s: %d machines, %+v, %v", s.name, len(records), report, err)
		}
		for i, r := range records {
			want := machines.rows[i+1]
			if got := strings.NewReplacer("T", " ", "Z", "").Replace(r.Fields["last_seen"]); got != want[5] {
				t.Errorf("%s (%s): seen %q, want %q", s.name, report.ReadAs, got, want[5])
			}
		}
		if got := records[1].Fields["serial"]; got != "123456789012" {
			t.Errorf("%s: serial %q", s.name, got)
		}
	}
}

func FuzzTexts(f *testing.F) {
	if !worker() {
		for _, s := range textCorpus(f) {
			f.Add(s.data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		defer bounded.Input(t, len(data))()
		_, report, err := keycsv.Read(bytes.NewReader(data), keycsv.Options{Source: "csv:x"})
		if err == nil && strings.Contains(fmt.Sprintf("%+v", report), "193721-090981-367752") {
			t.Fatal("a report repeats a password")
		}
	})
}
