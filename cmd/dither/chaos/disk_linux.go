package chaos

import "golang.org/x/sys/unix"

// FillDisk makes every file of a process fail to grow, as on a full disk.
func FillDisk(pid int) error {
	limit := unix.Rlimit{Cur: 1, Max: 1}
	return unix.Prlimit(pid, unix.RLIMIT_FSIZE, &limit, nil)
}
