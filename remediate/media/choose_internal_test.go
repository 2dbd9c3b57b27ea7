package media

import (
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/remediate/media/pesign"
)

func TestChoose(t *testing.T) {
	l := func(name string, ex bool, a ...pesign.Authority) loader {
		return loader{place: place{name: name}, ex: ex, file: &pesign.File{}, authorities: a}
	}
	old, now := l("old", false, pesign.WindowsPCA2011), l("now", true, pesign.WindowsUEFI2023)
	dual, bare, bareEX := l("dual", false, pesign.WindowsPCA2011, pesign.WindowsUEFI2023), l("bare", false), l("bareEX", true)
	serviced := l("serviced", false, pesign.WindowsUEFI2023)
	for _, c := range []struct {
		list []loader
		want SecureBoot
		got  string
	}{
		{[]loader{now, old}, Auto, "now"}, {[]loader{now, old}, For11, "old"}, {[]loader{now, old}, For23, "now"},
		{[]loader{old}, Auto, "old"}, {[]loader{old}, For23, "!too old"}, {[]loader{old, bareEX}, For23, "!no boot manager here is signed"},
		{[]loader{old, dual, now}, Auto, "dual"}, {[]loader{dual}, For11, "dual"}, {[]loader{dual}, For23, "dual"},
		{[]loader{bareEX, bare}, Auto, "bare"}, {[]loader{bareEX}, Auto, "bareEX"}, {[]loader{bare}, For11, "!not signed"},
		{[]loader{serviced}, For23, "serviced"}, {[]loader{now}, For11, "!no boot manager here"}, {nil, Auto, "!no UEFI boot manager"},
	} {
		got, err := choose(c.list, c.want)
		if want, refused := strings.CutPrefix(c.got, "!"); refused && (err == nil || !strings.Contains(err.Error(), want)) || !refused && (err != nil || got.name != c.got) {
			t.Errorf("%v for %s: %s, %v; want %s", c.list, c.want, got.name, err, c.got)
		}
	}
}

func TestINF(t *testing.T) {
	wide := []byte{0xff, 0xfe}
	for _, c := range "[Version]\r\nCatalogFile.NTarm64 = \"a.cat\" ; x\r\n[MANUFACTURER]\r\n%M%=Models, NTarm64.10.0...16299 , NTx86\r\n" {
		wide = append(wide, byte(c), 0)
	}
	d := parseINF(wide)
	if got, err := d.catalogue("arm64"); got != "a.cat" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := d.catalogue("amd64"); err == nil {
		t.Error("a catalogue for another processor was taken")
	}
	if a := d.architectures(); len(a) != 2 || !a["arm64"] || !a["x86"] {
		t.Errorf("%v", a)
	}
	if _, err := parseINF([]byte("[Version]\nCatalogFile=..\\x.cat")).catalogue("amd64"); err == nil {
		t.Error("a path was taken for a catalogue")
	}
}

func FuzzINF(f *testing.F) {
	f.Add([]byte("[Version]\nCatalogFile=x.cat\n[Manufacturer]\nA=B,NTamd64\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer bounded.Input(t, len(raw))()
		d := parseINF(raw)
		_, _ = d.catalogue("amd64")
		d.architectures()
	})
}

func FuzzSums(f *testing.F) {
	f.Add([]byte("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a b\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer bounded.Input(t, len(raw))()
		_, _ = parseSums(raw)
	})
}
