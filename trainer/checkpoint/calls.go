package checkpoint

import (
	"fmt"
	"slices"
)

// storageTypes are PyTorch's typed storages and the types of their elements.
var storageTypes = map[global]string{
	"torch.FloatStorage": "F32", "torch.DoubleStorage": "F64", "torch.HalfStorage": "F16", "torch.BFloat16Storage": "BF16",
	"torch.LongStorage": "I64", "torch.IntStorage": "I32", "torch.ShortStorage": "I16", "torch.CharStorage": "I8",
	"torch.ByteStorage": "U8", "torch.BoolStorage": "BOOL",
}

const (
	rebuildTensorV1  global = "torch._utils._rebuild_tensor" // before 0.4
	rebuildTensor    global = "torch._utils._rebuild_tensor_v2"
	rebuildParameter global = "torch._utils._rebuild_parameter"
	orderedDict      global = "collections.OrderedDict"
)

// storage is a piece of memory that tensors are views of; bytes is nil until the file's data has been reached.
type storage struct {
	dtype    string
	elements int
	bytes    []byte
	// A storage of PyTorch before 0.4 can be a piece of another: elements [offset, offset+elements) of root.
	root   *storage
	offset int
}

// view is a tensor before its storage is known; offset and stride count elements.
type view struct {
	storage       *storage
	offset        int
	shape, stride []int
}

// call does the opcodes that could run something.
func (m *machine) call(op byte) error {
	switch op {
	case opGlobal, opInst:
		module, err := m.line()
		if err != nil {
			return err
		}
		name, err := m.line()
		if err != nil {
			return err
		}
		return m.global(module, name)
	case opStackGlobal:
		if err := m.tupleOf(2); err != nil {
			return err
		}
		v, err := m.pop()
		if err != nil {
			return err
		}
		module, ok := v.(tuple)[0].(string)
		name, okay := v.(tuple)[1].(string)
		if !ok || !okay {
			return damaged("a name that is no string at byte %d", m.at)
		}
		return m.global(module, name)
	case opBinPersID:
		v, err := m.pop()
		if err != nil {
			return err
		}
		id, ok := v.(tuple)
		if !ok || m.persistent == nil {
			return damaged("a persistent id that is no storage at byte %d", m.at)
		}
		s, err := m.persistent(id)
		m.push(s)
		return err
	case opBuild: // sets attributes of an object: an OrderedDict's are its module versions, of no use here
		if _, err := m.pop(); err != nil {
			return err
		}
		v, err := m.top()
		if d, ok := v.(*dict); err == nil && (!ok || !d.ordered) {
			return fmt.Errorf("its pickle sets the state of an object at byte %d: %w", m.at, ErrRefused)
		}
		return err
	}
	return m.reduce()
}

func (m *machine) global(module, name string) error {
	g := global(module + "." + name)
	if _, ok := storageTypes[g]; !ok && g != rebuildTensorV1 && g != rebuildTensor && g != rebuildParameter && g != orderedDict {
		if !printable(string(g)) {
			g = "something without a printable name"
		}
		return fmt.Errorf("its pickle calls %.200s: %w; only tensors are read, as torch.save(model.state_dict(), file) writes them", g, ErrRefused)
	}
	return m.push(g)
}

// reduce is a call: the function and its arguments lie on the stack.
func (m *machine) reduce() error {
	if err := m.tupleOf(2); err != nil {
		return err
	}
	v, err := m.pop()
	if err != nil {
		return err
	}
	function, ok := v.(tuple)[0].(global)
	args, okay := v.(tuple)[1].(tuple)
	if !ok || !okay {
		return damaged("a call of what is no function at byte %d", m.at)
	}
	switch {
	case function == orderedDict:
		return m.newOrderedDict(args)
	case function == rebuildParameter && len(args) >= 1: // (data, requires_grad, backward_hooks)
		if t, ok := args[0].(*view); ok {
			return m.push(t)
		}
	case (function == rebuildTensorV1 || function == rebuildTensor) && len(args) >= 4: // (storage, offset, shape, stride, requires_grad, backward_hooks, ...)
		s, ok := args[0].(*storage)
		offset, okay := args[1].(int64)
		shape, err := intsOf(args[2])
		stride, err2 := intsOf(args[3])
		if ok && okay && offset >= 0 && err == nil && err2 == nil && len(shape) == len(stride) {
			return m.push(&view{s, int(offset), shape, stride})
		}
	}
	return damaged("%s with arguments that it does not take at byte %d", function, m.at)
}

// newOrderedDict takes nothing, or a list of pairs as Python 2 wrote it.
func (m *machine) newOrderedDict(args tuple) error {
	d := &dict{ordered: true}
	if len(args) > 0 {
		pairs, ok := args[0].(*list)
		if !ok {
			return damaged("an OrderedDict of what is no list at byte %d", m.at)
		}
		for _, p := range pairs.items {
			if l, ok := p.(*list); ok {
				p = tuple(l.items)
			}
			pair, ok := p.(tuple)
			if !ok || len(pair) != 2 {
				return damaged("an OrderedDict of what is no pair at byte %d", m.at)
			}
			if err := d.set(pair[0], pair[1]); err != nil {
				return err
			}
		}
	}
	return m.push(d)
}

// intsOf is a tuple of sizes or strides, none negative.
func intsOf(v any) ([]int, error) {
	const maxRank = 16
	items, ok := v.(tuple)
	ok = ok && len(items) <= maxRank
	out := make([]int, 0, len(items))
	for _, item := range items {
		n, isInt := item.(int64)
		if ok = ok && isInt && n >= 0; !ok {
			break
		}
		out = append(out, int(n))
	}
	if !ok {
		return nil, damaged("sizes that are no whole numbers")
	}
	return out, nil
}

// raw is the view's numbers, dense. Invariant of the caller: product(shape) was found to be within its budget.
func (t *view) raw() (Raw, error) {
	data, err := t.storage.resolve()
	if err != nil {
		return Raw{}, err
	}
	size := elementBytes[t.storage.dtype]
	n, _ := product(t.shape, len(data)/size) // the caller's budget was tighter
	if n == 0 {
		return Raw{t.storage.dtype, t.shape, nil}, nil
	}
	// The last element's index, step by step so that nothing overflows.
	left := len(data)/size - 1 - t.offset
	for i, d := range t.shape {
		if d > 1 && left >= 0 && t.stride[i] > left/(d-1) {
			left = -1
		}
		if left < 0 {
			break
		}
		left -= (d - 1) * t.stride[i]
	}
	if left < 0 {
		return Raw{}, fmt.Errorf("offset %d, shape %v and strides %v reach beyond its storage of %d elements: %w", t.offset, t.shape, t.stride, len(data)/size, ErrFormat)
	}
	out := make([]byte, 0, n*size)
	index := make([]int, len(t.shape))
	for range n {
		at := t.offset
		for i, k := range index {
			at += k * t.stride[i]
		}
		out = append(out, data[at*size:(at+1)*size]...)
		for i := len(index) - 1; i >= 0; i-- {
			if index[i]++; index[i] < t.shape[i] {
				break
			}
			index[i] = 0
		}
	}
	return Raw{t.storage.dtype, slices.Clone(t.shape), out}, nil
}

// resolve is the storage's bytes.
func (s *storage) resolve() ([]byte, error) {
	if s.root == nil {
		if s.bytes == nil && s.elements > 0 {
			return nil, fmt.Errorf("the data of its storage is not in the file: %w", ErrCut)
		}
		return s.bytes, nil
	}
	size := elementBytes[s.dtype]
	data, err := s.root.resolve()
	if err != nil {
		return nil, err
	}
	if total := len(data) / size; s.offset > total || s.elements > total-s.offset {
		return nil, fmt.Errorf("a storage is a piece [%d, +%d) of one of %d elements: %w", s.offset, s.elements, total, ErrFormat)
	}
	return data[s.offset*size : (s.offset+s.elements)*size], nil
}
