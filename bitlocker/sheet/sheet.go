// Package sheet puts a recovery password where a person or a scanner can take it from: on paper, on a page, in a terminal,
// or into an ear.
//
// [PDF] and [HTML] print the keys of a site: machine, key ID, the 48 digits in large groups, a QR code and a Code128 that a
// scanner types at the recovery prompt, and a local administrator's password where one is given. [Terminal] and [Phonetic]
// show one key on a screen and for reading over the phone.
//
// What it writes contains passwords by intent: reveal them through the vault, so that the audit knows. The package opens
// no file and no connection, and loads nothing from elsewhere into a page.
package sheet

import (
	"fmt"
	"strings"
	"time"

	"github.com/boombuler/barcode/code128"
	"github.com/boombuler/barcode/qr"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// Entry is one key on a sheet. Name, Site and Serial are what the reader goes by; an empty Name is taken from the key.
type Entry struct {
	Key    bitlocker.RecoveryKey
	Name   string
	Site   string
	Serial string
	LAPS   *Account // optional
	Note   string   // optional: what the reader has to know of this key, such as that there are two passwords for its ID
}

// Account is a local administrator, as LAPS manages it.
type Account struct {
	User     string
	Password secret.String
	Expires  time.Time // zero: unknown
}

func (e Entry) name() string {
	if e.Name != "" {
		return e.Name
	}
	return e.Key.Machine.Label()
}

// Options say how a sheet looks.
type Options struct {
	Title    string    // "Site LON"; empty: "BitLocker recovery keys"
	Date     time.Time // printed, and the date inside the PDF: equal input gives equal bytes
	Operator string    // who printed it and why, in the footer
	Enter    bool      // the codes end with Enter, so that the scanner sends the password off; else digits only
}

func (o Options) title() string {
	if o.Title == "" {
		return "BitLocker recovery keys"
	}
	return o.Title
}

// note is what a reader with a scanner needs to know.
func (o Options) note() string {
	end := ""
	if o.Enter {
		end = " and Enter"
	}
	return "Scan either code at the recovery prompt: it types the 48 digits" + end + ". Wrong characters? Set the scanner to the US layout."
}

// typed is what a scanner types: digits, which no keyboard layout moves, and Enter (CR) where it is wanted. The recovery
// prompt sets its hyphens by itself.
func typed(digits string, enter bool) string {
	if enter {
		return digits + "\r"
	}
	return digits
}

// matrix is a QR code without quiet zone; true is dark.
func matrix(text string) ([][]bool, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return nil, fmt.Errorf("draw QR code: %w", hide(err, text))
	}
	b := code.Bounds()
	m := make([][]bool, b.Dy())
	for y := range m {
		m[y] = make([]bool, b.Dx())
		for x := range m[y] {
			r, _, _, _ := code.At(b.Min.X+x, b.Min.Y+y).RGBA()
			m[y][x] = r < 0x8000
		}
	}
	return m, nil
}

// bars is a Code128 (ISO/IEC 15417) without quiet zone; true is dark.
func bars(text string) ([]bool, error) {
	code, err := code128.Encode(text)
	if err != nil {
		return nil, fmt.Errorf("draw Code128: %w", hide(err, text))
	}
	b := code.Bounds()
	m := make([]bool, b.Dx())
	for x := range m {
		r, _, _, _ := code.At(b.Min.X+x, b.Min.Y).RGBA()
		m[x] = r < 0x8000
	}
	return m, nil
}

// hide keeps what was to be drawn out of an error.
func hide(err error, text string) error {
	if text = strings.TrimSpace(text); text != "" && strings.Contains(err.Error(), text) {
		return fmt.Errorf("%s", strings.ReplaceAll(err.Error(), text, secret.Dots))
	}
	return err
}

// runs calls do for each run of dark modules.
func runs(modules []bool, do func(from, length int)) {
	for i := 0; i < len(modules); {
		n := i
		for n < len(modules) && modules[n] {
			n++
		}
		if n > i {
			do(i, n-i)
		}
		i = n + 1
	}
}

func check(entries []Entry) error {
	if len(entries) == 0 {
		return fmt.Errorf("print sheet: there is no key to print")
	}
	for _, e := range entries {
		if e.Key.Password.IsZero() {
			return fmt.Errorf("print sheet: key %s of %s has no password", e.Key.ID, e.name())
		}
	}
	return nil
}

func (e Entry) about() string {
	var parts []string
	if e.Note != "" {
		parts = append(parts, e.Note)
	}
	if e.Key.Deleted {
		parts = append(parts, "DELETED in its source")
	}
	if e.Site != "" {
		parts = append(parts, "Site "+e.Site)
	}
	if e.Serial != "" {
		parts = append(parts, "Serial "+e.Serial)
	}
	if v := volumes[e.Key.Volume]; v != "" {
		parts = append(parts, v)
	}
	if !e.Key.Created.IsZero() {
		parts = append(parts, "escrowed "+e.Key.Created.UTC().Format("2006-01-02 15:04")+" UTC")
	}
	if e.Key.Source != "" {
		parts = append(parts, e.Key.Source)
	}
	return strings.Join(parts, "   ")
}

var volumes = map[bitlocker.Volume]string{bitlocker.VolumeOS: "system volume", bitlocker.VolumeFixed: "data volume", bitlocker.VolumeRemovable: "removable volume"}
