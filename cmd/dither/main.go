// dither trains image classifiers by noisy self-distillation, on one machine or on many, with the same bits.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}
