// Package csv takes recovery keys from tables: CrowdStrike's KeyID,RecoveryKey, exports of Active Directory, MBAM,
// Configuration Manager and the Entra portal, and what administrators made of them in Excel.
//
// [Read] gives a [Source] for the vault and a report of what it could not use; the vault's Sync and Fetch do the rest.
// Delimiter, encoding and the meaning of columns are guessed and reported. A bad row is named with its line and the rest
// is read. The package never repeats a password in a report or an error, and never writes one.
package csv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/table"
)

// columnNames are the headers that are understood. Case, spaces and punctuation do not matter. Earlier ones win where a
// table has several of one field.
var columnNames = map[string][]string{
	"key": {"KeyID", "RecoveryKeyID", "BitLockerKeyID", "RecoveryGuid", "msFVE-RecoveryGuid", "PasswordID", "RecoveryPasswordID", "KeyProtectorID", "ProtectorID",
		"BitLockerRecoveryKeyID", "Schlüssel-ID", "Wiederherstellungsschlüssel-ID", "ID"},
	"password": {"RecoveryPassword", "msFVE-RecoveryPassword", "RecoveryKey", "BitLockerRecoveryKey", "BitLockerKey", "BitLockerRecoveryPassword", "NumericalPassword",
		"Key", "Password", "Wiederherstellungsschlüssel", "Wiederherstellungskennwort"},
	"name": {"Computer", "ComputerName", "Hostname", "Host", "Machine", "MachineName", "Device", "DeviceName", "DisplayName", "DeviceDisplayName", "Rechnername",
		"Gerätename", "NetBIOSName", "PSComputerName", "Name"},
	"fqdn":     {"FQDN", "DNSHostName", "DNSName"},
	"serial":   {"Serial", "SerialNumber", "Seriennummer", "ServiceTag"},
	"device":   {"DeviceID", "AzureADDeviceID", "EntraDeviceID", "AADDeviceID", "ObjectGUID"},
	"dn":       {"DistinguishedName", "DN", "ComputerDN"},
	"created":  {"Created", "WhenCreated", "CreatedDateTime", "CreationDate", "LastUpdateTime", "BackupDate", "BackedUp", "BackupTime", "Date", "Erstellt"},
	"volume":   {"Volume", "VolumeType", "DriveType", "Drive", "VolumeTypeID", "Laufwerkstyp"},
	"volumeid": {"VolumeID", "VolumeGuid", "msFVE-VolumeGuid"},
}

var fieldOfHeader = func() map[string]string {
	m := map[string]string{}
	for field, headers := range columnNames {
		for _, h := range headers {
			m[plain(h)] = field
		}
	}
	return m
}()

func plain(header string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, header)
}

// Options say how to read.
type Options struct {
	Source string            // name of the source, "csv:keys.csv"
	Map    map[string]string // header -> field (key, password, name, fqdn, serial, device, dn, created, volume, volumeid), above the guesses; "-" leaves a column out
}

// Report says how a table was understood and what of it was not used. Lines count from 1, the header included.
type Report struct {
	Encoding  string            `json:"encoding"`
	Delimiter string            `json:"delimiter"`
	Columns   map[string]string `json:"columns"` // field -> header
	Ignored   []string          `json:"ignored,omitempty"`
	Rows      int               `json:"rows"` // rows with something in them, without the header
	Keys      int               `json:"keys"` // taken, with a password that can be right
	BadRows   []BadRow          `json:"bad_rows,omitempty"`
	Problems  []BadRow          `json:"problems,omitempty"` // rows that were used, with something left out
}

// BadRow is a row that was left out, or whose password was.
type BadRow struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

func (b BadRow) String() string { return fmt.Sprintf("line %d: %s", b.Line, b.Reason) }

// Source holds the keys of one table in memory. It is a [bitlocker.Source].
type Source struct {
	name string
	keys []key
	at   map[string]int // source key -> index
}

type key struct {
	ref      bitlocker.KeyRef
	password bitlocker.Password
	err      error // why there is none
}

// Name is the name from the options.
func (s *Source) Name() string { return s.name }

// Keys gives all keys; tables do not say what changed.
func (s *Source) Keys(ctx context.Context, _ time.Time, emit func(bitlocker.KeyRef) error) error {
	for _, k := range s.keys {
		if err := errors.Join(ctx.Err(), emit(k.ref)); err != nil {
			return err
		}
	}
	return nil
}

// Password gives the password of a row, a [*bitlocker.PasswordError] for one that cannot be right, or
// [bitlocker.ErrNotStored].
func (s *Source) Password(_ context.Context, ref bitlocker.KeyRef) (bitlocker.Password, error) {
	i, ok := s.at[ref.SourceKey]
	if !ok {
		return bitlocker.Password{}, bitlocker.ErrNotStored
	}
	return s.keys[i].password, s.keys[i].err
}

// Refs lists the references of all rows that were taken, in their order.
func (s *Source) Refs() []bitlocker.KeyRef {
	out := make([]bitlocker.KeyRef, len(s.keys))
	for i, k := range s.keys {
		out[i] = k.ref
	}
	return out
}

// Read reads a table with a header. An error means that nothing could be used: no text, or no column with key IDs. A row
// with a key ID and a mistyped password is taken without the password, so that the coverage report knows of it.
func Read(r io.Reader, o Options) (*Source, Report, error) {
	in, err := table.Open(r, func(h string) bool { return o.field(h) != "" })
	report := Report{Encoding: in.Encoding, Delimiter: string(in.Delimiter), Columns: map[string]string{}}
	if err != nil {
		return nil, report, fmt.Errorf("read keys: %w", err)
	}
	s := &Source{name: o.Source, at: map[string]int{}}
	if s.name == "" {
		s.name = "csv"
	}
	var columns map[string]int
	for row := range in.Rows() {
		if columns == nil {
			if row.Err == nil {
				columns, err = o.columns(row.Cells, &report)
			}
			if err = errors.Join(row.Err, err); err != nil {
				return nil, report, fmt.Errorf("read keys: header in line %d: %w", row.Line, err)
			}
			continue
		}
		report.Rows++
		if row.Err == nil {
			row.Err = s.take(row, columns, &report)
		}
		if row.Err != nil {
			report.BadRows = append(report.BadRows, BadRow{row.Line, row.Err.Error()})
		}
	}
	return s, report, nil
}

func (o Options) field(header string) string {
	for h, f := range o.Map {
		if plain(h) == plain(header) {
			return f
		}
	}
	return fieldOfHeader[plain(header)]
}

// columns finds for each field its place. A header that is itself a password, as in a table without header, is not
// repeated.
func (o Options) columns(headers []string, report *Report) (map[string]int, error) {
	rank := map[string]int{}
	at := map[string]int{}
	for i, h := range headers {
		field := o.field(h)
		if _, known := columnNames[field]; !known {
			if h = strings.TrimSpace(h); h != "" && len(h) < 40 && strings.IndexFunc(h, unicode.IsLetter) >= 0 {
				report.Ignored = append(report.Ignored, h)
			}
			continue
		}
		place := slices.IndexFunc(columnNames[field], func(n string) bool { return plain(n) == plain(h) })
		if _, taken := at[field]; !taken || place < rank[field] {
			at[field], rank[field] = i, place
			report.Columns[field] = h
		}
	}
	if _, ok := at["key"]; !ok {
		if _, ok := at["dn"]; !ok { // the DN of a recovery object holds the key ID
			return nil, hint.Wrap(errors.New("no column with key IDs is known by its name"),
				"the table needs a header such as KeyID,RecoveryKey; name other headers with --map HEADER=key")
		}
	}
	return at, nil
}

func (s *Source) take(row table.Row, columns map[string]int, report *Report) error {
	cell := func(field string) string {
		i, ok := columns[field]
		if !ok || i >= len(row.Cells) {
			return ""
		}
		return strings.TrimSpace(table.Unescape(row.Cells[i]))
	}
	problem := func(format string, args ...any) {
		report.Problems = append(report.Problems, BadRow{row.Line, fmt.Sprintf(format, args...)})
	}
	k := key{ref: bitlocker.KeyRef{Source: s.name, Machine: bitlocker.Machine{
		Name: cell("name"), FQDN: cell("fqdn"), Serial: cell("serial"), DeviceID: cell("device"), DN: cell("dn")}}}
	text := cell("key")
	if own, parent, ok := recoveryObject(k.ref.Machine.DN); ok {
		k.ref.Machine.DN = parent
		if text == "" {
			text = own
		}
	}
	if strings.Contains(k.ref.Machine.Name, "{") { // Get-ADObject: the Name of the recovery object, not of the computer
		if text == "" {
			_, text, _ = strings.Cut(k.ref.Machine.Name, "{")
		}
		k.ref.Machine.Name = ""
	}
	if text == "" {
		return errors.New("no key ID")
	}
	id, err := bitlocker.ParseKeyID(text)
	if err != nil {
		return err
	}
	k.ref.ID = id
	k.ref.Volume = volume(cell("volume"))
	if v := cell("volumeid"); v != "" {
		if guid, err := bitlocker.ParseKeyID(v); err == nil {
			k.ref.VolumeID = string(guid)
		} else {
			problem("the volume ID is no GUID and was left out")
		}
	}
	if c := cell("created"); c != "" {
		if k.ref.Created, err = parseTime(c); err != nil {
			problem("%v; it was left out", err)
		}
	}
	if p := cell("password"); p == "" {
		k.err = bitlocker.ErrNotStored
		problem("no recovery password for key %s", id.Short())
	} else if k.password, k.err = bitlocker.ParsePassword(p); k.err != nil {
		report.BadRows = append(report.BadRows, BadRow{row.Line, fmt.Sprintf("key %s: %v", id, k.err)})
	}
	s.add(k, row.Line, report)
	return nil
}

// add keeps rows of one key ID that differ, for nobody here can say which is right.
func (s *Source) add(k key, line int, report *Report) {
	k.ref.SourceKey = string(k.ref.ID)
	for n := 2; ; n++ {
		i, taken := s.at[k.ref.SourceKey]
		if !taken {
			break
		}
		if other := s.keys[i]; other.password.Equal(k.password) && strings.EqualFold(other.ref.Machine.Label(), k.ref.Machine.Label()) {
			report.Problems = append(report.Problems, BadRow{line, fmt.Sprintf("key %s stands in the table already; the first was taken", k.ref.ID)})
			return
		}
		k.ref.SourceKey = fmt.Sprintf("%s#%d", k.ref.ID, n)
	}
	if strings.Contains(k.ref.SourceKey, "#") {
		report.Problems = append(report.Problems, BadRow{line, fmt.Sprintf("key %s stands in the table with another machine or password; both are kept", k.ref.ID)})
	}
	s.at[k.ref.SourceKey] = len(s.keys)
	s.keys = append(s.keys, k)
	if k.err == nil {
		report.Keys++
	}
}

// recoveryObject splits the DN of an msFVE-RecoveryInformation, CN=<time>{<GUID>},<DN of the computer>.
func recoveryObject(dn string) (id, parent string, ok bool) {
	from, to := strings.Index(dn, "{"), strings.Index(dn, "},")
	if len(dn) < 3 || !strings.EqualFold(dn[:3], "CN=") || from < 0 || to < from {
		return "", "", false
	}
	return dn[from : to+1], dn[to+2:], true
}

// volume knows the words of the exports: Graph's names and numbers, MBAM's, a drive letter.
func volume(s string) bitlocker.Volume {
	switch w := plain(s); {
	case w == "1", strings.Contains(w, "operatingsystem"), strings.HasPrefix(w, "os"), w == "c", strings.Contains(w, "betriebssystem"):
		return bitlocker.VolumeOS
	case w == "2", strings.Contains(w, "fixed"), strings.Contains(w, "data"):
		return bitlocker.VolumeFixed
	case w == "3", strings.Contains(w, "removable"):
		return bitlocker.VolumeRemovable
	}
	return bitlocker.VolumeUnknown
}

// parseTime reads what cannot be misread. 03/04/2026 is two dates, and taken for none.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02", "20060102150405.0Z",
		"2.1.2006 15:04:05", "2.1.2006 15:04", "2.1.2006"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	var found []time.Time
	for _, date := range []string{"1/2/2006", "2/1/2006"} {
		for _, clock := range []string{"", " 3:04:05 PM", " 3:04 PM", " 15:04:05", " 15:04"} {
			if t, err := time.Parse(date+clock, s); err == nil {
				found = append(found, t)
			}
		}
	}
	switch {
	case len(found) == 0:
		return time.Time{}, errors.New("the date is in no known form")
	case !found[0].Equal(found[len(found)-1]):
		return time.Time{}, errors.New("the date can be read with the day or the month first")
	}
	return found[0].UTC(), nil
}
