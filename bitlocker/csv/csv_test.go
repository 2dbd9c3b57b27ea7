package csv_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/unicode"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/csv"
	"github.com/fleetmend/fleetmend/internal/bounded"
)

const (
	id1  = "4C4B6D8A-1F2E-4D3C-9B8A-0123456789AB"
	id2  = "DEADBEEF-1F2E-4D3C-9B8A-0123456789AB"
	good = "111111-222222-333333-444444-555555-666666-000000-720885"
	bad  = "111111-222222-333343-444444-555555-666666-000000-720885"
)

func TestFormats(t *testing.T) {
	utf16, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String("KeyID\tRecoveryKey\r\n" + id1 + "\t" + good + "\r\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		want bitlocker.KeyRef
	}{
		"crowdstrike": {"KeyID,RecoveryKey\n" + id1 + "," + good + "\n", bitlocker.KeyRef{}},
		"utf-16 tab":  {utf16, bitlocker.KeyRef{}},
		"excel":       {"sep=;\r\nKeyID;RecoveryKey\r\n{" + strings.ToLower(id1) + "};" + strings.ReplaceAll(good, "-", "") + "\r\n", bitlocker.KeyRef{}},
		"ad": {"#TYPE Selected.Microsoft.ActiveDirectory.Management.ADObject\r\n\"Name\",\"DistinguishedName\",\"msFVE-RecoveryPassword\",\"whenCreated\"\r\n" +
			"\"2024-01-02T03:04:05-00:00{" + id1 + "}\",\"CN=2024-01-02T03:04:05-00:00{" + id1 + "},CN=PC-1,OU=LON,DC=fleet,DC=test\",\"" + good + "\",\"2024-01-02 03:04:05\"\r\n",
			bitlocker.KeyRef{Machine: bitlocker.Machine{DN: "CN=PC-1,OU=LON,DC=fleet,DC=test"}, Created: time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)}},
		"mbam": {"Computer Name,Domain Name,Drive Type,Recovery Key Id,Recovery Key,Last Update Time\nPC-1,fleet,Operating System Drive," + id1 + "," + good + ",13/2/2024 15:04\n",
			bitlocker.KeyRef{Machine: bitlocker.Machine{Name: "PC-1"}, Volume: bitlocker.VolumeOS, Created: time.Date(2024, 2, 13, 15, 4, 0, 0, time.UTC)}},
		"entra": {"Device name,Device ID,BitLocker key ID,BitLocker recovery key,Volume type,Created date time\nPC-1,A0B1," + id1 + "," + good + ",1,2024-01-02T03:04:05Z\n",
			bitlocker.KeyRef{Machine: bitlocker.Machine{Name: "PC-1", DeviceID: "A0B1"}, Volume: bitlocker.VolumeOS}},
	} {
		t.Run(name, func(t *testing.T) {
			s, report, err := csv.Read(strings.NewReader(c.text), csv.Options{Source: "csv:keys.csv"})
			if err != nil || report.Keys != 1 || len(report.BadRows) != 0 {
				t.Fatalf("%+v, %v", report, err)
			}
			got := s.Refs()[0]
			if string(got.ID) != id1 || got.Machine != c.want.Machine || got.Volume != c.want.Volume || !c.want.Created.IsZero() && !got.Created.Equal(c.want.Created) {
				t.Errorf("%+v", got)
			}
			p, err := s.Password(t.Context(), got)
			if err != nil || p.Reveal() != good {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestBadRowsAreNamed(t *testing.T) {
	text := strings.Join([]string{"Host,KeyID,RecoveryKey,Created", "PC-1," + id1 + "," + good, "PC-2," + id2 + "," + bad, "PC-3,12345," + good, "PC-4,," + good, "PC-5," + id2 + ",",
		"PC-6,\"" + id2, "PC-1," + id1 + "," + good, "PC-7," + id1 + "," + good + ",3/4/2024", "PC-8," + id2[:35] + "C," + good + ",soon"}, "\r\n")
	s, report, err := csv.Read(strings.NewReader(text), csv.Options{Source: "csv:x"})
	if err != nil || report.Rows != 9 || report.Keys != 4 || report.NoID != 1 || len(s.Refs()) != 6 || s.Refs()[2].ID != "UNKNOWN-PC-4" {
		t.Fatalf("%+v, %d, %v", report, len(s.Refs()), err)
	}
	if got := fmt.Sprint(report.BadRows); got != "[line 3: key "+id2+": recovery password: group 3 is mistyped (its check does not come out) "+
		"line 4: column \"KeyID\": key ID \"12345\": it has 5 hexadecimal digits, a whole one has 32 line 7: a quotation mark is opened and not closed]" {
		t.Errorf("%s", got)
	}
	for _, want := range []string{"line 6: no recovery password", "line 8: key " + id1 + " stands in the table already", "line 9: the date \"3/4/2024\" can be read with the day or the month first", "line 9: key " + id1 + " stands in the table with another machine", "line 10: the date \"soon\" is no time"} {
		if !strings.Contains(fmt.Sprint(report.Problems), want) {
			t.Errorf("%q is not in %v", want, report.Problems)
		}
	}
	var wrong *bitlocker.PasswordError
	if _, err := s.Password(t.Context(), s.Refs()[1]); !errors.As(err, &wrong) || wrong.Groups[0].Group != 3 {
		t.Errorf("%v", err)
	}
	if _, err := s.Password(t.Context(), s.Refs()[3]); !errors.Is(err, bitlocker.ErrNotStored) {
		t.Errorf("%v", err)
	}
}

// TestPasswordInTheWrongColumn keeps a password of a shifted row out of what is stored and said in clear.
func TestPasswordInTheWrongColumn(t *testing.T) {
	const header = "KeyID,Computer,FQDN,SerialNumber,DeviceID,DistinguishedName,ObjectGUID,Volume,VolumeID,Created,RecoveryKey\n"
	for _, said := range []string{good, bad, strings.ReplaceAll(good, "-", ""), strings.ReplaceAll(good, "-", "\u2013"), strings.ReplaceAll(good, "-", " "), "password " + good} {
		for column := 1; column < 10; column++ {
			cells := make([]string, 11)
			cells[0], cells[column], cells[10] = id1, said, "PC-1"
			s, report, err := csv.Read(strings.NewReader(header+strings.Join(cells, ",")+"\n"), csv.Options{})
			if err != nil || len(report.BadRows) != 1 || len(s.Refs()) != 1 {
				t.Fatalf("column %d: %+v, %v", column, report, err)
			}
			if text := fmt.Sprintf("%+v %+v", report, s.Refs()); strings.Contains(text, "444444") {
				t.Errorf("column %d: the password is in it: %s", column, text)
			}
			if n := len(report.Remarks); n != 1 || !strings.Contains(report.Remarks[0], "line 2: ") || !strings.Contains(report.Remarks[0], "recovery password") {
				t.Errorf("column %d: %q", column, report.Remarks)
			}
		}
	}
	// Names with many digits are names: an object of AD, a virtual machine's serial number.
	for field, value := range map[string]string{"dn": "CN=2024-01-02T03:04:05-00:00{44444444-1111-4111-9111-123456789012},CN=PC-1,DC=fleet", "serial": "1234-5678-9012-3456-7890-1234-56"} {
		s, _, err := csv.Read(strings.NewReader("KeyID,X,RecoveryKey\n"+id1+",\""+value+"\","+good+"\n"), csv.Options{Map: map[string]string{"X": field}})
		if err != nil || s.Refs()[0].Machine == (bitlocker.Machine{}) {
			t.Errorf("%s: %+v, %v", field, s.Refs(), err)
		}
	}
}

func TestNoHeader(t *testing.T) {
	for _, text := range []string{"", "Host,Model\nPC-1,X\n", id1 + "," + good + "\n", "a\x00b"} {
		_, report, err := csv.Read(strings.NewReader(text), csv.Options{})
		if err == nil || strings.Contains(fmt.Sprint(err, report), "111111") {
			t.Errorf("%q: %v, %+v", text, err, report)
		}
	}
	s, _, err := csv.Read(strings.NewReader("Kennung,Zahl\n"+id1+","+good+"\n"), csv.Options{Map: map[string]string{"Kennung": "key", "Zahl": "password"}})
	if err != nil || len(s.Refs()) != 1 {
		t.Errorf("%v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("KeyID,RecoveryKey\n" + id1 + "," + good + "\n"))
	f.Add([]byte("sep=;\nDN;Name\nCN={" + id1 + "},CN=X;y\n"))
	f.Add([]byte("\xff\xfeK\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		defer bounded.Input(t, len(data))()
		s, report, err := csv.Read(bytes.NewReader(data), csv.Options{Source: "csv:x"})
		if err != nil {
			return
		}
		n := 0
		seen := map[string]bool{}
		for _, r := range s.Refs() {
			if r.ID == "" || seen[r.SourceKey] {
				t.Fatalf("%+v", r)
			}
			seen[r.SourceKey] = true
			if _, err := s.Password(t.Context(), r); err == nil {
				n++
			}
		}
		if n != report.Keys {
			t.Fatalf("%d keys, reported %d", n, report.Keys)
		}
	})
}
