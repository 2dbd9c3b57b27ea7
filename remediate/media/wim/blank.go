package wim

import (
	"bytes"
	"crypto/sha1"
	"encoding/xml"
	"fmt"
	"time"
)

// Blank returns an uncompressed WIM with one empty image that is marked to boot, to be filled by [Inject]: the start for
// a demonstration or a test where no Windows is at hand. Name, Description and Architecture of im are used.
func Blank(im Image, at time.Time) []byte {
	ft := toFileTime(at)
	root := newNode("", true, 0xffffffff, digest{}, ft)
	meta := (&metadata{[]byte{8, 0, 0, 0, 0, 0, 0, 0}, root}).encode()
	metaRes := resource{stored: int64(len(meta)), flags: resMetadata, off: headerSize, size: int64(len(meta))}

	var table [blobSize]byte
	metaRes.put(table[:])
	le.PutUint16(table[24:], 1)
	le.PutUint32(table[26:], 1)
	sum := sha1.Sum(meta)
	copy(table[30:], sum[:])
	tableRes := resource{stored: blobSize, flags: resMetadata, off: metaRes.end(), size: blobSize}

	arch := ""
	for n, a := range architectures {
		if a == im.Architecture && a != "" {
			arch = "<WINDOWS><ARCH>" + n + "</ARCH></WINDOWS>"
		}
	}
	stamp := fmt.Sprintf("<HIGHPART>0x%08X</HIGHPART><LOWPART>0x%08X</LOWPART>", ft>>32, uint32(ft))
	doc := fmt.Sprintf("<WIM><TOTALBYTES>%d</TOTALBYTES><IMAGE INDEX=\"1\"><DIRCOUNT>1</DIRCOUNT><FILECOUNT>0</FILECOUNT>"+
		"<TOTALBYTES>0</TOTALBYTES><HARDLINKBYTES>0</HARDLINKBYTES><CREATIONTIME>%s</CREATIONTIME>"+
		"<LASTMODIFICATIONTIME>%s</LASTMODIFICATIONTIME>%s<NAME>%s</NAME><DESCRIPTION>%s</DESCRIPTION></IMAGE></WIM>",
		tableRes.end(), stamp, stamp, arch, escape(im.Name), escape(im.Description))
	text := append([]byte{0xff, 0xfe}, encode16(doc)...)
	xmlRes := resource{stored: int64(len(text)), flags: resMetadata, off: tableRes.end(), size: int64(len(text))}

	var h [headerSize]byte
	copy(h[:], "MSWIM\x00\x00\x00")
	le.PutUint32(h[8:], headerSize)
	le.PutUint32(h[12:], version)
	copy(h[24:40], sum[:])
	le.PutUint16(h[40:], 1)
	le.PutUint16(h[42:], 1)
	le.PutUint32(h[44:], 1)
	tableRes.put(h[48:])
	xmlRes.put(h[72:])
	metaRes.put(h[96:])
	le.PutUint32(h[120:], 1)
	return bytes.Join([][]byte{h[:], meta, table[:], text}, nil)
}

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a bytes.Buffer takes everything
	return b.String()
}
