package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/trainer/kernel/cuda"
)

// What computes on GPUs is linked to the driver's library, without which it does not even start, and leaves where the library finds no GPU. So it is a program of
// its own, dither-gpu: the whole of dither with the kernel set cuda. dither is static and runs anywhere; where --kernels cuda is asked for it tries whether
// dither-gpu can work here, says why not, or becomes it. The children of a run are then dither-gpu too.

const (
	gpuProgram     = "dither-gpu"
	driverTries    = "driver"         // `dither-gpu driver` answers with a driverAnswer
	driverPatience = 60 * time.Second // for a driver that wakes its GPUs
)

// driverAnswer is what dither-gpu says of itself and of the driver.
type driverAnswer struct {
	Program string      `json:"program"` // versionString of dither-gpu
	Driver  cuda.Driver `json:"driver"`
}

// intoGPU becomes dither-gpu where a command is to compute on a GPU; it comes back with the reason why that cannot be, or where it need not.
func intoGPU(cmd *cobra.Command, _ []string) error {
	if f := cmd.Flags().Lookup("kernels"); f == nil || f.Value.String() != "cuda" || gpuBuild {
		return nil
	}
	program, err := findGPUProgram()
	if err == nil {
		err = tryDriver(cmd.Context(), program)
	}
	if err == nil {
		err = syscall.Exec(program, append([]string{program}, os.Args[1:]...), os.Environ())
	}
	return badInput(fmt.Errorf("--kernels cuda: %w; --kernels auto computes on the processor", err))
}

// findGPUProgram is where dither-gpu is: $DITHER_GPU, else beside this program.
func findGPUProgram() (string, error) {
	if named := os.Getenv("DITHER_GPU"); named != "" {
		if _, err := os.Stat(named); err != nil {
			return "", fmt.Errorf("DITHER_GPU names %s, which is not there", named)
		}
		return filepath.Abs(named)
	}
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	program := filepath.Join(filepath.Dir(exe), gpuProgram)
	if _, err := os.Stat(program); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no %s: build it by `make build-gpu`, or name one in DITHER_GPU", program)
	}
	return program, nil
}

// tryDriver asks dither-gpu what the driver says, in a process that may come to grief.
func tryDriver(ctx context.Context, program string) error {
	ctx, cancel := context.WithTimeout(ctx, driverPatience)
	defer cancel()
	c := exec.CommandContext(ctx, program, driverTries)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("the NVIDIA driver gave no answer in %v; look at what `nvidia-smi` and the kernel's log say", driverPatience)
	}
	visible, set := os.LookupEnv("CUDA_VISIBLE_DEVICES")
	if err != nil {
		return whyNoDriver(program, err, stdout.String(), stderr.String(), visible, set)
	}
	var a driverAnswer
	if err := json.Unmarshal(stdout.Bytes(), &a); err != nil {
		return fmt.Errorf("%s does not answer as dither's program for GPUs would (%q); is it another program?", program, firstLine(stdout.String()))
	}
	if a.Program != versionString() {
		return fmt.Errorf("%s is of version %s and this dither is %s: build both from one source, by `make build-gpu`", program, a.Program, versionString())
	}
	return a.Driver.Check(visible, set)
}

// whyNoDriver reads the end of a program that could not be linked to the driver's library, or that the package cu ended because cuInit failed.
func whyNoDriver(program string, err error, stdout, stderr, visible string, set bool) error {
	const cuSays = " for details on: "
	switch {
	case strings.Contains(stderr, "libcuda.so.1"):
		return errors.New("this machine has no NVIDIA driver (libcuda.so.1 cannot be loaded): install one, or give the container its GPUs, which brings it (docs/gpu.md)")
	case strings.Contains(stdout, cuSays):
		_, name, _ := strings.Cut(firstLine(stdout), cuSays)
		if name == "NoDevice" || name == "InvalidDevice" {
			return cuda.NoDevice(visible, set)
		}
		return fmt.Errorf("the NVIDIA driver does not start (cuInit says %s); look at what `nvidia-smi` says", name)
	case firstLine(stderr) != "":
		return fmt.Errorf("%s cannot be used: %s", program, strings.TrimPrefix(firstLine(stderr), "dither: "))
	}
	return fmt.Errorf("%s cannot be used: %w", program, err)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
