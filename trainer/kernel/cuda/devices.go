//go:build gpu

package cuda

import (
	"fmt"

	"gorgonia.org/cu"
)

// AskDriver lists the GPUs. It makes no context on any.
func AskDriver() (Driver, error) {
	d := Driver{Version: cu.Version(), Devices: []Device{}}
	n, err := cu.NumDevices()
	if err != nil {
		return d, fmt.Errorf("counting the GPUs: %w", err)
	}
	for i := range n {
		device, err := describe(i)
		if err != nil {
			return d, fmt.Errorf("asking GPU %d what it is: %w", i, err)
		}
		d.Devices = append(d.Devices, device)
	}
	return d, nil
}

func describe(i int) (Device, error) {
	d, err := cu.GetDevice(i)
	if err != nil {
		return Device{}, err
	}
	name, err := d.Name()
	if err != nil {
		return Device{}, err
	}
	uuid, err := d.UUID()
	if err != nil {
		return Device{}, err
	}
	major, err := d.Attribute(cu.ComputeCapabilityMajor)
	if err != nil {
		return Device{}, err
	}
	minor, err := d.Attribute(cu.ComputeCapabilityMinor)
	if err != nil {
		return Device{}, err
	}
	bytes, err := d.TotalMem()
	return Device{Name: name, UUID: "GPU-" + uuid.String(), Compute: 10*major + minor, Bytes: bytes}, err
}
