package vector

// generic is the primitives in plain Go.
var generic = Set{
	Name:             "generic",
	Multiply:         multiplyPositions,
	Accumulate:       accumulatePositions,
	Convolve:         convolve,
	ConvolveGrad:     convolveGrad,
	InputTiles:       inputTiles,
	GradTiles:        gradTiles,
	OutputTiles:      outputTiles,
	WeightTiles:      weightTiles,
	WeightGradTiles:  weightGradTiles,
	Norm:             norm,
	NormReLU:         normReLU,
	NormAddReLU:      normAddReLU,
	NormGrad:         normGrad,
	Scale:            scale,
	Sums:             sums,
	GradSums:         gradSums,
	NormReLUGradSums: normReLUGradSums,
	AddReLUGradSums:  addReLUGradSums,
	Add:              addElements,
	ReLU:             reluElements,
	ReLUGrad:         reluGrad,
	SGD:              sgd,
	Average:          average,
}
