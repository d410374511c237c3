package checkpoint

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// network is what the names and shapes of parameters tell.
type network struct {
	model, shortcut   string
	classes, channels int
}

// Infer tells the network from names and shapes: "resnet20", "A" (or "B"), its classes and input channels; or "mlp", "", its classes and 0
// channels, where every parameter is a matrix or a vector. Anything else is ErrMismatch.
func (c *Checkpoint) Infer() (model, shortcut string, classes, channels int, err error) {
	n, err := infer(c.shapes())
	return n.model, n.shortcut, n.classes, n.channels, err
}

func (c *Checkpoint) shapes() map[string][]int {
	out := make(map[string][]int, len(c.Parameters))
	for _, t := range c.Parameters {
		out[t.Name] = t.Shape
	}
	return out
}

func infer(shapes map[string][]int) (network, error) {
	unknown := func(why string) (network, error) {
		return network{}, fmt.Errorf("it is no network that dither knows (%s): %w", why, ErrMismatch)
	}
	last := shapes["linear.weight"]
	if len(last) != 2 {
		return unknown("it has no matrix linear.weight or fc.weight")
	}
	first, conv := shapes["conv1.weight"]
	if !conv {
		for _, name := range slices.Sorted(maps.Keys(shapes)) {
			if len(shapes[name]) > 2 {
				return unknown(fmt.Sprintf("%s has shape %v but there is no conv1.weight", name, shapes[name]))
			}
		}
		return network{model: "mlp", classes: last[0]}, nil
	}
	// He et al. 2016, 4.2: a 3x3 convolution of 16 channels, then 3 stages of n blocks of 16, 32 and 64.
	if len(first) != 4 || first[0] != 16 || first[2] != 3 || first[3] != 3 {
		return unknown(fmt.Sprintf("conv1.weight has shape %v, where a CIFAR ResNet's is [16 C 3 3]", first))
	}
	if last[1] != 64 {
		return unknown(fmt.Sprintf("linear.weight has shape %v, where a CIFAR ResNet's is [classes 64]", last))
	}
	var blocks [4]int
	shortcut := "A"
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		var stage, block int
		if _, err := fmt.Sscanf(name, "layer%d.%d.", &stage, &block); err != nil {
			continue
		}
		if stage < 1 || stage > 3 || block < 0 || block >= len(shapes) {
			return unknown("it has " + name)
		}
		blocks[stage] = max(blocks[stage], block+1)
		if strings.Contains(name, ".shortcut.") {
			shortcut = "B"
		}
	}
	if blocks[1] == 0 || blocks[1] != blocks[2] || blocks[2] != blocks[3] {
		return unknown(fmt.Sprintf("its stages have %d, %d and %d blocks", blocks[1], blocks[2], blocks[3]))
	}
	return network{fmt.Sprintf("resnet%d", 6*blocks[1]+2), shortcut, last[0], first[1]}, nil
}

// Match holds the parameters to the names and shapes that a network wants. The error (ErrMismatch) says in one sentence which network it is instead,
// where that can be told, or names the first tensor that is missing, too many or of another shape.
func (c *Checkpoint) Match(want map[string][]int) error {
	have := c.shapes()
	if a, err := infer(have); err == nil {
		if b, err := infer(want); err == nil && a != b {
			return fmt.Errorf("it is %s, not %s: %w", a.against(b), b.against(a), ErrMismatch)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		shape, ok := have[name]
		if !ok {
			return fmt.Errorf("it has no tensor %s %v: %w", name, want[name], ErrMismatch)
		}
		if !slices.Equal(shape, want[name]) {
			return fmt.Errorf("tensor %s has shape %v, not %v: %w", name, shape, want[name], ErrMismatch)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if _, ok := want[name]; !ok {
			return fmt.Errorf("it has a tensor %s %v, which the network has not: %w", name, have[name], ErrMismatch)
		}
	}
	return nil
}

// against names n by what tells it from other.
func (n network) against(other network) string {
	text := "a " + n.model
	if n.model == "mlp" {
		text = "an mlp"
	}
	if n.model != other.model {
		return text
	}
	if n.shortcut != other.shortcut {
		text += " with shortcut " + n.shortcut
	}
	if n.classes != other.classes {
		text += fmt.Sprintf(" for %d classes", n.classes)
	}
	if n.channels != other.channels {
		text += fmt.Sprintf(" for %d channels", n.channels)
	}
	return text
}
