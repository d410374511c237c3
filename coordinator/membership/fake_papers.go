package membership

import (
	"context"
	"slices"
	"strings"
)

func (r *fakeRun) PutPaper(_ context.Context, l *Leadership, name string, value []byte) error {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	if err := r.leads(l); err != nil {
		return err
	}
	r.f.put(r.root+"papers/"+name, slices.Clone(value), nil)
	return nil
}

func (r *fakeRun) Papers(_ context.Context, prefix string) ([]Paper, error) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	if r.f.away != nil {
		return nil, r.f.away
	}
	var out []Paper
	for key, k := range r.f.keys {
		if name, ok := strings.CutPrefix(key, r.root+"papers/"); ok && strings.HasPrefix(name, prefix) {
			out = append(out, Paper{Name: name, Value: slices.Clone(k.value.([]byte)), revision: k.modified})
		}
	}
	slices.SortFunc(out, func(a, b Paper) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (r *fakeRun) DropPapers(_ context.Context, l *Leadership, prefix string) error {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	if err := r.leads(l); err != nil {
		return err
	}
	for key := range r.f.keys {
		if strings.HasPrefix(key, r.root+"papers/"+prefix) {
			delete(r.f.keys, key)
			r.f.touched(key)
		}
	}
	return nil
}
