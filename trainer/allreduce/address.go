package allreduce

import (
	"os"
	"strings"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// PickAddress chooses how to reach a trainer from a process on a host. Its address is "host:port" or "host:port,unix:/path"; the socket is taken where the trainer's process
// ("host:pid") is on the same host and the socket can be seen from here (a container may not see it). "" means that it has no address of a known form.
func PickAddress(member *ditherv1.Member, hostname string) string {
	process := member.GetProcess()
	host := process[:max(0, strings.LastIndexByte(process, ':'))]
	picked := ""
	for address := range strings.SplitSeq(member.GetAddress(), ",") {
		address = strings.TrimSpace(address)
		path, isUnix := strings.CutPrefix(address, "unix:")
		switch {
		case isUnix && host != "" && host == hostname && isSocket(path):
			return address
		case !isUnix && picked == "":
			picked = address
		}
	}
	return picked
}

func isSocket(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&os.ModeSocket != 0
}
