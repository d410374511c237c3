package ols

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// preferHuge asks for pages of 2 MiB under s, so that a large path costs few faults as it is first written. It is a hint: where they are not to be had, nothing changes.
func preferHuge(s []float64) {
	const huge = 2 << 20
	begin := uintptr(unsafe.Pointer(unsafe.SliceData(s)))
	end := begin + uintptr(len(s))*8
	first, last := (begin+huge-1)/huge*huge, end/huge*huge
	if first >= last {
		return
	}
	_ = unix.Madvise(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(s)), first-begin)), last-first), unix.MADV_HUGEPAGE)
}
