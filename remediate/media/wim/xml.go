package wim

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

type xmlDoc struct {
	Images []struct {
		Index       int    `xml:"INDEX,attr"`
		Name        string `xml:"NAME"`
		Description string `xml:"DESCRIPTION"`
		Display     string `xml:"DISPLAYNAME"`
		Dirs        int64  `xml:"DIRCOUNT"`
		Files       int64  `xml:"FILECOUNT"`
		Bytes       int64  `xml:"TOTALBYTES"`
		Windows     struct {
			Arch      string   `xml:"ARCH"`
			Languages []string `xml:"LANGUAGES>LANGUAGE"`
			Version   struct {
				Major string `xml:"MAJOR"`
				Minor string `xml:"MINOR"`
				Build string `xml:"BUILD"`
				SP    string `xml:"SPBUILD"`
			} `xml:"VERSION"`
		} `xml:"WINDOWS"`
	} `xml:"IMAGE"`
}

// Processor architecture numbers of Windows (PROCESSOR_ARCHITECTURE_*).
var architectures = map[string]string{"0": "x86", "5": "arm", "6": "ia64", "9": "amd64", "12": "arm64"}

// ReadXML fills f.images. A WIM without a usable description is still a WIM: its images are then nameless.
func (f *File) readXML() error {
	for i := range f.metas {
		f.images = append(f.images, Image{Index: i + 1, Boot: i+1 == f.header.boot})
	}
	b, err := readAll(f.r, f.header.xml, f.header.codec, "the XML description", nil)
	if err != nil {
		return err
	}
	f.xml = strings.TrimPrefix(decode16(b), "\ufeff")
	var doc xmlDoc
	d := xml.NewDecoder(strings.NewReader(f.xml))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil } // already decoded
	if err := d.Decode(&doc); err != nil && err != io.EOF {
		return corrupt("the XML description", "%v", err)
	}
	for _, x := range doc.Images {
		if x.Index < 1 || x.Index > len(f.images) {
			continue
		}
		im := &f.images[x.Index-1]
		im.Name, im.Description = x.Name, x.Description
		if im.Name == "" {
			im.Name = x.Display
		}
		im.Files, im.Dirs, im.Bytes = x.Files, x.Dirs, x.Bytes
		im.Architecture, im.Languages = architectures[strings.TrimSpace(x.Windows.Arch)], x.Windows.Languages
		if v := x.Windows.Version; v.Major != "" {
			im.Version = strings.Trim(strings.Join([]string{v.Major, v.Minor, v.Build, v.SP}, "."), ".")
		}
	}
	return nil
}

var (
	imageStart = lazyregexp.New(`<IMAGE\s[^>]*\bINDEX\s*=\s*["'](\d+)["'][^>]*>`)
	numberOf   = map[string]*lazyregexp.Regexp{}
)

func init() {
	for _, tag := range []string{"TOTALBYTES", "FILECOUNT", "DIRCOUNT", "HARDLINKBYTES"} {
		numberOf[tag] = lazyregexp.New(`<` + tag + `>\s*(\d+)\s*</` + tag + `>`)
	}
}

var modified = lazyregexp.New(`(?s)<LASTMODIFICATIONTIME>.*?</LASTMODIFICATIONTIME>`)

// EditXML returns the description with the counts of one image moved by delta, its time of change set, and the
// total of the whole file set; everything else stays as it is, letter for letter.
func editXML(doc string, image int, delta counts, filetime uint64, total int64) (string, error) {
	var out strings.Builder
	found := false
	rest, outside := doc, true
	for {
		loc := imageStart.FindStringSubmatchIndex(rest)
		if loc == nil {
			break
		}
		end := strings.Index(rest[loc[1]:], "</IMAGE>")
		if end < 0 {
			return "", corrupt("the XML description", "an image is not closed")
		}
		end += loc[1]
		head := rest[:loc[0]]
		if outside {
			head, outside = setNumber(head, "TOTALBYTES", func(int64) int64 { return total })
		}
		out.WriteString(head)
		body := rest[loc[0]:end]
		if rest[loc[2]:loc[3]] == strconv.Itoa(image) {
			body, found = delta.edit(body, filetime), true
		}
		out.WriteString(body)
		rest = rest[end:]
	}
	if outside {
		rest, _ = setNumber(rest, "TOTALBYTES", func(int64) int64 { return total })
	}
	out.WriteString(rest)
	if !found {
		return "", corrupt("the XML description", "image %d is not described", image)
	}
	return out.String(), nil
}

// SetNumber replaces the first number of the tag; the flag tells that it is still to be found.
func setNumber(s, tag string, to func(int64) int64) (string, bool) {
	loc := numberOf[tag].FindStringSubmatchIndex(s)
	if loc == nil {
		return s, true
	}
	old, err := strconv.ParseInt(s[loc[2]:loc[3]], 10, 64)
	if err != nil {
		return s, true
	}
	return s[:loc[2]] + strconv.FormatInt(max(to(old), 0), 10) + s[loc[3]:], false
}

func (c counts) edit(s string, filetime uint64) string {
	for tag, d := range map[string]int64{"FILECOUNT": c.files, "DIRCOUNT": c.dirs, "TOTALBYTES": c.bytes, "HARDLINKBYTES": c.linked} {
		s, _ = setNumber(s, tag, func(n int64) int64 { return n + d })
	}
	stamp := fmt.Sprintf("<LASTMODIFICATIONTIME><HIGHPART>0x%08X</HIGHPART><LOWPART>0x%08X</LOWPART></LASTMODIFICATIONTIME>", filetime>>32, uint32(filetime))
	return modified.ReplaceAllLiteralString(s, stamp)
}
