package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrNoLogits is wrapped where a file has no precomputed logits.
var ErrNoLogits = errors.New("no precomputed logits")

// LoadLogits reads precomputed logits from a safetensors file: its tensor `logits`, F32 [samples][classes], row-major, and the sha256 (hex) of that tensor's bytes.
func LoadLogits(path string) (values []float32, sha string, err error) {
	data, err := readFile(path)
	if err != nil {
		return nil, "", err
	}
	if values, sha, err = DecodeLogits(data); err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return values, sha, err
}

// DecodeLogits is LoadLogits for a file's bytes.
func DecodeLogits(data []byte) (values []float32, sha string, err error) {
	tensors, _, err := parseSafetensors(data)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrNoLogits, err)
	}
	raw, there := tensors["logits"]
	if !there || raw.DType != "F32" || len(raw.Shape) != 2 {
		return nil, "", fmt.Errorf("%w: there is no tensor `logits` of type F32 with two dimensions", ErrNoLogits)
	}
	if values, err = raw.Float32s(); err != nil {
		return nil, "", err
	}
	for i, v := range values {
		if v-v != 0 {
			return nil, "", fmt.Errorf("logit %d of sample %d is %v; every logit must be finite", i%raw.Shape[1], i/raw.Shape[1], v)
		}
	}
	sum := sha256.Sum256(raw.Data)
	return values, hex.EncodeToString(sum[:]), nil
}

// Restore gives each parameter to load, after Match has found that they are those that a network wants.
func (c *Checkpoint) Restore(want map[string][]int, load func(name string, v []float32) error) error {
	if err := c.Match(want); err != nil {
		return err
	}
	for _, t := range c.Parameters {
		if err := load(t.Name, t.Data); err != nil {
			return err
		}
	}
	return nil
}
