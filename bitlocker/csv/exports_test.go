package csv_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/csv"
	"github.com/fleetmend/fleetmend/internal/table"
)

const good2 = "081532-132044-122364-520564-243782-444268-362725-305965"

func read(t *testing.T, text string, o csv.Options) (*csv.Source, csv.Report) {
	t.Helper()
	if o.Source == "" {
		o.Source = "csv:keys.csv"
	}
	s, report, err := csv.Read(strings.NewReader(text), o)
	if err != nil {
		t.Fatalf("%v of %q", err, text)
	}
	return s, report
}

// wantKeys compares what was taken with "ID machine password" of each key.
func wantKeys(t *testing.T, s *csv.Source, want ...string) {
	t.Helper()
	var got []string
	for _, ref := range s.Refs() {
		p, err := s.Password(t.Context(), ref)
		if err != nil {
			t.Errorf("%s: %v", ref.ID, err)
		}
		got = append(got, fmt.Sprintf("%s %s %s", ref.ID, ref.Machine.Label(), p.Reveal()))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("taken:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Get-ADObject | Export-Csv writes the type of a byte array in place of the ID (case 10); DN and name hold it. Without them
// the name alone does, and the GUID of the recovery object is nobody's (case 11).
func TestADObjects(t *testing.T) {
	const dn1 = `"CN=2024-07-19T04:09:00-00:00{` + id1 + `},CN=PC-1,OU=LON,DC=fleet,DC=test"`
	const name1 = `"2024-07-19T04:09:00-00:00{` + id1 + `}"`
	for what, text := range map[string]string{
		"type for ID": `"DistinguishedName","msFVE-RecoveryGuid","msFVE-RecoveryPassword","Name","ObjectClass","ObjectGUID","whenCreated"` + "\n" +
			dn1 + `,"System.Byte[]","` + good + `",` + name1 + `,"msFVE-RecoveryInformation","aaaaaaaa-0000-4000-8000-000000000001","7/19/2024 4:09:00 AM"` + "\n",
		"no ID": `"DistinguishedName","msFVE-RecoveryPassword","Name","ObjectClass","ObjectGUID","whenCreated"` + "\n" +
			dn1 + `,"` + good + `",` + name1 + `,"msFVE-RecoveryInformation","aaaaaaaa-0000-4000-8000-000000000001","7/19/2024 4:09:00 AM"` + "\n",
		"JSON": `[{"DistinguishedName":` + dn1 + `,"msFVE-RecoveryGuid":[138,109,75,76,46,31,60,77,155,138,1,35,69,103,137,171],"msFVE-RecoveryPassword":"` + good + `","Name":` + name1 +
			`,"ObjectClass":"msFVE-RecoveryInformation","ObjectGUID":"aaaaaaaa-0000-4000-8000-000000000001","whenCreated":"\/Date(1721362140000)\/"}]`,
	} {
		s, report := read(t, text, csv.Options{})
		wantKeys(t, s, id1+" CN=PC-1,OU=LON,DC=fleet,DC=test "+good)
		ref := s.Refs()[0]
		if ref.Machine.GUID != "" || ref.Machine.DeviceID != "" || !ref.Created.Equal(time.Date(2024, 7, 19, 4, 9, 0, 0, time.UTC)) {
			t.Errorf("%s: %+v", what, ref)
		}
		if len(report.BadRows)+len(report.Ignored) > 0 {
			t.Errorf("%s: %+v", what, report)
		}
	}
	s, report := read(t, `"msFVE-RecoveryGuid","msFVE-RecoveryPassword","Name"`+"\n"+`"System.Byte[]","`+good+`",`+name1+"\n", csv.Options{})
	wantKeys(t, s, id1+" (unknown machine) "+good)
	if len(report.Remarks) != 1 || !strings.Contains(report.Remarks[0], `line 2: column "msFVE-RecoveryGuid" holds the name of a type (System.Byte[])`) {
		t.Errorf("%q", report.Remarks)
	}
}

// The report of MBAM (case 13): escrowed when it says "Last Update", and a date that can be misread is left out and said.
func TestMBAM(t *testing.T) {
	text := `"Computer Name","Domain Name","Computer Type","Operating System","Recovery Key Id","Recovery Key","Volume Type","Last Update","Recovery Key Disclosed"
"PC-1","CORP","Portable","Windows 10 Enterprise","` + id1 + `","` + good + `","Operating System Drive","7/19/2024 4:09:00 AM","0"
"CORP\PC-2$","CORP","Portable","Windows 10 Enterprise","` + id2 + `","` + good2 + `","Fixed Data Drive","19/07/2024 04:09","1"
`
	s, report := read(t, text, csv.Options{})
	wantKeys(t, s, id1+" PC-1 "+good, id2+" PC-2 "+good2)
	for _, ref := range s.Refs() {
		if !ref.Created.Equal(time.Date(2024, 7, 19, 4, 9, 0, 0, time.UTC)) {
			t.Errorf("%+v", ref)
		}
	}
	if len(report.Ignored)+len(report.Remarks)+len(report.Problems) > 0 || !strings.Contains(report.ReadAs, "dates with the day first and with the month first") {
		t.Errorf("%+v", report)
	}
	ambiguous := strings.Replace(text, "7/19/2024 4:09:00 AM", "3/4/2024", 1)
	if s, report = read(t, ambiguous, csv.Options{}); !s.Refs()[0].Created.IsZero() || len(report.Problems) != 1 || !strings.Contains(report.Problems[0].String(), "line 2: the date \"3/4/2024\" can be read") {
		t.Errorf("%+v", report)
	}
	if s, _ = read(t, ambiguous, csv.Options{DateOrder: table.DayFirst}); s.Refs()[0].Created.Month() != time.April {
		t.Errorf("%+v", s.Refs()[0])
	}
}

// Keys with a host and no ID (case 08) are kept by host; a second one of the same host beside the first.
func TestKeysWithoutID(t *testing.T) {
	s, report := read(t, "hostname,recovery_key\nPC-1,"+good+"\nCORP\\PC-2,"+good2+"\nPC-1,"+good2+"\nPC-1,"+good+"\n,"+good+"\nPC-3,"+bad+"\n", csv.Options{})
	wantKeys(t, s, "UNKNOWN-PC-1 PC-1 "+good, "UNKNOWN-PC-2 PC-2 "+good2, "UNKNOWN-PC-1#2 PC-1 "+good2)
	if report.NoID != 3 || report.Keys != 3 || len(report.BadRows) != 2 || !strings.Contains(fmt.Sprint(report.BadRows), "line 6: no key ID, and no machine") ||
		!strings.Contains(fmt.Sprint(report.BadRows), "line 7: of PC-3: recovery password: group 3") {
		t.Errorf("%+v", report)
	}
	if id := s.Refs()[0].ID; id.Known() || id.Prefix().Matches(bitlocker.KeyID(id1)) || !bitlocker.KeyID(id1).Known() {
		t.Errorf("%s", id)
	}
	// Fleet's own export has the number of the host as id.
	s, _ = read(t, "id,hostname,hardware_serial,recovery_key\n12,PC-1,5CG1,"+good+"\n", csv.Options{})
	wantKeys(t, s, "UNKNOWN-PC-1 PC-1 "+good)
	if _, report = read(t, "RecoveryKey\n"+good+"\n", csv.Options{}); report.Keys != 0 || len(report.BadRows) != 1 || strings.Contains(fmt.Sprint(report), good) {
		t.Errorf("a key of nobody: %+v", report)
	}
	if _, report = read(t, "Host,RecoveryKey\n"+strings.Repeat("x", 60000)+","+good+"\n", csv.Options{}); report.Keys != 0 || len(report.BadRows) != 1 || len(report.BadRows[0].Reason) > 200 {
		t.Errorf("a name without end: %d keys", report.Keys)
	}
	if _, _, err := csv.Read(strings.NewReader("RecoveryKey,Note\n"+good+",x\n"), csv.Options{}); err == nil || strings.Contains(err.Error(), good) {
		t.Errorf("keys of nobody: %v", err)
	}
}

// saved is the file that Windows writes, here in several languages; the digits are the same in all.
func saved(words [4]string, id, password string) string {
	return words[0] + " \r\n\r\n" + words[1] + "\r\n\r\n" + words[2] + "\r\n\r\n\t" + id + "\r\n\r\n" + words[3] + "\r\n\r\n\t" + password + "\r\n"
}

var languages = map[string][4]string{
	"en": {"BitLocker Drive Encryption recovery key", "To verify that this is the correct recovery key, compare the start of the following identifier with the identifier value displayed on your PC.", "Identifier:", "Recovery Key:"},
	"de": {"BitLocker-Laufwerkverschlüsselung - Wiederherstellungsschlüssel", "Um zu überprüfen, ob es sich um den richtigen Schlüssel handelt, vergleichen Sie den Anfang der Kennung.", "Bezeichner:", "Wiederherstellungsschlüssel:"},
	"fr": {"Clé de récupération de chiffrement de lecteur BitLocker", "Pour vérifier qu’il s’agit de la clé correcte, comparez le début de l’identificateur.", "Identificateur :", "Clé de récupération :"},
	"ja": {"BitLocker ドライブ暗号化の回復キー", "これが正しい回復キーであることを確認するには、次の ID の先頭と比較してください。", "ID:", "回復キー:"},
	"ru": {"Ключ восстановления шифрования диска BitLocker", "Чтобы проверить правильность ключа восстановления, сравните начало идентификатора.", "Идентификатор:", "Ключ восстановления:"},
	"ar": {"مفتاح الاسترداد لتشفير محرك الأقراص BitLocker", "للتحقق من أن هذا هو مفتاح الاسترداد الصحيح", "المعرف:", "مفتاح الاسترداد:"},
}

func inUTF16(t *testing.T, text string) string {
	t.Helper()
	out, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSavedKeyFiles(t *testing.T) {
	for language, words := range languages {
		for _, text := range []string{saved(words, id1, good), inUTF16(t, saved(words, id1, good)), "\ufeff" + saved(words, "{"+strings.ToLower(id1)+"}", good)} {
			s, report := read(t, text, csv.Options{File: "BitLocker Recovery Key " + id1 + ".TXT"})
			wantKeys(t, s, id1+" (unknown machine) "+good)
			if len(report.BadRows)+len(report.Problems) > 0 || !strings.Contains(report.ReadAs, "text with recovery passwords") {
				t.Errorf("%s: %+v", language, report)
			}
		}
	}
	// Windows 7 wrote half of the ID first.
	s, _ := read(t, "BitLocker Drive Encryption Recovery Key\r\n\r\nRecovery key identification: "+id1[:16]+"\r\n\r\nFull recovery key identification: "+id1+"\r\n\r\nBitLocker Recovery Key:\r\n"+good+"\r\n", csv.Options{})
	wantKeys(t, s, id1+" (unknown machine) "+good)
	// The name of the file is not the name in it; a mistyped digit is told by its group, and the ID stays known.
	s, report := read(t, saved(languages["en"], id1, good), csv.Options{File: "BitLocker Recovery Key " + id2 + ".TXT"})
	if wantKeys(t, s, id1+" (unknown machine) "+good); len(report.Problems) != 1 || !strings.Contains(report.Problems[0].Reason, "the file is called after key DEADBEEF") {
		t.Errorf("%+v", report)
	}
	_, report = read(t, saved(languages["en"], id1, bad), csv.Options{})
	if len(report.BadRows) != 1 || !strings.Contains(report.BadRows[0].Reason, "group 3 is mistyped") || strings.Contains(fmt.Sprint(report), bad) {
		t.Errorf("%+v", report)
	}
	_, report = read(t, saved(languages["en"], id1, good[:len(good)-1]), csv.Options{})
	if len(report.BadRows) != 1 {
		t.Errorf("a digit is missing: %+v", report)
	}
}

const dumpEN = `BitLocker Drive Encryption: Configuration Tool version 10.0.22621
Copyright (C) 2013 Microsoft Corporation. All rights reserved.

Computer Name: PC-1

Volume C: [OSDisk]
All Key Protectors

    TPM:
      ID: {11111111-2222-4333-8444-555555555555}
      PCR Validation Profile:
        7, 11
        (Uses Secure Boot for integrity validation)

    Numerical Password:
      ID: {` + id1 + `}
      Password:
        ` + good + `

Volume D: [Data]
All Key Protectors

    External Key:
      ID: {66666666-2222-4333-8444-555555555555}
      External Key File Name:
        66666666-2222-4333-8444-555555555555.BEK
      Automatic unlock enabled.

    Numerical Password:
      ID: {` + id2 + `}
      Password:
        ` + good2 + `
`

const dumpDE = `BitLocker-Laufwerkverschlüsselung: Konfigurationstool, Version 10.0.22621
Copyright (C) 2013 Microsoft Corporation. Alle Rechte vorbehalten.

Volume "C:" [Windows]
Alle Schlüsselschutzvorrichtungen

    Numerisches Kennwort:
      ID: {` + id1 + `}
      Kennwort:
        ` + good + `

    TPM:
      ID: {11111111-2222-4333-8444-555555555555}
      PCR-Validierungsprofil:
        7, 11
`

func TestManageBDE(t *testing.T) {
	s, report := read(t, strings.ReplaceAll(dumpEN, "\n", "\r\n"), csv.Options{})
	wantKeys(t, s, id1+" PC-1 "+good, id2+" PC-1 "+good2)
	if s.Refs()[0].Volume != bitlocker.VolumeOS || report.Rows != 2 {
		t.Errorf("%+v, %+v", s.Refs()[0], report)
	}
	oem, err := charmap.CodePage850.NewEncoder().String(dumpDE)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{dumpDE, inUTF16(t, dumpDE), oem} {
		s, _ := read(t, text, csv.Options{})
		wantKeys(t, s, id1+" (unknown machine) "+good)
		if s.Refs()[0].Volume != bitlocker.VolumeOS {
			t.Errorf("%+v", s.Refs()[0])
		}
	}
}

// An ID belongs to the one password behind it, and a name of a file that was named alone to nobody.
func TestTextsDoNotMixKeys(t *testing.T) {
	s, report := read(t, "Volume C: [OS]\n  ID: {"+id1+"}\n  Password:\n    "+good+"\n  Password:\n    "+good2+"\nVolume D: [x]\n  ID: {"+id2+"}\nVolume E: [y]\n  Password:\n    "+good2+"\n",
		csv.Options{File: "backup-2024.txt"})
	wantKeys(t, s, id1+" (unknown machine) "+good)
	if len(report.BadRows) != 2 {
		t.Errorf("%+v", report)
	}
	_, report = read(t, "Host,RecoveryKey\nPC-1,1.93722E+47\n", csv.Options{})
	if len(report.BadRows) != 1 || !strings.Contains(report.BadRows[0].Reason, "Excel rounded") {
		t.Errorf("%+v", report)
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	n := 0
	for _, words := range languages {
		for range 50 {
			id := fmt.Sprintf("%08X-1F2E-4D3C-9B8A-0123456789AB", n+1)
			put("BitLocker Recovery Key "+id+".TXT", inUTF16(t, saved(words, id, good)))
			ids = append(ids, id)
			n++
		}
	}
	put("PC-77/BitLocker Recovery Key "+id1+".TXT", inUTF16(t, saved(languages["de"], id1, good)))
	put("PC-78_C.txt", dumpDE[:strings.Index(dumpDE, "ID:")]+"Kennwort:\n  "+good2+"\n")
	put("more/keys.csv", "KeyID,RecoveryKey\n"+id2+","+good2+"\n12,"+good+"\n")
	put("readme.txt", "These are our keys.\n")
	put("picture.png", "\x89PNG")
	put("half.txt", "\xff\xfea")
	outside := filepath.Join(t.TempDir(), "outside.txt")
	if err := os.WriteFile(outside, []byte(saved(languages["en"], id2[:35]+"C", good)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link.txt")); err != nil {
		t.Log("no links here:", err)
	}
	s, report, err := csv.ReadFolder(t.Context(), dir, csv.Options{Source: "csv:keys"})
	if err != nil || report.Keys != n+3 || report.Files != n+5 || report.NoID != 1 {
		t.Fatalf("%d keys of %d, %+v, %v", report.Keys, n, report, err)
	}
	known := map[string]string{}
	for _, ref := range s.Refs() {
		known[string(ref.ID)] = ref.Machine.Label()
	}
	for _, id := range ids {
		if known[id] != "(unknown machine)" {
			t.Errorf("%s: %q", id, known[id])
		}
	}
	if known[id1] != "PC-77" || known["UNKNOWN-PC-78"] != "PC-78" || known[id2] != "(unknown machine)" {
		t.Errorf("%v", known)
	}
	said := fmt.Sprint(report.BadRows)
	for _, want := range []string{"readme.txt: it holds no", "half.txt: it is cut off", filepath.FromSlash("more/keys.csv") + ": line 3: column \"KeyID\": key ID \"12\""} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in %s", want, said)
		}
	}
	if len(report.BadRows) != 3 || !strings.Contains(report.ReadAs, "305 files") {
		t.Errorf("%q, %s", said, report.ReadAs)
	}
	if _, _, err := csv.ReadFolder(t.Context(), t.TempDir(), csv.Options{}); err == nil {
		t.Error("an empty folder was read")
	}
}
