package wire

import (
	"crypto/rand"
	"fmt"
	"os"
	"regexp"

	"golang.org/x/sys/unix"
)

// The memory is a memfd: it has no name, and goes with the last process that has it open or mapped. A peer opens it through /proc, which works where both are in one
// container; elsewhere the path leads nowhere, or to something that is not this.
const memfdName = "dither-allreduce"

var memfdPath = regexp.MustCompile(`^/proc/[0-9]+/fd/[0-9]+$`)

// NewSegment makes memory to be shared. An error says why there can be none; the all-reduce does without.
func NewSegment() (*Segment, error) {
	fd, err := unix.MemfdCreate(memfdName, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("%w: memfd_create: %w", errNoSegment, err)
	}
	f := os.NewFile(uintptr(fd), memfdName)
	if err := f.Truncate(segmentBytes); err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: %w", errNoSegment, err)
	}
	// A reader of a file that shrinks would be killed.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW); err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: seal: %w", errNoSegment, err)
	}
	token := make([]byte, tokenBytes)
	rand.Read(token)
	s, err := mapSegment(fd, Share{Path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), Token: string(token), Slots: segmentSlots, SlotBytes: slotBytes}, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		f.Close()
		return nil, err
	}
	copy(s.head, token)
	s.closer = func() { f.Close() }
	return s, nil
}

// OpenSegment opens a peer's memory, to be read. An error says why it cannot be.
func OpenSegment(share *Share) (*Segment, error) {
	if share.Slots != segmentSlots || share.SlotBytes != slotBytes || len(share.Token) != tokenBytes || !memfdPath.MatchString(share.Path) {
		return nil, fmt.Errorf("%w: %d slots of %d bytes at %q are not of this version's kind", errNoSegment, share.Slots, share.SlotBytes, share.Path)
	}
	// What else might be there is not even opened.
	at, err := os.Readlink(share.Path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoSegment, err)
	}
	if at != "/memfd:"+memfdName+" (deleted)" {
		return nil, fmt.Errorf("%w: %s is %q here", errNoSegment, share.Path, at)
	}
	fd, err := unix.Open(share.Path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errNoSegment, share.Path, err)
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errNoSegment, share.Path, err)
	}
	if stat.Size != segmentBytes {
		return nil, fmt.Errorf("%w: %s has %d bytes, not %d", errNoSegment, share.Path, stat.Size, int64(segmentBytes))
	}
	if seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil || seals&unix.F_SEAL_SHRINK == 0 {
		return nil, fmt.Errorf("%w: %s could shrink", errNoSegment, share.Path)
	}
	s, err := mapSegment(fd, *share, unix.PROT_READ)
	if err != nil {
		return nil, err
	}
	if string(s.head[:tokenBytes]) != share.Token {
		return nil, fmt.Errorf("%w: what is at %s here does not begin as it should", errNoSegment, share.Path)
	}
	return s, nil
}

func mapSegment(fd int, share Share, protection int) (*Segment, error) {
	head, err := unix.Mmap(fd, 0, dataAt, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("%w: map: %w", errNoSegment, err)
	}
	data, err := unix.Mmap(fd, dataAt, segmentBytes-dataAt, protection, unix.MAP_SHARED)
	if err != nil {
		unix.Munmap(head)
		return nil, fmt.Errorf("%w: map: %w", errNoSegment, err)
	}
	return mapped(share, head, data, func(head, data []byte) { unix.Munmap(head); unix.Munmap(data) }), nil
}
