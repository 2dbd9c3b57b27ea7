package fve

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/bounded"
)

// patched flips bits of what it reads.
type patched struct {
	r     io.ReaderAt
	flips map[int64]byte
}

func (p *patched) ReadAt(b []byte, at int64) (int, error) {
	n, err := p.r.ReadAt(b, at)
	for offset, mask := range p.flips {
		if i := offset - at; i >= 0 && i < int64(n) {
			b[i] ^= mask
		}
	}
	return n, err
}

// seal is the other half of unseal.
func seal(t testing.TB, key, nonce, plain []byte) []byte {
	t.Helper()
	c, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	counter := make([]byte, aes.BlockSize)
	counter[0] = 2
	copy(counter[1:], nonce)
	stream := cipher.NewCTR(c, counter)
	out := append(bytes.Clone(nonce), ccmMAC(c, nonce, plain)...)
	stream.XORKeyStream(out[12:], out[12:])
	sealed := make([]byte, len(plain))
	stream.XORKeyStream(sealed, plain)
	return append(out, sealed...)
}

func TestCCMRefusesEveryFlippedBit(t *testing.T) {
	key, nonce := bytes.Repeat([]byte{7}, 32), []byte("twelve bytes")
	for _, n := range []int{0, 1, 15, 16, 17, 44} {
		plain := bytes.Repeat([]byte{0x5a}, n)
		body := seal(t, key, nonce, plain)
		got, err := unseal(key, body)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%d bytes: %x, %v", n, got, err)
		}
		for bit := range 8 * len(body) {
			wrong := bytes.Clone(body)
			wrong[bit/8] ^= 1 << (bit % 8)
			if _, err := unseal(key, wrong); !errors.Is(err, errSeal) {
				t.Fatalf("%d bytes with bit %d flipped: %v", n, bit, err)
			}
		}
	}
}

// a synthetic volume, small and made of nothing but its description.
type model struct {
	layout     Layout
	current    uint16
	next       uint16
	protectors [][]byte
	master     []byte
	nonce      uint32
}

func entry(role, kind uint16, body []byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, uint16(8+len(body)))
	b = binary.LittleEndian.AppendUint16(b, role)
	b = binary.LittleEndian.AppendUint16(b, kind)
	b = binary.LittleEndian.AppendUint16(b, 1)
	return append(b, body...)
}

func protector(id byte, flags uint16, properties ...[]byte) []byte {
	b := bytes.Repeat([]byte{id}, 16)
	b = binary.LittleEndian.AppendUint64(b, 133600000000000000)
	b = binary.LittleEndian.AppendUint16(b, 0)
	b = binary.LittleEndian.AppendUint16(b, flags)
	return entry(roleProtector, typeProtector, append(b, bytes.Join(properties, nil)...))
}

func wide(s string) []byte {
	var b []byte
	for _, u := range append(utf16.Encode([]rune(s)), 0) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

const modelSize = 512 << 10

var modelOffsets = [3]uint64{64 << 10, 192 << 10, 320 << 10}

func (m model) image(t testing.TB) []byte {
	t.Helper()
	image := make([]byte, modelSize)
	copy(image, "\xebX\x90-FVE-FS-")
	at, guid, version := 160, guidOffsets, uint16(2)
	switch m.layout {
	case ToGo:
		copy(image[3:], "MSWIN4.1")
		at = 424
	case EncryptOnWrite:
		guid = guidEOWOffsets
	case Vista:
		image[1] = 0x52
		binary.LittleEndian.PutUint16(image[11:], 512)
		image[13] = 8
		binary.LittleEndian.PutUint64(image[56:], modelOffsets[0]/4096)
		version = 1
	}
	if m.layout != Vista {
		copy(image[at:], guid[:])
		for i, o := range modelOffsets {
			binary.LittleEndian.PutUint64(image[at+16+8*i:], o)
		}
	}
	region := m.region(t, version)
	for _, o := range modelOffsets {
		copy(image[o:], region)
	}
	return image
}

func (m model) region(t testing.TB, version uint16) []byte {
	le := binary.LittleEndian
	entries := append(entry(roleDescription, typeText, wide("PC-1 C: \x1b1/2/2024")), bytes.Join(m.protectors, nil)...)
	block := make([]byte, 112)
	copy(block, "-FVE-FS-")
	le.PutUint16(block[10:], version)
	le.PutUint16(block[12:], m.current)
	le.PutUint16(block[14:], m.next)
	le.PutUint64(block[16:], 12345678)
	for i, o := range modelOffsets {
		le.PutUint64(block[32+8*i:], o)
	}
	le.PutUint32(block[64:], uint32(48+len(entries)))
	le.PutUint32(block[68:], 1)
	le.PutUint32(block[72:], 48)
	le.PutUint32(block[76:], uint32(48+len(entries)))
	copy(block[80:], bytes.Repeat([]byte{0xab}, 16))
	le.PutUint32(block[96:], m.nonce)
	le.PutUint32(block[100:], 0x80048004)
	le.PutUint64(block[104:], 133500000000000000)
	block = append(block, entries...)
	block = append(block, make([]byte, (16-len(block)%16)%16)...)
	if version == 2 {
		le.PutUint16(block[8:], uint16(len(block)/16))
	} else {
		le.PutUint16(block[8:], uint16(len(block)))
	}
	region := le.AppendUint16(bytes.Clone(block), uint16(regionSize-len(block)))
	region = le.AppendUint16(region, version)
	region = le.AppendUint32(region, crc32.ChecksumIEEE(block))
	if m.master != nil {
		hash := sha256.Sum256(block)
		plain := entry(0x11, typeKey, append([]byte{5, 0x20, 0, 0}, hash[:]...))
		region = append(region, entry(0, typeSealedKey, seal(t, m.master, []byte("nonce of hash"[:12]), plain))...)
	}
	return append(region, make([]byte, regionSize-len(region))...)
}

var modelPassword = bitlocker.PasswordFromNumbers([8]uint16{1, 22, 333, 4444, 55555, 65535, 0, 8})

func modelVolume(t testing.TB, layout Layout, current, next uint16) model {
	t.Helper()
	var raw []byte
	for _, n := range modelPassword.Numbers() {
		raw = binary.LittleEndian.AppendUint16(raw, n)
	}
	salt := [16]byte([]byte("salt of 16 bytes"))
	key, err := stretchKey(t.Context(), sha256.Sum256(raw), salt)
	if err != nil {
		t.Fatal(err)
	}
	master := bytes.Repeat([]byte{0x33}, 32)
	plain := entry(0, typeKey, append([]byte{3, 0x20, 0, 0}, master...))
	return model{layout: layout, current: current, next: next, master: master, protectors: [][]byte{
		protector(1, 0x0100, entry(0, 0x0006, []byte{1, 2, 3, 4})),
		protector(2, 0x0800, entry(0, typeText, wide("DiskPassword")), entry(0, typeStretchKey, append([]byte{0, 0x10, 0, 0}, salt[:]...)),
			entry(0, typeSealedKey, seal(t, key[:], []byte("nonce of key"), plain))),
		protector(3, 0x0500), protector(4, 0x1000), protector(5, 0x4800),
	}}
}

func TestModel(t *testing.T) {
	states := []struct {
		current, next uint16
		want          State
	}{{4, 4, Encrypted}, {1, 1, Decrypted}, {2, 4, Encrypting}, {5, 1, Decrypting}, {3, 4, Encrypting}, {9, 9, StateUnknown}}
	for i, layout := range []Layout{Seven, ToGo, EncryptOnWrite, Vista} {
		s := states[i%len(states)]
		m := modelVolume(t, layout, s.current, s.next)
		image := m.image(t)
		v, err := Read(t.Context(), bytes.NewReader(image), modelSize)
		if err != nil {
			t.Fatalf("%s: %v", layout, err)
		}
		if v.Layout != layout || v.State != s.want || v.Method != "XTS-AES 128" || v.Description != "PC-1 C: 1/2/2024" || v.ID != strings.Repeat("AB", 4)+"-ABAB-ABAB-ABAB-"+strings.Repeat("AB", 6) {
			t.Errorf("%s: %+v", layout, v)
		}
		var kinds []Kind
		for _, p := range v.Protectors {
			kinds = append(kinds, p.Kind)
		}
		if len(kinds) != 5 || kinds[0] != TPM || kinds[1] != RecoveryPassword || kinds[2] != TPMPIN || kinds[3] != PublicKey || kinds[4] != Unknown || v.Suspended() {
			t.Errorf("%s: protectors %v", layout, kinds)
		}
		if (v.Converted == 12345678) != v.State.Converting() {
			t.Errorf("%s: converted %d", layout, v.Converted)
		}
		opened, err := v.TryPassword(t.Context(), "", modelPassword)
		if err != nil || opened.ID != v.RecoveryIDs()[0] || !opened.Genuine {
			t.Errorf("%s: %+v, %v", layout, opened, err)
		}
	}
	for _, s := range states {
		if got := state(s.current, s.next); got != s.want {
			t.Errorf("state %d, %d is %s, want %s", s.current, s.next, got, s.want)
		}
	}
}

func TestChangedMetadataAreNotGenuine(t *testing.T) {
	m := modelVolume(t, Seven, 4, 4)
	image := m.image(t)
	for _, o := range modelOffsets { // another date, and a checksum that agrees
		block := image[o:]
		length := int(binary.LittleEndian.Uint16(block[8:])) << 4
		block[104] ^= 1
		binary.LittleEndian.PutUint32(block[length+4:], crc32.ChecksumIEEE(block[:length]))
	}
	v, err := Read(t.Context(), bytes.NewReader(image), modelSize)
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := v.TryPassword(t.Context(), "", modelPassword); err != nil || opened.Genuine {
		t.Errorf("%+v, %v", opened, err)
	}
}

func TestNewestCopyWins(t *testing.T) {
	m := modelVolume(t, Seven, 4, 4)
	image := m.image(t)
	m.nonce, m.protectors = 9, m.protectors[:2]
	copy(image[modelOffsets[1]:], m.region(t, 2))
	v, err := Read(t.Context(), bytes.NewReader(image), modelSize)
	if err != nil || !v.Copies[1].Used || len(v.Protectors) != 2 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestNoVolume(t *testing.T) {
	fat := make([]byte, 4096)
	copy(fat, "\xebX\x90MSWIN4.1")
	for name, image := range map[string][]byte{"empty": nil, "short": make([]byte, 100), "zeros": make([]byte, 4096), "FAT": fat} {
		if _, err := Read(t.Context(), bytes.NewReader(image), int64(len(image))); !errors.Is(err, ErrNotBitLocker) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// wholeSectors refuses what a raw device refuses.
type wholeSectors struct{ r io.ReaderAt }

func (w wholeSectors) ReadAt(p []byte, at int64) (int, error) {
	if at%512 != 0 || len(p)%512 != 0 {
		return 0, errors.New("not whole sectors")
	}
	return w.r.ReadAt(p, at)
}

func TestDeviceReadsWholeSectors(t *testing.T) {
	image := modelVolume(t, ToGo, 4, 4).image(t)
	disk := make([]byte, 1<<20+modelSize)
	copy(disk[1<<20:], image)
	disk[510], disk[511], disk[446+4] = 0x55, 0xaa, 7
	binary.LittleEndian.PutUint32(disk[446+8:], 2048)
	binary.LittleEndian.PutUint32(disk[446+12:], modelSize/512)
	r := sectors{wholeSectors{bytes.NewReader(disk)}}
	found, err := Partitions(t.Context(), r, int64(len(disk)))
	if err != nil || len(found) != 1 || found[0] != (Partition{Number: 1, Start: 1 << 20, Size: modelSize}) {
		t.Fatalf("%v, %v", found, err)
	}
	if _, err := Read(t.Context(), found[0].Reader(r), found[0].Size); err != nil {
		t.Error(err)
	}
	b := make([]byte, 700)
	if n, err := r.ReadAt(b, int64(len(disk))-300); n != 300 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end %d, %v", n, err)
	}
}

func TestPartitionsOfGPT(t *testing.T) {
	image := modelVolume(t, Seven, 4, 4).image(t)
	disk := make([]byte, 1<<20+modelSize)
	copy(disk[1<<20:], image)
	copy(disk[512:], "EFI PART")
	binary.LittleEndian.PutUint64(disk[512+72:], 2)
	binary.LittleEndian.PutUint32(disk[512+80:], 128)
	binary.LittleEndian.PutUint32(disk[512+84:], 128)
	e := disk[1024+128*2:]
	e[0] = 1
	binary.LittleEndian.PutUint64(e[32:], 2048)
	binary.LittleEndian.PutUint64(e[40:], 2048+modelSize/512-1)
	found, err := Partitions(t.Context(), bytes.NewReader(disk), int64(len(disk)))
	if err != nil || len(found) != 1 || found[0] != (Partition{Number: 3, Start: 1 << 20, Size: modelSize}) {
		t.Errorf("%v, %v", found, err)
	}
	if found, err := Partitions(t.Context(), bytes.NewReader(image), modelSize); err != nil || len(found) != 1 || found[0].Number != 0 {
		t.Errorf("a volume alone: %v, %v", found, err)
	}
	if _, err := Partitions(t.Context(), bytes.NewReader(make([]byte, 1<<20)), 1<<20); !errors.Is(err, ErrNotBitLocker) {
		t.Errorf("an empty disk: %v", err)
	}
}

func TestOpenWritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "volume.img")
	image := modelVolume(t, Seven, 4, 4).image(t)
	if err := os.WriteFile(path, image, 0o400); err != nil {
		t.Fatal(err)
	}
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	v, err := Read(t.Context(), d, d.Size())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.TryPassword(t.Context(), "", modelPassword); err != nil {
		t.Error(err)
	}
	if _, err := d.file.Write([]byte{0}); err == nil {
		t.Error("the volume is open for writing")
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(after, image) {
		t.Errorf("the image has changed (%v)", err)
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("a folder was opened")
	}
}

func TestErrorsOfTrials(t *testing.T) {
	v := &Volume{block: &block{}}
	if _, err := v.TryPassword(t.Context(), "", modelPassword); !errors.Is(err, ErrNoProtector) {
		t.Errorf("no protector: %v", err)
	}
	if _, err := v.TryPassword(t.Context(), "", bitlocker.Password{}); err == nil {
		t.Error("an empty password was tried")
	}
	v.Protectors = []Protector{{ID: "X", Kind: RecoveryPassword}}
	if _, err := v.TryPassword(t.Context(), "X", modelPassword); !errors.Is(err, ErrDamaged) {
		t.Errorf("a protector without salt: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, layout := range []Layout{Seven, ToGo, Vista} {
		m := model{layout: layout, current: 4, next: 4, protectors: [][]byte{protector(1, 0x0800, entry(0, typeText, wide("DiskPassword")))}, master: make([]byte, 32)}
		f.Add(m.image(f)[:512], m.region(f, map[bool]uint16{true: 1, false: 2}[layout == Vista])[:1024], true)
	}
	f.Add([]byte("\xebR\x90-FVE-FS-"), []byte("-FVE-FS-"), false)
	f.Fuzz(func(t *testing.T, head, region []byte, repair bool) {
		defer bounded.Input(t, len(head)+len(region))()
		if len(head) > 4096 || len(region) > regionSize {
			return
		}
		image := make([]byte, modelSize)
		copy(image, head)
		if repair && len(region) > 128 { // let the fuzzer past the checksum
			if n := int(binary.LittleEndian.Uint16(region[8:])) << 4; n > 0 && n+8 <= len(region) {
				region = bytes.Clone(region)
				binary.LittleEndian.PutUint32(region[n+4:], crc32.ChecksumIEEE(region[:n]))
			}
		}
		for _, o := range modelOffsets {
			copy(image[o:], region)
		}
		r := bytes.NewReader(image)
		_, _ = Partitions(t.Context(), r, int64(len(image)))
		v, err := Read(t.Context(), r, int64(len(image)))
		if err != nil {
			if !errors.Is(err, ErrNotBitLocker) && !errors.Is(err, ErrDamaged) {
				t.Fatalf("error of neither kind: %v", err)
			}
			return
		}
		for _, p := range v.Protectors { // all of a trial but the stretching
			if sealed, ok := find(p.datums, typeSealedKey); ok {
				_, _ = unseal(make([]byte, 32), sealed)
			}
		}
		_ = v.block.genuine(make([]byte, 32))
	})
}

// FuzzKey feeds keyOf, which sees only what a right key has unsealed.
func FuzzKey(f *testing.F) {
	f.Add(entry(0, typeKey, make([]byte, 36)))
	raw, _ := hex.DecodeString("0c00000001000100")
	f.Add(raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		defer bounded.Input(t, len(b))()
		if key, err := keyOf(b); err == nil && len(key) != 32 {
			t.Errorf("a key of %d bytes", len(key))
		}
	})
}
