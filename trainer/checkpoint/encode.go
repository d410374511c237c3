package checkpoint

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// momentumPrefix marks a momentum tensor in a file.
const momentumPrefix = "momentum."

// Encode writes c as safetensors: momentum first as "momentum.NAME", then the parameters, each sorted by name, and Meta as __metadata__.
// The bytes are a function of c.
func (c *Checkpoint) Encode(w io.Writer) error {
	if err := c.Check(); err != nil {
		return fmt.Errorf("encoding a checkpoint: %w", err)
	}
	m := c.Meta
	m.ParametersSHA256 = c.Hash()
	meta := m.metadata(kindCheckpoint)
	var entries []entry
	if len(c.Momentum) > 0 {
		meta[momentumHashKey] = hashTensors(c.Momentum)
		entries = floatEntries(c.Momentum, func(name string) string { return momentumPrefix + name })
	}
	entries = append(entries, floatEntries(c.Parameters, func(name string) string { return name })...)
	return writeSafetensors(w, entries, meta)
}

// Decode is the way back. The parameters and the momentum are checked against the hashes in the file.
func Decode(data []byte) (*Checkpoint, error) {
	tensors, meta, err := parseSafetensors(data)
	if err != nil {
		return nil, err
	}
	return fromSafetensors(tensors, meta)
}

func fromSafetensors(tensors map[string]Raw, meta map[string]string) (*Checkpoint, error) {
	if kind := meta[kindKey]; kind != kindCheckpoint {
		return nil, fmt.Errorf("it is marked %s=%q, where %q is what this version reads: %w", kindKey, kind, kindCheckpoint, ErrFormat)
	}
	m, err := parseMeta(meta)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Meta: m}
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		raw := tensors[name]
		if raw.DType != "F32" {
			return nil, fmt.Errorf("tensor %s is %s, a checkpoint has F32 only: %w", name, raw.DType, ErrFormat)
		}
		values, err := raw.Float32s()
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", name, err)
		}
		if base, ok := strings.CutPrefix(name, momentumPrefix); ok {
			c.Momentum = append(c.Momentum, Tensor{base, raw.Shape, values})
		} else {
			c.Parameters = append(c.Parameters, Tensor{name, raw.Shape, values})
		}
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	if err := checkHash("parameters", m.ParametersSHA256, c.Hash()); err != nil {
		return nil, err
	}
	if len(c.Momentum) > 0 || meta[momentumHashKey] != "" {
		if err := checkHash("momentum", meta[momentumHashKey], hashTensors(c.Momentum)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func checkHash(what, said, is string) error {
	if said == is {
		return nil
	}
	return fmt.Errorf("its %s are %s but it says %q; the file is damaged, go back to an earlier one: %w", what, is, said, ErrHash)
}

// Save writes c to path, whole or not at all: written aside, synced, renamed, the folder synced.
func Save(path string, c *Checkpoint) error { return writeAside(path, c.Encode) }

// Export writes the parameters alone to path as plain safetensors in torchvision's naming (downsample, fc), which load_state_dict takes as it is.
func (c *Checkpoint) Export(path string) error {
	if err := c.Check(); err != nil {
		return fmt.Errorf("exporting to %s: %w", path, err)
	}
	renamed := make([]Tensor, len(c.Parameters))
	for i, t := range c.Parameters {
		renamed[i] = Tensor{foreignName(t.Name), t.Shape, t.Data}
	}
	m := c.Meta
	m.ParametersSHA256 = c.Hash()
	meta := m.metadata(kindExport)
	meta["format"] = "pt" // what loaders of safetensors look for
	entries := floatEntries(renamed, func(name string) string { return name })
	return writeAside(path, func(w io.Writer) error { return writeSafetensors(w, entries, meta) })
}

func floatEntries(ts []Tensor, name func(string) string) []entry {
	out := make([]entry, 0, len(ts))
	for _, t := range sorted(ts) {
		out = append(out, entry{name(t.Name), "F32", t.Shape, 4 * len(t.Data), func(w io.Writer) error { return writeFloats(w, t.Data) }})
	}
	return out
}
