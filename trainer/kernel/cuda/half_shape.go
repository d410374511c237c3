//go:build gpu

package cuda

func planHalfView(k *prepared) {
	n := k.vectors()
	k.add("half_view", n, k.arg(0), k.arg(1), k.arg(2), k.arg(3), k.arg(4), n, k.C, k.H, k.W, k.Pad)
}

func planHalfShortcutForward(k *prepared) {
	n := k.images() * k.Padded(k.K) * k.OutH() * k.OutW() / vector
	k.add("half_shortcut_forward", n, k.arg(0), k.arg(1), n, k.C, k.H, k.W, k.K, k.Stride, k.OutH(), k.OutW())
}

func planHalfShortcutGrad(k *prepared) {
	n := k.vectors()
	k.add("half_shortcut_grad", n, k.arg(0), k.arg(1), n, k.C, k.H, k.W, k.K, k.Stride, k.OutH(), k.OutW())
}

func planHalfPoolForward(k *prepared) {
	n := k.images() * k.Padded(k.C) / lanes
	k.add("half_pool_forward", 32*n, k.arg(0), k.arg(1), n, k.C, k.plane())
}

func planHalfPoolGrad(k *prepared) { k.addHalfVectors("half_pool_grad") }

func planHalfFlatten(k *prepared) {
	k.add("half_flatten", k.inputs(), k.arg(0), k.arg(1), k.inputs(), k.C, k.plane())
}

func planHalfUnflatten(k *prepared) { k.addHalfVectors("half_unflatten") }

// addHalfVectors adds a launch from argument 0 to the vectors of argument 1.
func (k *prepared) addHalfVectors(name string) {
	k.add(name, k.vectors(), k.arg(0), k.arg(1), k.vectors(), k.C, k.plane())
}
