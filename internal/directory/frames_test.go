package directory

import (
	"bufio"
	"bytes"
	"io"
	"testing"

	"github.com/fleetmend/fleetmend/internal/bounded"
)

// message is an LDAPMessage of short parts.
func message(id, op []byte, rest ...byte) []byte {
	body := append(append([]byte{2, byte(len(id))}, id...), op...)
	body = append(body, rest...)
	return append([]byte{0x30, byte(len(body))}, body...)
}

var searchEntry = []byte("\x64\x1f\x04\x05dc=aa\x30\x16\x30\x14\x04\x02cn\x31\x0e\x04\x03one\x04\x00\x04\x05three")

func TestEntryParser(t *testing.T) {
	m := message([]byte{0x40, 0, 0, 1}, searchEntry)
	id, body := frameID(m)
	if id != firstSearchID+1 {
		t.Fatalf("ID %d", id)
	}
	tag, contents, _, ok := part(body)
	var p entryParser
	e, parsed := p.entry(contents)
	if !ok || tag != 0x64 || !parsed || e.DN != "dc=aa" {
		t.Fatalf("%v %x %v", ok, tag, parsed)
	}
	if got := e.Texts("CN"); len(got) != 3 || got[0] != "one" || got[1] != "" || got[2] != "three" {
		t.Errorf("values %q", got)
	}
	for cut := range contents {
		if e, ok := p.entry(contents[:cut]); ok && cut > 7 {
			t.Errorf("an entry cut at %d of %d was taken: %v", cut, len(contents), e)
		}
	}
}

// TestFramesPassTheRestOn: what answers no search of ours reaches go-ldap byte for byte, however it asks for it.
func TestFramesPassTheRestOn(t *testing.T) {
	bind := message([]byte{1}, []byte("\x61\x07\x0a\x01\x00\x04\x00\x04\x00"))
	stray := message([]byte{0x40, 0, 0, 9}, searchEntry)
	f := newFrames(nil)
	f.in = bufio.NewReader(bytes.NewReader(append(append(bytes.Clone(stray), bind...), stray...)))
	got, err := io.ReadAll(onlyReader{f})
	if err != nil || !bytes.Equal(got, bind) {
		t.Errorf("%x %v, want %x", got, err, bind)
	}
	if f.failure() == nil {
		t.Error("the end was not noted")
	}
}

// onlyReader reads one byte at a time, as asn1-ber does.
type onlyReader struct{ f *frames }

func (o onlyReader) Read(p []byte) (int, error) { return o.f.Read(p[:min(len(p), 1)]) }

func FuzzFrames(f *testing.F) {
	f.Add(message([]byte{0x40, 0, 0, 1}, searchEntry))
	f.Add(message([]byte{3}, []byte("\x65\x07\x0a\x01\x00\x04\x00\x04\x00"), 0xa0, 2, 0x30, 0))
	f.Add([]byte("\x30\x84\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		defer bounded.Input(t, len(data))()
		m, err := readFrame(bufio.NewReader(bytes.NewReader(data)))
		if err != nil {
			return
		}
		_, body := frameID(m)
		_, contents, rest, ok := part(body)
		if !ok {
			return
		}
		var p entryParser
		if e, ok := p.entry(contents); ok {
			_ = e.Text("cn")
		}
		_, _ = searchDone(m, contents, rest)
	})
}
