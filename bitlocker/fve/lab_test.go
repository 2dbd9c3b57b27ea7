package fve

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// sample is a volume made by Windows, and what is known of it.
type sample map[string]string

var labOnce struct {
	sync.Once
	dir     string
	samples map[string]sample
	missing string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if labOnce.dir != "" {
		_ = os.RemoveAll(labOnce.dir)
	}
	os.Exit(code)
}

// lab unpacks the volumes once per test binary. They are no part of this project.
func lab(t *testing.T) (dir string, samples map[string]sample) {
	t.Helper()
	labOnce.Do(func() {
		folder := os.Getenv("FLEETMEND_LABS")
		if folder == "" {
			folder = filepath.Join("..", "..", "..", "shared", "labs")
		}
		archive := filepath.Join(folder, "bitlk-images.tar.xz")
		if _, err := os.Stat(archive); errors.Is(err, fs.ErrNotExist) {
			labOnce.missing = "no bitlk-images.tar.xz (set FLEETMEND_LABS to its folder)"
			return
		}
		dir, err := os.MkdirTemp("", "fve")
		if err != nil {
			labOnce.missing = err.Error()
			return
		}
		labOnce.dir = dir
		if out, err := exec.Command("tar", "-xJSf", archive, "--strip-components=1", "-C", dir).CombinedOutput(); err != nil {
			labOnce.missing = "tar and xz are needed: " + string(out)
			return
		}
		labOnce.samples = readSamples(filepath.Join(dir, "images.conf"))
	})
	if labOnce.missing != "" {
		t.Skip(labOnce.missing)
	}
	if len(labOnce.samples) == 0 {
		t.Fatal("the archive holds no images.conf")
	}
	return labOnce.dir, labOnce.samples
}

func readSamples(path string) map[string]sample {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	out := map[string]sample{}
	var s sample
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") {
			s = sample{}
			out[strings.Trim(line, "[]")] = s
		} else if name, value, ok := strings.Cut(line, "="); ok {
			s[name] = value
		}
	}
	return out
}

// known gives the key IDs that images.conf names for a kind of protector.
func (s sample) known(kind Kind) []string {
	names := map[Kind][]string{RecoveryPassword: {"RP_VMK_GUID", "RP2_VMK_GUID"}, Passphrase: {"PW_VMK_GUID"}, StartupKey: {"SK_VMK_GUID"}}
	var out []string
	for _, name := range names[kind] {
		if s[name] != "" {
			out = append(out, strings.ToUpper(s[name]))
		}
	}
	return out
}

func TestSamples(t *testing.T) {
	dir, samples := lab(t)
	if len(samples) != 10 {
		t.Errorf("%d volumes, want 10", len(samples))
	}
	for name, s := range samples {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := Open(filepath.Join(dir, name+".img"))
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			v, err := Read(t.Context(), d, d.Size())
			if err != nil {
				t.Fatal(err)
			}
			checkSample(t, name, s, v)
			checkPasswords(t, s, v)
		})
	}
}

// checkSample compares a volume with images.conf.
func checkSample(t *testing.T, name string, s sample, v *Volume) {
	t.Helper()
	if v.ID != strings.ToUpper(s["GUID"]) || v.State != Encrypted || v.Suspended() || v.Created.IsZero() || v.Description == "" {
		t.Errorf("volume %+v", v)
	}
	layout := Seven
	if strings.Contains(name, "togo") {
		layout = ToGo
	}
	if v.Layout != layout {
		t.Errorf("layout %s, want %s", v.Layout, layout)
	}
	bits := "128"
	if strings.HasSuffix(name, "256") {
		bits = "256"
	}
	method := map[string]Method{
		"aes-cbc-eboiv": Method("AES-CBC " + bits), "aes-xts-plain64": Method("XTS-AES " + bits), "aes-cbc-elephant": Method("AES-CBC " + bits + " with diffuser"),
	}[s["CIPHER"]]
	if v.Method != method {
		t.Errorf("method %q, want %q", v.Method, method)
	}
	for _, kind := range []Kind{RecoveryPassword, Passphrase, StartupKey} {
		got := map[string]bool{}
		for _, p := range v.Protectors {
			if p.Kind == kind {
				got[string(p.ID)] = true
				if p.Changed.IsZero() {
					t.Errorf("protector %s has no date", p.ID)
				}
			}
		}
		want := s.known(kind)
		for _, id := range want {
			if !got[id] {
				t.Errorf("%s %s not found among %v", kind, id, got)
			}
		}
		if unnamed := kind == Passphrase && s["PW"] == ""; len(got) != len(want) && !unnamed {
			t.Errorf("%d protectors of kind %s, want %d", len(got), kind, len(want))
		}
	}
	if len(v.Copies) != 3 {
		t.Errorf("%d copies", len(v.Copies))
	}
	for _, c := range v.Copies {
		if c.Damage != "" || !c.Checked {
			t.Errorf("copy %+v", c)
		}
	}
}

// checkPasswords tries the right keys, and on each volume wrong ones that are valid. Passphrases are tried on one volume, and
// on all with FLEETMEND_LONG=1.
func checkPasswords(t *testing.T, s sample, v *Volume) {
	t.Helper()
	for _, name := range []string{"RP", "RP2"} {
		if s[name] == "" {
			continue
		}
		password, err := bitlocker.ParsePassword(s[name])
		if err != nil {
			t.Fatal(err)
		}
		id := bitlocker.KeyID(strings.ToUpper(s[name+"_VMK_GUID"]))
		opened, err := v.TryPassword(t.Context(), id, password)
		if err != nil || opened.ID != id || !opened.Genuine {
			t.Errorf("%s: %+v, %v", name, opened, err)
		}
		numbers := password.Numbers()
		numbers[7] ^= 1
		if _, err := v.TryPassword(t.Context(), id, bitlocker.PasswordFromNumbers(numbers)); !errors.Is(err, ErrWrongKey) {
			t.Errorf("a wrong %s: %v", name, err)
		}
	}
	if s["PW"] != "" && (s["PW"] != "anaconda" || os.Getenv("FLEETMEND_LONG") == "1") {
		if _, err := v.TryPassphrase(t.Context(), "", secret.New(s["PW"]+"x")); !errors.Is(err, ErrWrongKey) {
			t.Errorf("a wrong passphrase: %v", err)
		}
		opened, err := v.TryPassphrase(t.Context(), "", secret.New(s["PW"]))
		if err != nil || string(opened.ID) != s.known(Passphrase)[0] || !opened.Genuine {
			t.Errorf("passphrase: %+v, %v", opened, err)
		}
	}
}

func TestSecondPasswordIsFoundWithoutID(t *testing.T) {
	dir, samples := lab(t)
	const name = "bitlk-aes-xts-128-two-recovery"
	d, err := Open(filepath.Join(dir, name+".img"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	v, err := Read(t.Context(), d, d.Size())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"RP", "RP2"} {
		password, err := bitlocker.ParsePassword(samples[name][n])
		if err != nil {
			t.Fatal(err)
		}
		opened, err := v.TryPassword(t.Context(), "", password)
		if err != nil || string(opened.ID) != strings.ToUpper(samples[name][n+"_VMK_GUID"]) {
			t.Errorf("%s opened %+v, %v", n, opened, err)
		}
	}
}

// TestSampleDamage spoils the metadata of a real volume: one good copy is enough, and none gives an error.
func TestSampleDamage(t *testing.T) {
	dir, _ := lab(t)
	d, err := Open(filepath.Join(dir, "bitlk-aes-xts-128.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	whole, err := Read(t.Context(), d, d.Size())
	if err != nil {
		t.Fatal(err)
	}
	spoilt := &patched{r: d, flips: map[int64]byte{}}
	for i, c := range whole.Copies {
		v, err := Read(t.Context(), spoilt, d.Size())
		if err != nil {
			t.Fatalf("with %d spoilt copies: %v", i, err)
		}
		if !v.Copies[i].Used || v.ID != whole.ID || len(v.Protectors) != len(whole.Protectors) {
			t.Errorf("with %d spoilt copies: %+v", i, v.Copies)
		}
		spoilt.flips[c.Offset+300] = 1
	}
	if _, err := Read(t.Context(), spoilt, d.Size()); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("with all copies spoilt: %v", err)
	}
	for _, size := range []int64{0, 511, 512, 4096, whole.Copies[0].Offset, whole.Copies[0].Offset + 100, whole.Copies[0].Offset + 870} {
		if _, err := Read(t.Context(), d, size); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotBitLocker) {
			t.Errorf("cut to %d bytes: %v", size, err)
		}
	}
}

func TestTrialObeysContext(t *testing.T) {
	v := &Volume{Protectors: []Protector{{Kind: RecoveryPassword, datums: []datum{
		{kind: typeStretchKey, body: make([]byte, 20)}, {kind: typeSealedKey, body: make([]byte, 80)},
	}}}, block: &block{}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.TryPassword(ctx, "", bitlocker.PasswordFromNumbers([8]uint16{1})); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
