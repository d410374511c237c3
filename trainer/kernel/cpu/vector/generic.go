package vector

import "unsafe"

// generic is the primitives in plain Go.
var generic = Set{
	Name: "generic", Multiply: multiply, Accumulate: accumulate,
	InputTiles: inputTiles, GradTiles: gradTiles, OutputTiles: outputTiles, WeightTiles: weightTiles, WeightGradTiles: weightGradTiles,
	Norm: norm, NormReLU: normReLU, NormAddReLU: normAddReLU, NormGrad: normGrad, Scale: scaleRows,
	Sums: sums, GradSums: gradSums, NormReLUGradSums: normReLUGradSums, AddReLUGradSums: addReLUGradSums,
	Add: add, ReLU: reluAll, ReLUGrad: reluGrad, SGD: sgd, Average: average,
}

// lane is one vector.
type lane = [Lanes]float32

// at is the vector i elements behind p.
func at(p *float32, i int) *lane { return (*lane)(unsafe.Add(unsafe.Pointer(p), 4*i)) }

// from is the element i elements behind p.
func from(p *float32, i int) *float32 { return (*float32)(unsafe.Add(unsafe.Pointer(p), 4*i)) }
