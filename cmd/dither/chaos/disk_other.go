//go:build !linux

package chaos

import "errors"

// FillDisk makes every file of a process fail to grow, as on a full disk.
func FillDisk(int) error {
	return errors.New("a full disk can be had on Linux alone; leave disk out of --faults")
}
