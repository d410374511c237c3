// Package checkpoint keeps the state of a network: it saves and hashes dither's own checkpoints, and reads what others trained
// (PyTorch's files, without executing anything of them, and safetensors). docs/checkpoints.md defines every byte of it.
package checkpoint

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a checkpoint can be refused for; every error of this package wraps one of these, or the operating system's.
var (
	// ErrCut: the file ends before it should.
	ErrCut = errors.New("the file is cut short")
	// ErrFormat: the bytes are not what they should be.
	ErrFormat = errors.New("not a checkpoint that can be read")
	// ErrRefused: a pickle asks for something to be called.
	ErrRefused = errors.New("refused, nothing of it was run")
	// ErrHash: the parameters are not those that the file says it holds.
	ErrHash = errors.New("the parameters are not those that were saved")
	// ErrDuplicate: two tensors have one name.
	ErrDuplicate = errors.New("duplicate tensor name")
	// ErrMismatch: the tensors are those of another network.
	ErrMismatch = errors.New("another network")
	// ErrRange: a number does not fit into float32.
	ErrRange = errors.New("out of float32's range")
)

// Tensor is a named array of float32, row-major, the last dimension contiguous. Invariant: the product of Shape is len(Data).
type Tensor struct {
	Name  string
	Shape []int
	Data  []float32
}

// Meta says where the parameters come from. Fields that do not apply are zero.
type Meta struct {
	Version    string // of the binary that wrote it
	SpecSHA256 string // the run's identity
	Arithmetic string // "cpu/2"
	Model      string // "resnet20"
	Shortcut   string // "A" or "B"
	Dataset    string // "cifar10"
	Iteration  uint32 // last applied iteration

	Classes, Channels, Height, Width int       // Height and Width are 0 where only shapes of parameters told the rest
	Mean, Std                        []float64 // of the input's normalisation [Channels]; nil where unknown

	ParametersSHA256 string // "sha256:<hex>" of the parameters; Encode writes the true one whatever stands here
	Source           string // "pytorch" or "safetensors" for what others trained
}

// Checkpoint is all that a run needs to go on after an iteration.
type Checkpoint struct {
	Meta Meta
	// Parameters are the trainable parameters and the running statistics, sorted by name.
	Parameters []Tensor
	// Momentum has one tensor for each trainable parameter, sorted by name; nil where there is none.
	Momentum []Tensor
}

// Trainable tells a trainable parameter from a running statistic.
func Trainable(name string) bool {
	return !strings.HasSuffix(name, ".running_mean") && !strings.HasSuffix(name, ".running_var")
}

// Hash is the parameters sha256, "sha256:<hex>", over trainable parameters and running statistics (docs/checkpoints.md has the layout).
func (c *Checkpoint) Hash() string { return hashTensors(c.Parameters) }

// Check says what breaks the invariants of a checkpoint: names that repeat, data that is not of its shape, momentum that is not the parameters'.
func (c *Checkpoint) Check() error {
	shapes := make(map[string][]int, len(c.Parameters))
	trainable := 0
	for _, t := range c.Parameters {
		if _, ok := shapes[t.Name]; ok {
			return fmt.Errorf("tensor %s comes twice: %w", t.Name, ErrDuplicate)
		}
		if err := t.check(); err != nil {
			return err
		}
		shapes[t.Name] = t.Shape
		if Trainable(t.Name) {
			trainable++
		}
	}
	seen := make(map[string]bool, len(c.Momentum))
	for _, t := range c.Momentum {
		if seen[t.Name] {
			return fmt.Errorf("momentum of %s comes twice: %w", t.Name, ErrDuplicate)
		}
		seen[t.Name] = true
		if err := t.check(); err != nil {
			return err
		}
		if shape, ok := shapes[t.Name]; !ok || !Trainable(t.Name) || !slices.Equal(shape, t.Shape) {
			return fmt.Errorf("momentum of %s has no trainable parameter of its name and shape %v: %w", t.Name, t.Shape, ErrFormat)
		}
	}
	if len(seen) != 0 && len(seen) != trainable {
		return fmt.Errorf("there is momentum for %d of %d trainable parameters: %w", len(seen), trainable, ErrFormat)
	}
	return nil
}

func (t *Tensor) check() error {
	if t.Name == "" || !printable(t.Name) || strings.HasPrefix(t.Name, momentumPrefix) {
		return fmt.Errorf("a tensor is named %q, which no parameter can be: %w", t.Name, ErrFormat)
	}
	if n, ok := product(t.Shape, len(t.Data)); !ok || n != len(t.Data) {
		return fmt.Errorf("tensor %s holds %d numbers, its shape %v says otherwise: %w", t.Name, len(t.Data), t.Shape, ErrFormat)
	}
	return nil
}

// printable says that a name can be shown on a terminal as it is.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// product is the number of elements of a shape; false for a negative size or more than limit elements.
func product(shape []int, limit int) (int, bool) {
	if slices.Contains(shape, 0) {
		return 0, slices.Min(shape) == 0
	}
	n := 1
	for _, d := range shape {
		if d < 0 || d > limit/n {
			return 0, false
		}
		n *= d
	}
	return n, n <= limit
}

func sorted(ts []Tensor) []Tensor {
	byName := func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(ts, byName) {
		ts = slices.Clone(ts)
		slices.SortStableFunc(ts, byName)
	}
	return ts
}

func hashTensors(ts []Tensor) string {
	h := sha256.New()
	for _, t := range sorted(ts) {
		hashString(h, t.Name)
		hashString(h, "F32")
		var b [8]byte
		binary.LittleEndian.PutUint32(b[:4], uint32(len(t.Shape)))
		h.Write(b[:4])
		for _, d := range t.Shape {
			binary.LittleEndian.PutUint64(b[:], uint64(d))
			h.Write(b[:])
		}
		writeFloats(h, t.Data) // a hash never fails
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

func hashString(h hash.Hash, s string) {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], uint32(len(s)))
	h.Write(b[:])
	io.WriteString(h, s)
}

// writeFloats writes little-endian float32, a buffer at a time so that a tensor is never held twice.
func writeFloats(w io.Writer, data []float32) error {
	var buf [16 << 10]byte
	for len(data) > 0 {
		n := min(len(data), len(buf)/4)
		for i, v := range data[:n] {
			binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(v))
		}
		if _, err := w.Write(buf[:4*n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}
