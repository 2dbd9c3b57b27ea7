package cli

import (
	"github.com/fleetmend/fleetmend/internal/terminal"

	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/zalando/go-keyring"
)

var keysCmds = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"nopassword": noPassword,
	"flip":       flipByte,
	"firstline":  firstLine,
}

// forms are the ways in which a password could leave: as it is, in UTF-16, in base64 and in hex.
func forms(password string) map[string][]byte {
	var wide []byte
	for _, unit := range utf16.Encode([]rune(password)) {
		wide = append(wide, byte(unit), byte(unit>>8))
	}
	return map[string][]byte{
		"plain": []byte(password), "UTF-16": wide,
		"base64": []byte(base64.StdEncoding.EncodeToString([]byte(password))[:12]), "base64 of UTF-16": []byte(base64.StdEncoding.EncodeToString(wide)[:12]),
		"hex": []byte(hex.EncodeToString([]byte(password))),
	}
}

// noPassword is the script command `nopassword FILE|FOLDER...`: no file there holds a recovery password of the script's
// tables, in clear, in UTF-16, in base64 or in hex.
func noPassword(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: nopassword FILE|FOLDER...")
	}
	var planted []string
	tables, err := filepath.Glob(ts.MkAbs("*.csv"))
	ts.Check(err)
	for _, table := range tables {
		planted = append(planted, recoveryPassword.FindAllString(ts.ReadFile(table), -1)...)
	}
	if len(planted) == 0 {
		ts.Fatalf("no table here holds a recovery password")
	}
	searched := 0
	for _, arg := range args {
		ts.Check(filepath.WalkDir(ts.MkAbs(arg), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			searched++
			for _, password := range planted {
				for _, text := range []string{password, strings.ReplaceAll(password, "-", "")} {
					for form, pattern := range forms(text) {
						if bytes.Contains(content, pattern) {
							ts.Fatalf("%s holds a recovery password (%s)", path, form)
						}
					}
				}
			}
			return err
		}))
	}
	if searched < len(args) {
		ts.Fatalf("only %d files searched", searched)
	}
}

var recoveryPassword = regexp.MustCompile(`[0-9]{6}(-[0-9]{6}){7}`)

// flipByte is the script command `flip FILE TEXT`: one bit of the first byte of the last TEXT in FILE changes.
func flipByte(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FILE TEXT")
	}
	content, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	at := bytes.LastIndex(content, []byte(args[1]))
	if at < 0 {
		ts.Fatalf("%s holds no %q", args[0], args[1])
	}
	content[at] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), content, 0o600))
}

// firstLine is the script command `firstline NAME`: the variable NAME becomes the first line that the last command printed.
func firstLine(ts *testscript.TestScript, neg bool, args []string) {
	line, _, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
	if neg || len(args) != 1 || line == "" {
		ts.Fatalf("usage: firstline NAME, after a command that printed something")
	}
	ts.Setenv(args[0], line)
}

// keyDesk runs commands in a folder of their own, with a table of one key and an identity that opens the vault.
func keyDesk(t *testing.T, table string) func(want int, args ...string) string {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"keys.csv": table, "config.yaml": "",
		"identity.txt": "AGE-SECRET-KEY-1M6K8UFMQ7QM82LCNLKH5E20XPFVYQA4ZWGXKLWHVPR2P8L4JPYES2LTPTY\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		code := execute(t.Context(), terminal.Streams{In: strings.NewReader(""), Out: &out, Err: &out, Width: 100},
			append([]string{"--config", "config.yaml", "--state-dir", "state"}, args...))
		if code != want {
			t.Fatalf("%q: exit code %d, want %d\n%s", args, code, want, out.String())
		}
		return out.String()
	}
	run(0, "keys", "protect", "--recipient", "age1srgf7nasm3vraersayt5dh266dnzf09n9kawuhugk7ddp4yguq5sjfd5zw")
	run(0, "keys", "import", "keys.csv", "--identity", "identity.txt")
	return run
}

func wants(t *testing.T, text, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(text) {
		t.Errorf("no %q in:\n%s", pattern, text)
	}
}

func TestKeyringUnlocks(t *testing.T) {
	keyring.MockInit()
	run := keyDesk(t, "KeyID,RecoveryKey\n9F00A1B2-0001-4D3C-9B8A-0123456789AB,397309-078848-274615-431123-052811-666798-376805-165770\n")
	show := []string{"keys", "show", "9F00A1B2", "--reason", "INC-1"}
	wants(t, run(1, show...), "vault is locked")
	run(1, "keys", "unlock")
	run(1, append(show, "--keyring")...)
	run(0, "keys", "unlock", "--identity", "identity.txt")
	wants(t, run(0, show...), "397309")
	wants(t, run(0, "keys", "status"), "unlocked by keyring")
	run(0, "keys", "lock")
	wants(t, run(1, show...), "vault is locked")
	wants(t, run(0, "keys", "lock"), "did not unlock it")
	wants(t, run(0, append(show, "--identity", "identity.txt")...), "397309")
}

// windowsVolume unpacks a volume made by Windows, which is no part of this project, into the folder of a key desk with a table.
func windowsVolume(t *testing.T, table string) (run func(want int, args ...string) string, image string) {
	t.Helper()
	folder := os.Getenv("FLEETMEND_LABS")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "..", "shared", "labs")
	}
	archive, err := filepath.Abs(filepath.Join(folder, "bitlk-images.tar.xz"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(archive); err != nil {
		t.Skip("no bitlk-images.tar.xz (set FLEETMEND_LABS to its folder)")
	}
	run = keyDesk(t, table)
	if out, err := exec.Command("tar", "-xJSf", archive, "bitlk-images/bitlk-aes-xts-128.img").CombinedOutput(); err != nil {
		t.Skipf("tar and xz are needed: %s", out)
	}
	return run, "bitlk-images/bitlk-aes-xts-128.img"
}

const rightForVolume = "235818-357951-253979-013365-241120-245575-342914-591910"

// A key without an ID is tried on a volume that its machine encrypted, as the volume says, and on no other's.
func TestVerifyTriesKeysWithoutID(t *testing.T) {
	run, image := windowsVolume(t, "hostname,recovery_key\nDESKTOP-NPM7RCB,"+rightForVolume+"\n")
	wants(t, run(3, "keys", "verify", image, "--identity", "identity.txt"), "no key is known")
	if err := os.WriteFile("hosts.csv", []byte("hostname,recovery_key\nDESKTOP-NPM7RCA,"+rightForVolume+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(0, "keys", "import", "hosts.csv", "--identity", "identity.txt")
	wants(t, run(0, "keys", "verify", image, "--identity", "identity.txt"), "opened by  64311DEA-4587-4029-924A-BA299647998E")
}

func TestVerifyLabVolume(t *testing.T) {
	const right, wrong = rightForVolume, "404558-436711-420860-678557-638220-018909-039941-695321"
	run, image := windowsVolume(t, "KeyID,RecoveryKey\n{9F00A1B2-0001-4D3C-9B8A-0123456789AB},"+wrong+"\n")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := run(3, "keys", "verify", image, "--identity", "identity.txt")
	wants(t, out, "protector  64311DEA-4587-4029-924A-BA299647998E  recovery-password")
	wants(t, out, "not opened no key is known.*csv:keys.csv")
	write("right", right+"\n")
	wants(t, run(0, "keys", "verify", image, "--key-file", "right"), "opened by  64311DEA-4587-4029-924A-BA299647998E")
	write("typo", strings.Replace(right, "253979", "253978", 1))
	wants(t, run(1, "keys", "verify", image, "--key-file", "typo"), "group 3")
	// A key with the right ID and another password, then the right one.
	write("keys.csv", "KeyID,RecoveryKey\n64311DEA-4587-4029-924A-BA299647998E,"+wrong+"\n")
	run(0, "keys", "import", "keys.csv", "--identity", "identity.txt")
	wants(t, run(3, "keys", "verify", image), "vault is locked")
	wants(t, run(3, "keys", "verify", image, "--identity", "identity.txt"), "right ID, but this key does not open the volume")
	write("keys.csv", "KeyID,RecoveryKey\n64311DEA-4587-4029-924A-BA299647998E,"+right+"\n")
	run(0, "keys", "import", "keys.csv", "--identity", "identity.txt")
	out = run(0, "keys", "verify", image, "--identity", "identity.txt")
	wants(t, out, "opened by  64311DEA-4587-4029-924A-BA299647998E")
	if strings.Contains(out, "235818") {
		t.Error("verify showed the password")
	}
	wants(t, run(0, "audit", "list", "--action", "verify", "-o", "csv"), "tried on "+image)
}
