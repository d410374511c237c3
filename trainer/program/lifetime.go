package program

// lifetime is a value of the arena with the steps [first, last] between which its memory is its own.
type lifetime struct {
	*Value
	first, last int
}

// lifetimes are those of bound steps, by their first step.
func lifetimes(steps []*Step) []*lifetime {
	var all []*lifetime
	found := map[*Value]*lifetime{}
	for i, s := range steps {
		for _, v := range s.values() {
			v = v.root()
			if !v.planned {
				continue
			}
			life := found[v]
			if life == nil {
				life = &lifetime{v, i, i}
				found[v] = life
				all = append(all, life)
			}
			if life.last = i; v.lasts {
				life.last = len(steps)
			}
		}
	}
	return all
}
