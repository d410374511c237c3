package program

import "github.com/dither-ml/dither/trainer/kernel"

// pack emits, for a set of half precision, the weights of all convolutions as it takes them: rounded and in its order, of the parameters as they are when the step begins.
func (l *lowering) pack() {
	if !l.half {
		return
	}
	var index []int32
	all := &Value{Name: "packed weights", kind: kernel.Half}
	for _, p := range l.state.list {
		if len(p.Shape) != 4 {
			continue
		}
		place := l.state.places[p.Name]
		packing := kernel.Op{K: p.Shape[0], C: p.Shape[1], R: p.Shape[2], Block: l.block}.Packing()
		from := len(index)
		for _, i := range packing {
			if i >= 0 {
				i += int32(place.offset)
			}
			index = append(index, i)
		}
		l.packed[p.Name] = all.piece("packed "+p.Name, from, len(packing))
		for len(index)%align != 0 {
			index = append(index, -1)
		}
	}
	if len(index) == 0 {
		return
	}
	all.Len = len(index)
	l.emit(kernel.Op{Kind: kernel.Gather, Groups: 1, N: 1, C: l.state.parameters, H: 1, W: 1, K: len(index), Half: true}, 1, l.state.theta, l.state.machine.table("packing", index), all)
}
