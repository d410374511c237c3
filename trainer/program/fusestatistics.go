package program

import "github.com/dither-ml/dither/trainer/kernel"

// fuseStatistics lets a convolution add up the statistics of what it writes, which is then not read again for them:
//
//	y = ConvForward(x, w)
//	mean, variance, record = NormStats(y, shift)
//
// becomes
//
//	y, mean, variance, record = ConvForward+Stats(x, w, shift)
//
// and NormSums, of statistics over the whole batch, likewise.
func fuseStatistics(f *flow) {
	for s := range f.of(kernel.NormStats, kernel.NormSums) {
		y := s.Args[0]
		conv := f.made(y, kernel.ConvForward)
		if conv == nil || f.first(y) != s {
			continue
		}
		f.edit(conv, func() {
			conv.Op.After, conv.Op.RecordStride = kernel.Stats, s.Op.RecordStride
			if s.Op.Kind == kernel.NormSums {
				conv.Op.After = kernel.Sums
			}
			conv.extend(s.inputs()[1:], s.outputs())
		})
		f.sink(conv, s)
	}
}
