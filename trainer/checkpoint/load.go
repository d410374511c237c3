package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Load reads a checkpoint: dither's own, others' safetensors, or PyTorch's (the pickle stream of before 1.6 and the zip of today; a state dict or
// a dict that holds one). Nothing in a file is executed. Names come out as dither's, numbers as float32; what others trained has its Source set,
// and its model, classes and channels as far as the shapes tell them. A missing file is fs.ErrNotExist.
func Load(path string) (*Checkpoint, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	c, err := decodeAny(data)
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", path, err)
	}
	return c, nil
}

// decodeAny tells the formats apart by their first bytes.
func decodeAny(data []byte) (*Checkpoint, error) {
	switch {
	case len(data) == 0:
		return nil, fmt.Errorf("it is empty: %w", ErrCut)
	case len(data) > 8 && data[8] == '{' && binary.LittleEndian.Uint64(data) <= maxHeader:
		tensors, meta, err := parseSafetensors(data)
		if err != nil {
			return nil, err
		}
		if kind := meta[kindKey]; kind != "" && kind != kindExport {
			return fromSafetensors(tensors, meta)
		}
		return importTensors(tensors, meta, "safetensors")
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		tensors, err := readTorchZip(data)
		if err != nil {
			return nil, err
		}
		return importTensors(tensors, nil, "pytorch")
	case data[0] == opProto:
		tensors, err := readTorchStream(data)
		if err != nil {
			return nil, err
		}
		return importTensors(tensors, nil, "pytorch")
	}
	return nil, fmt.Errorf("it begins with %q, as neither safetensors nor a file of PyTorch does: %w", data[:min(8, len(data))], ErrFormat)
}

// importTensors makes a checkpoint of what others call their tensors.
func importTensors(tensors map[string]Raw, meta map[string]string, source string) (*Checkpoint, error) {
	c := &Checkpoint{}
	if meta[kindKey] == kindExport { // dither wrote it: the metadata can be trusted to mean what it says
		m, err := parseMeta(meta)
		if err != nil {
			return nil, err
		}
		c.Meta = m
	}
	from := map[string]string{}
	for _, theirs := range slices.Sorted(maps.Keys(tensors)) {
		name, keep := ourName(theirs)
		if !keep {
			continue
		}
		if other, ok := from[name]; ok {
			return nil, fmt.Errorf("%s and %s are both %s here: %w", other, theirs, name, ErrDuplicate)
		}
		from[name] = theirs
		raw := tensors[theirs]
		values, err := raw.Float32s()
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", theirs, err)
		}
		c.Parameters = append(c.Parameters, Tensor{name, raw.Shape, values})
	}
	if len(c.Parameters) == 0 {
		return nil, fmt.Errorf("it holds no tensor: %w", ErrFormat)
	}
	slices.SortFunc(c.Parameters, func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) })
	if err := c.Check(); err != nil {
		return nil, err
	}
	hash := c.Hash()
	if said := c.Meta.ParametersSHA256; said != "" {
		if err := checkHash("parameters", said, hash); err != nil {
			return nil, err
		}
	}
	c.Meta.ParametersSHA256 = hash
	c.Meta.Source = cmp.Or(c.Meta.Source, source)
	if model, shortcut, classes, channels, err := c.Infer(); err == nil {
		c.Meta.Model, c.Meta.Shortcut, c.Meta.Classes = model, shortcut, classes
		c.Meta.Channels = cmp.Or(channels, c.Meta.Channels)
	}
	return c, nil
}
