package kernel

import "fmt"

// NoMemory is Alloc's error where there is not so much memory: whoever asked can work out what would fit.
type NoMemory struct {
	Where string // "GPU 0 (NVIDIA H200)"; "": this machine
	Asked int64  // bytes
	Free  int64  // bytes, as the system or the device counts them
	Err   error  // the device's; nil: it was not even tried
}

func (e *NoMemory) Error() string {
	where := ""
	if e.Where != "" {
		where = e.Where + ": "
	}
	return fmt.Sprintf("%sallocating %d bytes: %d bytes are free", where, e.Asked, e.Free)
}

func (e *NoMemory) Unwrap() error { return e.Err }
