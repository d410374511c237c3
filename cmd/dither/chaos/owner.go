package chaos

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// Owner says which of some processes (by pid) holds the other end of a connection on this machine, as Linux tells in /proc; false where it cannot be told.
func Owner(c net.Conn, pids map[int]string) (string, bool) {
	near, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return "", false
	}
	far := c.LocalAddr().(*net.TCPAddr)
	socket := ""
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		if socket = socketOf(table, near.Port, far.Port); socket != "" {
			break
		}
	}
	if socket == "" {
		return "", false
	}
	for pid, name := range pids {
		open, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, fd := range open {
			if what, err := os.Readlink(fd); err == nil && what == socket {
				return name, true
			}
		}
	}
	return "", false
}

// socketOf finds "socket:[INODE]" of the connection between two ports in a table of the kernel's.
func socketOf(table string, local, remote int) string {
	f, err := os.Open(table)
	if err != nil {
		return ""
	}
	defer f.Close()
	from, to := fmt.Sprintf(":%04X", local), fmt.Sprintf(":%04X", remote)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// sl local_address rem_address st queues timer retransmits uid timeout inode ...
		if w := strings.Fields(lines.Text()); len(w) > 9 && strings.HasSuffix(w[1], from) && strings.HasSuffix(w[2], to) {
			return "socket:[" + w[9] + "]"
		}
	}
	return ""
}
