// Package cuda is the kernel set "cuda": every Kind on an NVIDIA GPU, through gorgonia.org/cu and kernels of our own (src/*.cu, compiled into kernels.fatbin and embedded). It is there under the build tag gpu alone.
//
// Its arithmetic is the CPU's, cpu/2 (see package cpu): float32 on CUDA cores, chains and trees in the CPU's order, so that a GPU gives a processor's bits. Activations lie plain, [images][C][H][W]: a
// block of channels is no part of the arithmetic, but for the squares of gradients, whose lanes the kernels follow.
//
// A kernel is a list of launches, laid out when it is prepared. One goroutine, on an operating system's thread of its own, owns the device's context: it takes launches and copies from a queue, so that who launches does not wait for the driver.
// A recording becomes a graph of the driver's, and is then one task; a mark is an event, for which any thread waits without the queue.
package cuda
