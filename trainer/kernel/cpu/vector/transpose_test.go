package vector

import (
	"math/rand/v2"
	"testing"
)

// Every set moves each element to its place and nothing else, at sizes round the squares of both assemblies.
func TestTranspose(t *testing.T) {
	const most, pitch = 37, 41
	r := rand.New(rand.NewPCG(1, 2))
	for _, set := range Sets() {
		t.Run(set.Name, func(t *testing.T) {
			for _, rows := range []int{0, 1, 7, 8, 15, 16, 17, 32, most} {
				for _, cols := range []int{0, 1, 8, 9, 16, 23, 32, most} {
					var src, dst, want [most * pitch]float32
					for i := range src {
						src[i], dst[i] = float32(i+1), -1
					}
					want = dst
					from, to := r.Perm(most), r.Perm(most)
					for i := range most {
						from[i] *= pitch
						to[i] *= pitch
					}
					for i := range rows {
						for j := range cols {
							want[to[j]+i] = src[from[i]+j]
						}
					}
					set.Transpose(&dst[0], &to[0], &src[0], &from[0], rows, cols)
					if dst != want {
						t.Errorf("%d rows of %d: some element is not where it belongs", rows, cols)
					}
				}
			}
		})
	}
}
