package statefolder

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// networkTypes are the f_type of statfs(2) whose locks or shared memory do not reach other computers, from linux/magic.h and
// the sources of those that are not there.
var networkTypes = map[uint32]string{
	0x6969: "NFS", 0x517b: "SMB", 0xff534d42: "SMB", 0xfe534d42: "SMB", 0x01021997: "9p", 0x00c36400: "Ceph", 0x5346414f: "AFS", 0x6b414653: "AFS",
	0x73757245: "Coda", 0x564c: "NCP", 0x0bd00bd0: "Lustre", 0x19830326: "BeeGFS", 0x47504653: "GPFS", 0x786f4256: "VirtualBox shared folder",
}

const fuse = 0x65735546

// networkFuse are the file systems of FUSE that are on other computers, as /proc/self/mountinfo names them. All others are taken for
// local ones: mergerfs, gocryptfs, ntfs-3g lie on disks of this computer.
var networkFuse = []string{"sshfs", "davfs", "rclone", "s3fs", "glusterfs", "gcsfuse", "blobfuse", "blobfuse2", "cephfs", "smbnetfs", "curlftpfs", "gvfsd-fuse", "vmhgfs-fuse"}

func kindOf(path string) (string, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return "", err
	}
	kind := uint32(s.Type) //nolint:gosec // the magic numbers have 32 bits
	if kind != fuse {
		return networkTypes[kind], nil
	}
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil { // not to be told: FUSE is mostly local
		return "", nil //nolint:nilerr // as said
	}
	defer mounts.Close() //nolint:errcheck // only read
	full, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return fuseKind(bufio.NewScanner(mounts), full), nil
}

// fuseKind finds the mount that a path is on, the last of those with the longest mount point (proc(5), mountinfo).
func fuseKind(lines *bufio.Scanner, path string) string {
	found, longest := "", -1
	for lines.Scan() {
		before, after, _ := strings.Cut(lines.Text(), " - ")
		fields, kinds := strings.Fields(before), strings.Fields(after)
		if len(fields) < 5 || len(kinds) == 0 {
			continue
		}
		point := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[4])
		inside := point == "/" || path == point || strings.HasPrefix(path, point+"/")
		if inside && len(point) >= longest {
			found, longest = kinds[0], len(point)
		}
	}
	for _, name := range networkFuse {
		if found == "fuse."+name {
			return name
		}
	}
	return ""
}
