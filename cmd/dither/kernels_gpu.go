//go:build gpu

package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cuda"
)

const gpuBuild = true

func init() { commands = append(commands, newDriverCommand) }

// newDriverCommand is for dither to ask whether this program can work here.
func newDriverCommand(a *app) *cobra.Command {
	return &cobra.Command{Use: driverTries, Short: "Say what the NVIDIA driver and its GPUs are, as JSON", Example: "  dither driver", Args: noArgs, Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			d, err := cuda.AskDriver()
			if err != nil {
				return err
			}
			return json.NewEncoder(a.stdout).Encode(driverAnswer{versionString(), d})
		}}
}

// askDriver gives a driver that can be used.
func askDriver() (cuda.Driver, error) {
	d, err := cuda.AskDriver()
	if err == nil {
		err = d.Check(os.LookupEnv("CUDA_VISIBLE_DEVICES"))
	}
	if err != nil {
		return d, badInput(fmt.Errorf("--kernels cuda: %w", err))
	}
	return d, nil
}

// openCUDA takes a seat at each GPU that is wanted, which it gives back with the set on it.
func openCUDA(u gpuUser, half bool) (sets []kernel.Set, err error) {
	d, err := askDriver()
	if err != nil {
		return nil, err
	}
	seats, err := claimGPUs(d, u)
	if err != nil {
		return nil, err
	}
	for i, s := range seats {
		set, err := cuda.New(cuda.Options{Device: s.device, Half: half, Held: s.held})
		if err != nil {
			leave(seats[i:])
			closeAll(sets)
			return nil, badInput(fmt.Errorf("--kernels cuda: %w", err))
		}
		sets = append(sets, set)
	}
	return sets, nil
}
