package program

import "github.com/dither-ml/dither/trainer/kernel"

// What follows reads and writes a program's memory in float64, which the reference set has and the product never needs.

func (m *machine) float64s(mem kernel.Memory) []float64 {
	v := make([]float64, mem.Len())
	m.stream.Read(v, mem)
	if err := m.stream.Sync(); err != nil {
		panic(err)
	}
	return v
}

func (p *Inference) LogitsFloat64(pixels []byte, n int, out []float64) error {
	if err := p.Logits(pixels, nil, n, make([]float32, len(out))); err != nil {
		return err
	}
	copy(out, p.machine.float64s(p.logits.Memory.Slice(0, len(out))))
	return nil
}

func (t *Training) WriteSoftLabels(v []float64) {
	t.machine.stream.Write(t.rooms[t.sent].soft.memory, v)
}

func (t *Training) LossFloat64() []float64 { return t.machine.float64s(t.loss.Memory) }

// GradientFloat64 is the first group's gradient of a parameter.
func (t *Training) GradientFloat64(name string) []float64 {
	p := t.places[name]
	return t.machine.float64s(t.grads[p.bucket].Memory.Slice(p.inBucket, p.inBucket+p.parameter.Len()))
}

func (t *Training) ReadFloat64(name string) []float64 {
	v := make([]float64, t.places[name].parameter.Len())
	if err := t.read(t.theta, name, v, len(v)); err != nil {
		panic(err)
	}
	return v
}

// SquaredNormsFloat64 is SquaredNorms without rounding to float32.
func (p *SquaredNorm) SquaredNormsFloat64(pixels []byte, n int, out []float64) error {
	if err := p.SquaredNorms(pixels, n, make([]float32, len(out))); err != nil {
		return err
	}
	copy(out, p.machine.float64s(p.squares.Memory.Slice(0, len(out))))
	return nil
}
