package host

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of the pages that the processor can map large memory by, which spares it most look-ups of addresses.
const hugePage = 2 << 20

// preferHuge asks for large pages under s. It is a hint: where they are not to be had, nothing changes.
func preferHuge[E any](s []E) {
	begin := uintptr(unsafe.Pointer(unsafe.SliceData(s)))
	end := begin + uintptr(len(s))*unsafe.Sizeof(s[0])
	page := uintptr(unix.Getpagesize())
	begin, end = (begin+page-1)/page*page, end/page*page
	if end < begin+hugePage {
		return
	}
	offset := begin - uintptr(unsafe.Pointer(unsafe.SliceData(s)))
	_ = unix.Madvise(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(s)), offset)), end-begin), unix.MADV_HUGEPAGE)
}
