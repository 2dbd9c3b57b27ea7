package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// TestSignInsThatCannotBe are refused when settings are loaded, with what to write instead.
func TestSignInsThatCannotBe(t *testing.T) {
	for text, want := range map[string][2]string{
		"winrm: {auth: kerberos, user: a@corp.example, keytab: a.keytab}": {},
		"winrm: {auth: kerberos, credentials: laps}":                      {"knows no local accounts", "auth: ntlm"},
		"winrm: {keytab: a.keytab}":                                       {"are for Kerberos", "auth: kerberos"},
		"winrm: {auth: ntlm, ccache: a}":                                  {"are for Kerberos", "auth: kerberos"},
		"kerberos: {parallel: -1}":                                        {"less than nothing", ""},
	} {
		path := filepath.Join(t.TempDir(), "fleetmend.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := read(path)
		if (err == nil) != (want[0] == "") || err != nil && (!strings.Contains(err.Error(), want[0]) || !strings.Contains(strings.Join(hint.Of(err), " "), want[1])) {
			t.Errorf("%s: %v %q", text, err, hint.Of(err))
		}
	}
}

// TestTicketCachesByTheirKind: a name that is no path stays what it is, so that it can be refused by that name.
func TestTicketCachesByTheirKind(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{
		"KCM:1000": "KCM:1000", "KEYRING:persistent:0": "KEYRING:persistent:0", "cache": filepath.Join(dir, "cache"), "FILE:cache": filepath.Join(dir, "cache"), "": "",
		"FILE:" + filepath.Join(dir, "x"): "FILE:" + filepath.Join(dir, "x"),
	} {
		path := filepath.Join(dir, "fleetmend.yaml")
		if err := os.WriteFile(path, []byte("winrm: {auth: kerberos, ccache: '"+name+"'}\ndirectory: {ccache: '"+name+"'}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := read(path)
		if err != nil || s.WinRM.CCache != want || s.Directory.CCache != want {
			t.Errorf("%q became %q and %q, %v", name, s.WinRM.CCache, s.Directory.CCache, err)
		}
	}
}
