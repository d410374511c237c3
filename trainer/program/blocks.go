package program

// imagesOf is what belongs to images [from, to) of n; nil of nil.
func imagesOf[E any](v []E, n, from, to int) []E { return v[len(v)/n*from : len(v)/n*to] }
