package statefolder

import (
	"bufio"
	"strings"
	"testing"
)

func TestFuse(t *testing.T) {
	const mounts = `21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
40 21 0:50 / /mnt/far\040away rw,nosuid shared:9 - fuse.sshfs ada@host:/ rw
41 21 0:51 / /mnt/stick rw - fuseblk /dev/sdb1 rw
42 40 0:52 / /mnt/far\040away/near rw - fuse.gocryptfs x rw
`
	for path, want := range map[string]string{
		"/mnt/far away": "sshfs", "/mnt/far away/state": "sshfs", "/mnt/far away/near/state": "", "/mnt/far awayness": "", "/mnt/stick/x": "", "/var": "",
	} {
		if got := fuseKind(bufio.NewScanner(strings.NewReader(mounts)), path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
