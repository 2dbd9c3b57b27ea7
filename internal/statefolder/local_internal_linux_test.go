package statefolder

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

func TestFuse(t *testing.T) {
	const mounts = `21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
40 21 0:50 / /mnt/far\040away rw,nosuid shared:9 - fuse.sshfs ada@host:/ rw
41 21 0:51 / /mnt/stick rw - fuseblk /dev/sdb1 rw
42 40 0:52 / /mnt/far\040away/near rw - fuse.gocryptfs x rw
43 21 0:53 / /pool rw - fuse.mergerfs a:b rw
`
	for path, want := range map[string]string{
		"/mnt/far away": "sshfs", "/mnt/far away/state": "sshfs", "/mnt/far away/near/state": "", "/mnt/far awayness": "", "/mnt/stick/x": "", "/pool/state": "", "/var": "",
	} {
		if got := fuseKind(bufio.NewScanner(strings.NewReader(mounts)), path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestAFolderThatCanOnlyBeRead(t *testing.T) {
	if !ReadOnly("/sys") { // nobody makes files there
		t.Error("/sys can be written")
	}
	dir := t.TempDir()
	if ReadOnly(dir) || ReadOnly(dir+"/none") {
		t.Error("a new folder cannot be written, or one that is not there is write-protected")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
