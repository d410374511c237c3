package cuda

// Arithmetic names the bits of the set in float32: those of package cpu's.
const Arithmetic = "cpu/2"

// HalfArithmetic names the bits of half precision, but for "-sm" and the compute capability, which a set's Arithmetic has behind it: how a tensor core adds up products is its own affair, so that GPUs
// of another compute capability are of another arithmetic.
const HalfArithmetic = "cuda-bf16/1"
