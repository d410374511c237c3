package model

import "gorgonia.org/gorgonia"

func init() {
	register("mlp", func(s Spec) (network, error) {
		if s.Name != "mlp" {
			return nil, nil
		}
		return mlp, nil
	})
}

// mlp is a perceptron with one hidden layer of 128: small, and without BatchNorm.
func mlp(b *Builder, x *gorgonia.Node) *gorgonia.Node {
	h := b.ReLU("relu1", b.Linear("hidden", b.Flatten("flatten", x), 128))
	return b.Linear("linear", h, b.Shape.Classes)
}
