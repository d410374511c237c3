//go:build gpu

package cuda

// #include <cuda.h>
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"gorgonia.org/cu"

	"github.com/dither-ml/dither/trainer/kernel"
)

// device is a GPU with a context of its own and the kernels loaded. Everything that is asked of the driver is asked by one goroutine (see run), from the queue.
type device struct {
	number  int
	name    string
	compute int // capability, 10 major + minor
	shared  int // bytes of shared memory that a block may ask for
	queue   chan task
	closed  chan struct{} // by close
	ended   chan struct{} // by the owner
	once    sync.Once
	holds   holds

	context C.CUcontext // for threads that wait for a mark

	// The owner's.
	module    cu.Module
	functions map[string]*function
	err       error        // the first that went wrong where nobody waited for it: from then on nothing is launched, and every Sync says so
	last      fmt.Stringer // that was enqueued
	spare     [][]byte     // pinned memory that no stream needs now
	bytes     int64        // allocated now,
	peak      int64        // and at most
}

// ahead is how many tasks may wait for the driver.
const ahead = 256

func openDevice(number int) (*device, error) {
	d := &device{number: number, queue: make(chan task, ahead), closed: make(chan struct{}), ended: make(chan struct{}), functions: map[string]*function{}, holds: holds{all: map[*held]struct{}{}}}
	ready := make(chan error)
	go d.run(ready)
	if err := <-ready; err != nil {
		return nil, err
	}
	return d, nil
}

func (d *device) String() string { return fmt.Sprintf("GPU %d (%s)", d.number, d.name) }

// run is the life of the goroutine that owns the context: current on one thread, which does nothing else.
func (d *device) run(ready chan<- error) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	context, err := d.open()
	ready <- err
	if err != nil {
		return
	}
	for {
		select {
		case t := <-d.queue:
			d.do(&t)
		case <-d.closed:
			for len(d.queue) > 0 {
				t := <-d.queue
				d.do(&t)
			}
			_ = context.Destroy() // and with it all that was allocated
			close(d.ended)
			return
		}
	}
}

func (d *device) do(t *task) {
	switch {
	case t.reply != nil:
		t.reply <- t.call()
		return
	case d.err != nil:
	case t.call != nil:
		d.fail(t.call(), t.what)
	default:
		d.enqueued(t)
	}
	if t.set > 0 {
		t.mark.tell(t.set, d.err)
	}
}

// upTo names what may have failed when the device says that something did.
func (d *device) upTo() string {
	if d.last == nil {
		return "waiting for the device"
	}
	return "some launch up to " + d.last.String()
}

// fail keeps the first error.
func (d *device) fail(err error, what string) {
	if other, is := errors.AsType[*elsewhere](err); is && d.err == nil {
		d.err = other.error
	}
	if err != nil && d.err == nil {
		d.err = fmt.Errorf("%v: %s: %w%s", d, what, err, remedy(err))
	}
}

// open makes the context and loads the kernels.
func (d *device) open() (context cu.CUContext, err error) {
	count, err := cu.NumDevices()
	if err != nil {
		return context, fmt.Errorf("counting the GPUs: %w", err)
	}
	if d.number < 0 || d.number >= count {
		return context, fmt.Errorf("there is no GPU %d; there are %d, counted from 0: %w", d.number, count, kernel.ErrUnsupported)
	}
	gpu, err := cu.GetDevice(d.number)
	if err == nil {
		d.name, err = gpu.Name()
	}
	if err != nil {
		return context, fmt.Errorf("GPU %d: %w", d.number, err)
	}
	major, minor, err := gpu.ComputeCapability()
	if err != nil {
		return context, fmt.Errorf("%v: asking for its compute capability: %w", d, err)
	}
	d.compute = 10*major + minor
	if d.shared, err = mostSharedOf(gpu); err != nil {
		return context, fmt.Errorf("%v: asking for its shared memory: %w", d, err)
	}
	if major < 8 {
		return context, fmt.Errorf("%v is of compute capability %d.%d; the kernels need 8.0 or later: %w", d, major, minor, kernel.ErrUnsupported)
	}
	if context, err = gpu.MakeContext(cu.SchedAuto); err != nil {
		return context, fmt.Errorf("%v: making a context: %w%s", d, err, remedy(err))
	}
	if err = result(C.cuCtxGetCurrent(&d.context)); err == nil {
		d.module, err = cu.LoadData(image)
	}
	if err != nil {
		_ = context.Destroy()
		return context, fmt.Errorf("%v is of compute capability %d.%d: loading the kernels: %w%s", d, major, minor, err, remedy(err))
	}
	return context, nil
}

// call has the owner call f, and waits for it.
func (d *device) call(f func() error) error {
	reply := make(chan error, 1)
	d.put(task{call: f, reply: reply})
	select {
	case err := <-reply:
		return err
	case <-d.ended:
		return errClosed
	}
}

// enqueue has the owner call f some time, after all that was enqueued before.
func (d *device) enqueue(f func() error, what string) {
	d.put(task{call: f, what: what})
}

// put does nothing once the set is closed.
func (d *device) put(t task) {
	select {
	case d.queue <- t:
	case <-d.closed:
	}
}

// close returns when all is given back.
func (d *device) close() {
	d.once.Do(func() { close(d.closed) })
	<-d.ended
}

// function is a kernel of src.
type function struct {
	cu.Function
	name     string
	launches int
	shared   int // bytes of dynamic shared memory that a block may have, above the default
}

// function finds it by its name, for the owner.
func (d *device) function(name string) (*function, error) {
	if f, ok := d.functions[name]; ok {
		return f, nil
	}
	f, err := d.module.Function(name)
	if err != nil {
		return nil, fmt.Errorf("%v: finding the kernel %s: %w", d, name, err)
	}
	d.functions[name] = &function{Function: f, name: name}
	return d.functions[name], nil
}

// launched is how often each kernel of src was launched.
func (d *device) launched() (map[string]int, error) {
	counts := map[string]int{}
	err := d.call(func() error {
		for name, f := range d.functions {
			counts[name] = f.launches
		}
		return nil
	})
	return counts, err
}
