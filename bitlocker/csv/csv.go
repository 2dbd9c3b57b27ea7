// Package csv takes recovery keys from files: tables (CrowdStrike's KeyID,RecoveryKey, exports of Active Directory, MBAM,
// Configuration Manager, Entra and Fleet, and what administrators made of them in Excel), JSON of the same, and texts
// (the files that Windows saves a recovery key in, and what manage-bde prints, in any language).
//
// [Read] gives a [Source] for the vault from one file, [ReadFolder] from thousands, both with a report of what they could
// not use; the vault's Sync and Fetch do the rest. Encoding, delimiter and the meaning of columns are found out and
// reported, or told. A bad row is named with its line and the rest is read. A key without a key ID is kept under its
// machine's name, see [bitlocker.UnknownID]. The package never repeats a password in a report or an error, and never
// writes one.
package csv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/table"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// Options say how to read.
type Options struct {
	Source    string            // name of the source, "csv:keys.csv"
	File      string            // name of the file or its path below a folder; a text may be a key of the machine it is called after
	Map       map[string]string // header -> field (key, password, name, fqdn, serial, device, guid, dn, created, volume, volumeid), above the guesses; "-" leaves a column out
	Encoding  string            // one of [table.Encodings]; empty: found out
	Delimiter rune              // 0: found out
	DateOrder table.Order       // of dates such as 3/4/2026
}

// Report says how a table was understood and what of it was not used. Lines count from 1, the header included.
type Report struct {
	ReadAs    string            `json:"read_as"` // form, encoding, delimiter and order of dates in one line
	Encoding  string            `json:"encoding"`
	Delimiter string            `json:"delimiter,omitempty"`
	Columns   map[string]string `json:"columns,omitempty"` // field -> header
	Ignored   []string          `json:"ignored,omitempty"`
	Files     int               `json:"files,omitempty"` // of a folder
	Rows      int               `json:"rows"`            // rows with something in them, without the header
	Keys      int               `json:"keys"`            // taken, with a password that can be right
	NoID      int               `json:"no_id,omitempty"` // of them, without a key ID
	BadRows   []BadRow          `json:"bad_rows,omitempty"`
	Problems  []BadRow          `json:"problems,omitempty"` // rows that were used, with something left out
	Remarks   []string          `json:"remarks,omitempty"`  // on cells, each with its lines
}

// BadRow is a row that was left out, or whose password was.
type BadRow struct {
	File    string `json:"file,omitempty"`    // below the folder
	Line    int    `json:"line,omitempty"`    // 0 for a whole file
	Machine string `json:"machine,omitempty"` // whose key it is, where that could be read
	Reason  string `json:"reason"`
}

func (b BadRow) String() string {
	switch {
	case b.Line == 0:
		return b.Reason
	case b.File == "":
		return fmt.Sprintf("line %d: %s", b.Line, b.Reason)
	}
	return fmt.Sprintf("%s: line %d: %s", b.File, b.Line, b.Reason)
}

// Source holds the keys of one table in memory. It is a [bitlocker.Source].
type Source struct {
	name string
	keys []*key         // each by itself, for a long list that grows is copied again and again
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

// maxLabel bounds the name of a machine; a DNS name has at most 255 characters, a DN is longer.
const maxLabel = 1024

// maxTable bounds a file of keys; 100,000 keys are some 20 MB.
const maxTable = 512 << 20

// Read reads a table with a header, or a text with recovery passwords. An error means that nothing could be used: no
// text, or no column with key IDs or machines. A row with a key ID and a mistyped password is taken without the password,
// so that the coverage report knows of it.
func Read(r io.Reader, o Options) (*Source, Report, error) {
	data, err := textfile.ReadAll(r, maxTable)
	if err != nil {
		return nil, Report{}, fmt.Errorf("read keys: %w", err)
	}
	f := newReading(o)
	if err := f.read(data); err != nil {
		return nil, f.report, fmt.Errorf("read keys: %w", err)
	}
	f.report.Remarks = f.findings.List()
	return f.source, f.report, nil
}

// reading takes in one file, or several one after the other.
type reading struct {
	o        Options
	source   *Source
	report   Report
	dates    table.Dates
	findings table.Findings
	headers  []string
	at       places
	label    string // the machine of the row at hand
}

func newReading(o Options) *reading {
	s := &Source{name: o.Source, at: map[string]int{}}
	if s.name == "" {
		s.name = "csv"
	}
	return &reading{o: o, source: s, dates: table.Dates{Order: o.DateOrder}, report: Report{Columns: map[string]string{}}}
}

// read takes in a file, whichever form it has.
func (f *reading) read(data []byte) error {
	if text, _ := f.asText(head(data)); text != "" && isDump(text) { // a table is not decoded twice for it
		text, encoding := f.asText(data)
		f.report.Encoding, f.report.ReadAs = encoding, "text with recovery passwords in "+encoding
		return f.dump(text)
	}
	in, err := table.Open(bytes.NewBuffer(data), table.Options{Encoding: f.o.Encoding, Delimiter: f.o.Delimiter,
		Known: func(h string) bool { return f.o.field(h) != "" }})
	f.report.Encoding = in.Encoding
	if err != nil {
		return err
	}
	if in.Delimiter != 0 {
		f.report.Delimiter = string(in.Delimiter)
	}
	f.headers, f.at = nil, nil
	for row := range in.Rows() {
		if f.at == nil {
			if err = row.Err; err == nil {
				f.headers = row.Cells
				f.at, err = f.o.columns(row.Cells, &f.report)
			}
			if err != nil {
				return fmt.Errorf("header in line %d: %w", row.Line, err)
			}
			continue
		}
		f.report.Rows++
		f.label = ""
		if row.Err == nil {
			row.Err = f.take(row)
		}
		if row.Err != nil {
			f.bad(row.Line, f.label, row.Err.Error())
		}
	}
	f.report.ReadAs = in.ReadAs()
	if dates := f.dates.Said(); dates != "" {
		f.report.ReadAs += ", " + dates
	}
	return nil
}

// head is the beginning of a file up to the end of a line, more than decides whether it is a table.
func head(data []byte) []byte {
	const most = 1 << 20
	if len(data) <= most {
		return data
	}
	end := bytes.LastIndexByte(data[:most], '\n') + 1
	if end%2 == 1 && end < len(data) && data[end] == 0 { // the second half of it, in UTF-16
		end++
	}
	if end == 0 {
		end = most
	}
	return data[:end]
}

func (f *reading) bad(line int, machine, reason string) {
	f.report.BadRows = append(f.report.BadRows, BadRow{f.inFolder(), line, machine, reason})
}

func (f *reading) problem(line int, format string, args ...any) {
	f.report.Problems = append(f.report.Problems, BadRow{f.inFolder(), line, "", fmt.Sprintf(format, args...)})
}

// inFolder is the file where there are several.
func (f *reading) inFolder() string {
	if f.report.Files == 0 {
		return ""
	}
	return f.o.File
}

// cell gives what the columns of a field say: the first that says something and fits.
func (f *reading) cell(row table.Row, field string, fits func(string) bool) string {
	for _, i := range f.at[field] {
		if i >= len(row.Cells) {
			continue
		}
		value, damage := table.Value(row.Cells[i])
		if damage == "" && field != "password" {
			damage = table.Rounded(value)
		}
		if damage == "" && field != "password" && field != "key" {
			damage = table.Misplaced(value)
		}
		if damage != "" {
			f.findings.Add(row.Line, strings.TrimSpace(f.headers[i]), "holds "+string(damage))
			continue
		}
		if value != "" && (fits == nil || fits(value)) {
			return value
		}
	}
	return ""
}

func (f *reading) take(row table.Row) error {
	anything := func(string) bool { return true }
	k := key{ref: bitlocker.KeyRef{Source: f.source.name, Machine: bitlocker.Machine{Serial: f.cell(row, "serial", nil),
		DeviceID: f.cell(row, "device", nil), GUID: f.cell(row, "guid", nil), DN: f.cell(row, "dn", nil), FQDN: f.cell(row, "fqdn", nil)}}}
	m := &k.ref.Machine
	m.Name, m.FQDN = hostName(f.cell(row, "name", func(v string) bool { return !strings.Contains(v, "{") }), m.FQDN)
	f.label = m.Name
	object := f.cell(row, "name", func(v string) bool { return strings.Contains(v, "{") }) // Get-ADObject: the recovery object's name, not the computer's
	own, parent, isObject := recoveryObject(m.DN)
	if isObject {
		m.DN = parent
	}
	if isObject || object != "" { // ObjectGUID is that of the recovery object
		m.GUID = ""
	}
	text := f.cell(row, "key", nil)
	id, err := bitlocker.ParseKeyID(text)
	if err != nil {
		_, inName, _ := strings.Cut(object, "{")
		for _, other := range []string{own, "{" + inName} {
			if found, wrong := bitlocker.ParseKeyID(other); wrong == nil {
				id, err = found, nil
				break
			}
		}
	}
	if err != nil && text != "" && !f.counts(row, text) {
		return fmt.Errorf("column %q: %w", f.report.Columns["key"], err)
	}
	if n := len(m.Label()); n > maxLabel {
		return fmt.Errorf("the name of the machine has %d characters, at most %d can be", n, maxLabel)
	}
	k.ref.ID = id
	k.ref.Volume = volume(f.cell(row, "volume", anything))
	if v := f.cell(row, "volumeid", nil); v != "" {
		if guid, err := bitlocker.ParseKeyID(v); err == nil {
			k.ref.VolumeID = string(guid)
		} else {
			f.problem(row.Line, "the volume ID is no GUID and was left out")
		}
	}
	if c := f.cell(row, "created", nil); c != "" {
		if k.ref.Created, err = f.dates.Read(c); err != nil {
			f.problem(row.Line, "the date %v; it was left out", err)
		}
	}
	return f.password(&k, f.cell(row, "password", anything), row.Line)
}

// counts reports whether what stands in the column of the key ID is the number of a row, as Fleet's column "id" has it,
// in a table where another column names the machine.
func (f *reading) counts(row table.Row, text string) bool {
	if len(text) > 8 || strings.Trim(text, "0123456789") != "" || plain(f.report.Columns["key"]) != "id" {
		return false
	}
	return f.cell(row, "name", nil) != "" || f.cell(row, "fqdn", nil) != ""
}

// password completes a key with what stands where the password should.
func (f *reading) password(k *key, text string, line int) error {
	known := k.ref.ID != ""
	switch {
	case !known && text == "":
		return errors.New("no key ID")
	case !known && k.ref.Machine == (bitlocker.Machine{}):
		return errors.New("no key ID, and no machine that the password belongs to")
	case text == "":
		k.err = bitlocker.ErrNotStored
		f.problem(line, "no recovery password for key %s", k.ref.ID.Short())
	default:
		if damage := table.Rounded(text); damage != "" {
			return errors.New("the recovery password is a number that Excel rounded; take it from the source again, and import the column as text")
		}
		if k.password, k.err = bitlocker.ParsePassword(text); k.err != nil && !known {
			return fmt.Errorf("of %s: %w", k.ref.Machine.Label(), k.err)
		}
		if k.err != nil {
			f.bad(line, f.label, fmt.Sprintf("key %s: %v", k.ref.ID, k.err))
		}
	}
	f.add(*k, line)
	return nil
}

// add keeps rows of one key ID that differ, for nobody here can say which is right. Keys without an ID are told apart by
// machine and password.
func (f *reading) add(k key, line int) {
	s, base := f.source, string(k.ref.ID)
	unknown := k.ref.ID == ""
	if unknown {
		base = string(bitlocker.UnknownID(k.ref.Machine))
	}
	k.ref.SourceKey = base
	for n := 2; ; n++ {
		i, taken := s.at[k.ref.SourceKey]
		if !taken {
			break
		}
		if other := s.keys[i]; other.password.Equal(k.password) && strings.EqualFold(other.ref.Machine.Label(), k.ref.Machine.Label()) {
			f.problem(line, "key %s stands in the table already; the first was taken", base)
			return
		}
		k.ref.SourceKey = fmt.Sprintf("%s#%d", base, n)
	}
	switch {
	case unknown:
		k.ref.ID = bitlocker.KeyID(k.ref.SourceKey) // no host is called PC#2, and one may be called PC-2
		if k.err == nil {
			f.report.NoID++
		}
	case k.ref.SourceKey != base:
		f.problem(line, "key %s stands in the table with another machine or password; both are kept", k.ref.ID)
	}
	s.at[k.ref.SourceKey] = len(s.keys)
	s.keys = append(s.keys, &k)
	if k.err == nil {
		f.report.Keys++
	}
}

// hostName takes a name apart: DOMAIN\NAME, NAME$, name.domain. An FQDN that is known already stays.
func hostName(v, fqdn string) (name, dns string) {
	if i := strings.LastIndexByte(v, '\\'); i >= 0 {
		v = v[i+1:]
	}
	v = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSpace(v), "$"), ".")
	name, _, dotted := strings.Cut(v, ".")
	if dotted && fqdn == "" {
		fqdn = v
	}
	return name, fqdn
}

// recoveryObject splits the DN of an msFVE-RecoveryInformation, CN=<time>{<GUID>},<DN of the computer>.
func recoveryObject(dn string) (id, parent string, ok bool) {
	from, to := strings.Index(dn, "{"), strings.Index(dn, "},")
	if len(dn) < 3 || !strings.EqualFold(dn[:3], "CN=") || from < 0 || to < from {
		return "", "", false
	}
	return dn[from : to+1], dn[to+2:], true
}
