package model

import (
	"fmt"
	"regexp"
	"strconv"

	"gorgonia.org/gorgonia"
)

var resnetName = regexp.MustCompile(`^resnet([0-9]+)$`)

func init() {
	register("resnet8, resnet14, resnet20, ... (6n+2)", func(s Spec) (network, error) {
		m := resnetName.FindStringSubmatch(s.Name)
		if m == nil {
			return nil, nil
		}
		depth, err := strconv.Atoi(m[1])
		if err != nil || depth < 8 || depth > 1202 || (depth-2)%6 != 0 {
			return nil, fmt.Errorf("there is no %s: a ResNet for images this small has 6n+2 layers, such as resnet20 or resnet56", s.Name)
		}
		if s.Shortcut != "A" && s.Shortcut != "B" {
			return nil, fmt.Errorf("shortcut %q of %s: it is A (pad) or B (projection)", s.Shortcut, s.Name)
		}
		return func(b *Builder, x *gorgonia.Node) *gorgonia.Node { return resnet(b, x, (depth-2)/6) }, nil
	})
}

// resnet is ResNet-6n+2 for CIFAR (He et al., "Deep residual learning for image recognition", 2016, section 4.2).
func resnet(b *Builder, x *gorgonia.Node, n int) *gorgonia.Node {
	x = b.ReLU("relu1", b.Norm("bn1", b.Conv("conv1", x, 16, 3, 1)))
	for stage, channels := range []int{16, 32, 64} {
		for block := range n {
			stride := 1
			if stage > 0 && block == 0 {
				stride = 2
			}
			x = basicBlock(b, fmt.Sprintf("layer%d.%d", stage+1, block), x, channels, stride)
		}
	}
	return b.Linear("linear", b.Pool("pool", x), b.Shape.Classes)
}

func basicBlock(b *Builder, name string, x *gorgonia.Node, channels, stride int) *gorgonia.Node {
	y := b.ReLU(name+".relu1", b.Norm(name+".bn1", b.Conv(name+".conv1", x, channels, 3, stride)))
	y = b.Norm(name+".bn2", b.Conv(name+".conv2", y, channels, 3, 1))
	if stride != 1 || x.Shape()[1] != channels {
		if b.Shortcut == "A" {
			x = b.Widen(name+".shortcut", x, channels, stride)
		} else {
			x = b.Norm(name+".shortcut.1", b.Conv(name+".shortcut.0", x, channels, 1, stride))
		}
	}
	return b.ReLU(name+".relu2", b.Add(name+".add", y, x))
}
