package doctor

import (
	"slices"

	"golang.org/x/sys/unix"
)

// remote reports whether the folder lies on another machine's disk (statfs(2)).
func remote(dir string) bool {
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) != nil {
		return false
	}
	const cifs, smb2 = 0xFF534D42, 0xFE534D42
	return slices.Contains([]int64{unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.AFS_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC, unix.V9FS_MAGIC, cifs, smb2}, int64(fs.Type)&0xFFFFFFFF)
}
