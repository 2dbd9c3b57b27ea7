package keys_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker/fve"
	"github.com/fleetmend/fleetmend/internal/desk/keys"
)

// TestVerifiedVolumeInText: what the JSON knows of a volume is in the text, each fact once.
func TestVerifiedVolumeInText(t *testing.T) {
	at := time.Date(2024, 7, 19, 4, 9, 0, 0, time.UTC)
	v := &fve.Volume{
		Layout: fve.Seven, ID: "METADATA-GUID", Description: "PC-1 C:", Created: at, Method: "XTS-AES 128", State: fve.Encrypting, Converted: 4096,
		Protectors: []fve.Protector{
			{ID: "CLEAR-KEY", Kind: fve.ClearKey, Changed: at.Add(time.Hour)}, {ID: "RECOVERY-1", Kind: fve.RecoveryPassword, Name: "DiskPassword"},
			{ID: "OTHER", Kind: fve.Unknown, Flags: 0x4800},
		},
		Copies: []fve.Copy{{Offset: 100, Used: true, Checked: true}, {Offset: 200, Damage: "its checksum does not agree"}, {Offset: 300}},
	}
	r := keys.Verified{Partition: fve.Partition{Number: 3, Start: 1 << 20, Size: 8192}, Volume: v, Known: []string{"RECOVERY-1"}, NeedsNone: true}
	text := func() string { return keys.VolumesText([]keys.Verified{r}) }
	want := `partition  3, 8192 bytes at byte 1048576
volume     PC-1 C:
metadata   METADATA-GUID, ` + string(fve.Seven) + `, made 2024-07-19 04:09 UTC
state      encrypting, XTS-AES 128
converted  up to byte 4096 of 8192
protection SUSPENDED: the key of what is encrypted lies open on the volume
protector  CLEAR-KEY  clear-key of 2024-07-19 05:09 UTC
protector  RECOVERY-1  recovery-password DiskPassword
protector  OTHER  unknown (flags 0x4800)
DAMAGED    copy 2 of 3 of the metadata, at byte 200: its checksum does not agree
remark     copy 3 of 3 of the metadata, at byte 300, has no checksum
known      RECOVERY-1
It needs no key: protection is suspended.
`
	if got := text(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, fact := range []string{"CLEAR-KEY", "encrypting", "its checksum does not agree", "4096", "RECOVERY-1"} {
		if !strings.Contains(string(raw), fact) {
			t.Errorf("the JSON does not know %q: %s", fact, raw)
		}
	}
	// A key opened it although none is needed: both are said.
	r.OpenedBy = &fve.Opened{ID: "RECOVERY-1", Genuine: true}
	if got := text(); !strings.Contains(got, "SUSPENDED") || !strings.Contains(got, "opened by  RECOVERY-1") {
		t.Errorf("opened and suspended:\n%s", got)
	}
	v.Protectors, r.OpenedBy = v.Protectors[1:], nil
	if got := text(); strings.Contains(got, "SUSPENDED") || !strings.Contains(got, "nothing is encrypted") {
		t.Errorf("not suspended:\n%s", got)
	}
}
