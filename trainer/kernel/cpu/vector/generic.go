package vector

// generic is the primitives in plain Go.
var generic = Set{Name: "generic"}
