package csv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// What a text is read by: digits and GUIDs are the same in every language, and so is their order. Windows writes the key
// ID before the password in the files it saves, and so does manage-bde -protectors -get.
var (
	passwordIn = lazyregexp.New(`\b[0-9]{6}(?:-[0-9]{6}){7}\b`)
	guidIn     = lazyregexp.New(`\b[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}\b`)
	// Eight groups that look like a password with something wrong: a digit lost, a letter for one.
	nearlyIn = lazyregexp.New(`\b[0-9OIl]{4,7}(?:-[0-9OIl]{4,7}){5,8}\b`)
	// "Volume C: [OS]", in any language: the only letter with a colon before brackets.
	driveIn = lazyregexp.New(`(?:^|[\s"„«“])([A-Za-z]):["”»“]?\s*\[[^\]]*\]\s*$`)
	// "Computer Name: LON-WS-00001", which manage-bde prints with -cn.
	hostIn = lazyregexp.New(`(?i)^\s*(?:computer\s?-?name|computername|nom de l.ordinateur|nombre de(?:l)? equipo|nome (?:do )?computador|nome computer|computernaam|コンピューター名)\s*:\s*(\S+)\s*$`)
)

// isDump reports whether a text holds recovery passwords, or nearly, on lines that are no rows of a table: nothing but
// the password, or a word before it.
func isDump(text string) bool {
	lines := 0
	for line := range strings.Lines(text) {
		lines++
		if lines > 2000 {
			return false
		}
		at := passwordIn.FindString(line)
		if at == "" {
			at = nearlyIn.FindString(line)
		}
		if at == "" {
			continue
		}
		rest := strings.TrimSpace(strings.Replace(line, at, "", 1))
		return lines > 1 && !strings.ContainsAny(rest, ",;\t|\"{[") && !guidIn.MatchString(rest)
	}
	return false
}

// asText decodes what may be a text in any code page: of those only digits and Latin letters are looked at.
func (f *reading) asText(data []byte) (text, encoding string) {
	if f.o.Encoding != "" {
		return "", ""
	}
	t, err := textfile.Decode(data)
	if err == nil {
		return t.Content, t.Encoding
	}
	if strings.ContainsRune(string(data), 0) {
		return "", ""
	}
	return strings.ToValidUTF8(string(data), "?"), "a code page"
}

// dump takes the keys out of a text.
func (f *reading) dump(text string) error {
	var id bitlocker.KeyID
	host, drive := f.hostOfFile(), ""
	line, found := 0, 0
	for content := range strings.Lines(strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")) {
		line++
		content = strings.TrimRight(content, "\n\u200e\u200f ")
		if m := hostIn.FindStringSubmatch(content); m != nil {
			host = m[1]
		}
		if m := driveIn.FindStringSubmatch(content); m != nil {
			drive, id = strings.ToUpper(m[1]), ""
		}
		if guids := guidIn.FindAllString(content, -1); len(guids) > 0 {
			id, _ = bitlocker.ParseKeyID(guids[len(guids)-1]) // by the pattern
		}
		digits := passwordIn.FindString(content)
		if digits == "" && guidIn.FindString(content) == "" {
			digits = nearlyIn.FindString(content)
		}
		if digits == "" {
			continue
		}
		found++
		f.report.Rows++
		k := key{ref: bitlocker.KeyRef{ID: id, Source: f.source.name, Volume: volume(drive)}}
		k.ref.Machine.Name, k.ref.Machine.FQDN = hostName(host, "")
		if k.ref.ID == "" {
			k.ref.ID = f.idOfFile()
		} else if named := f.idOfFile(); named != "" && named != k.ref.ID {
			f.problem(line, "the file is called after key %s, and holds key %s, which was taken", named.Short(), k.ref.ID)
		}
		if err := f.password(&k, digits, line); err != nil {
			f.bad(line, k.ref.Machine.Name, err.Error())
		}
		id = ""
	}
	if found == 0 {
		return errors.New("it holds no recovery password")
	}
	return nil
}

// idOfFile is the key ID that Windows puts into the names of the files it saves.
func (f *reading) idOfFile() bitlocker.KeyID {
	id, _ := bitlocker.ParseKeyID(guidIn.FindString(filepath.Base(f.o.File))) // none is none
	return id
}

var hostWord = lazyregexp.New(`^[\p{L}\p{N}][\p{L}\p{N}_-]{0,62}(?:\.[\p{L}\p{N}_-]+)*$`)

// hostOfFile is the machine that a file of a folder is called after, or the folder it lies in: LON-WS-00001.txt,
// LON-WS-00001_C.txt, LON-WS-00001/BitLocker Recovery Key 4C4B....TXT. Names with a blank or without a digit are no
// machine's, and a file that was named alone may be called anything.
func (f *reading) hostOfFile() string {
	if f.report.Files == 0 {
		return ""
	}
	base := strings.TrimSuffix(filepath.Base(f.o.File), filepath.Ext(f.o.File))
	if guidIn.MatchString(base) || strings.Contains(base, " ") {
		if base = filepath.Base(filepath.Dir(f.o.File)); base == "." {
			return ""
		}
	}
	if i := strings.LastIndexByte(base, '_'); i > 0 && len(base)-i == 2 { // the letter of a drive
		base = base[:i]
	}
	if !hostWord.MatchString(base) || !strings.ContainsAny(base, "0123456789") {
		return ""
	}
	return base
}

// Bounds of a folder.
const (
	maxFiles   = 200_000
	maxKeyFile = 1 << 20 // one key takes 2 KB
)

// ReadFolder reads every file of a folder and the folders in it that may hold keys: *.txt, *.csv, *.json, *.log. One that
// holds none, or is no text, is a bad row, and so is a folder that may not be read; other files are not opened, and links are
// not followed.
func ReadFolder(ctx context.Context, folder string, o Options) (*Source, Report, error) {
	f := newReading(o)
	forms := map[string]int{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			if path == folder {
				return err
			}
			// One folder that may not be read keeps nothing else back.
			name, unrelated := filepath.Rel(folder, path)
			if unrelated != nil {
				name = path
			}
			f.report.BadRows = append(f.report.BadRows, BadRow{File: name, Reason: fmt.Sprintf("%s: %v; what is in it was not read", name, reason(err))})
			if entry != nil && entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if ctx.Err() != nil || !entry.Type().IsRegular() {
			return ctx.Err()
		}
		switch strings.ToLower(filepath.Ext(path)) {
		case ".txt", ".csv", ".json", ".log":
		default:
			return nil
		}
		if f.report.Files++; f.report.Files > maxFiles {
			return fmt.Errorf("it holds more than %d files", maxFiles)
		}
		if f.o.File, err = filepath.Rel(folder, path); err != nil {
			return err
		}
		limit := int64(maxKeyFile)
		if !strings.EqualFold(filepath.Ext(path), ".txt") {
			limit = maxTable
		}
		data, err := textfile.Bytes(path, limit)
		if err == nil {
			f.report.Encoding = ""
			err = f.read(data)
		}
		if errors.Is(err, errNoColumn) && !strings.EqualFold(filepath.Ext(path), ".csv") {
			err = errors.New("it holds no recovery password")
		}
		if err != nil {
			f.report.BadRows = append(f.report.BadRows, BadRow{File: f.o.File, Reason: fmt.Sprintf("%s: %v", f.o.File, err)})
			return nil
		}
		forms[f.report.Encoding]++
		return nil
	})
	if err != nil {
		return nil, f.report, fmt.Errorf("read keys of folder %s: %w", folder, err)
	}
	if f.report.Files == 0 && len(f.report.BadRows) == 0 {
		return nil, f.report, hint.Wrap(fmt.Errorf("folder %s has no file with keys", folder), "files called *.txt, *.csv, *.json and *.log are looked at")
	}
	f.report.Remarks, f.report.Encoding, f.report.Delimiter = f.findings.List(), "", ""
	var how []string
	for _, encoding := range sortedKeys(forms) {
		how = append(how, fmt.Sprintf("%d in %s", forms[encoding], encoding))
	}
	f.report.ReadAs = fmt.Sprintf("%d files", f.report.Files)
	if len(how) > 0 {
		f.report.ReadAs += ": " + strings.Join(how, ", ")
	}
	return f.source, f.report, nil
}

// reason is an error of the file system without its path, which is said already.
func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

func sortedKeys(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }
