package checkpoint

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
)

// magicNumber is 0x1950a86a20f9469cfc6c, the first pickle of a file of PyTorch before 1.6.
var magicNumber = long{0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19}

// wrappers are the keys under which training scripts keep the state dict.
var wrappers = []string{"state_dict", "model_state_dict", "model_state", "model", "net", "network", "params"}

// storages are those that a pickle names, by key.
type storages map[string]*storage

// persistent is a persistent id: ("storage", type, key, location, elements[, (view key, offset, elements)]).
func (s storages) persistent(id tuple) (any, error) {
	if len(id) < 5 || id[0] != "storage" {
		return nil, damaged("a persistent id that is no storage")
	}
	kind, ok1 := id[1].(global)
	key, ok2 := id[2].(string)
	elements, ok3 := id[4].(int64)
	dtype, ok4 := storageTypes[kind]
	if !ok1 || !ok2 || !ok3 || !ok4 || elements < 0 {
		return nil, damaged("a storage without type, key or size")
	}
	st := s[key]
	if st == nil {
		st = &storage{dtype: dtype, elements: int(elements)}
		s[key] = st
	}
	if st.dtype != dtype {
		return nil, damaged("storage %s is of two types", key)
	}
	if len(id) < 6 || id[5] == nil {
		return st, nil
	}
	v, _ := id[5].(tuple)
	if len(v) != 3 {
		return nil, damaged("a view of a storage without key, offset or size")
	}
	offset, ok1 := v[1].(int64)
	size, ok2 := v[2].(int64)
	if !ok1 || !ok2 || offset < 0 || size < 0 {
		return nil, damaged("a view of a storage without offset or size")
	}
	return &storage{dtype: dtype, elements: int(size), root: st, offset: int(offset)}, nil
}

// readTorchStream reads the format of before 1.6: five pickles (magic, protocol, system, the object, the keys of its storages), then, in the order of
// the keys, each storage's number of elements (int64) and its bytes.
func readTorchStream(data []byte) (map[string]Raw, error) {
	named := storages{}
	var values [5]any
	rest := data
	for i := range values {
		v, n, err := unpickle(rest, named.persistent)
		if err != nil {
			return nil, err
		}
		values[i], rest = v, rest[n:]
		if magic, ok := values[0].(long); !ok || !bytes.Equal(magic, magicNumber) {
			return nil, fmt.Errorf("it is a pickle, but it does not begin with PyTorch's magic number: %w", ErrFormat)
		}
	}
	if system, ok := values[2].(*dict); ok && system.get("little_endian") == false {
		return nil, fmt.Errorf("it was written on a big-endian machine; save it again on a little-endian one: %w", ErrFormat)
	}
	keys, ok := values[4].(*list)
	if !ok {
		return nil, damaged("no list of storages")
	}
	for _, k := range keys.items {
		key, _ := k.(string)
		s := named[key]
		if s == nil {
			return nil, damaged("data for a storage that no tensor has")
		}
		if len(rest) < 8 {
			return nil, fmt.Errorf("the data of storage %s is missing: %w", key, ErrCut)
		}
		n, size := binary.LittleEndian.Uint64(rest), elementBytes[s.dtype]
		if n != uint64(s.elements) {
			return nil, fmt.Errorf("storage %s has %d elements, its tensors say %d: %w", key, n, s.elements, ErrFormat)
		}
		if rest = rest[8:]; n > uint64(len(rest)/size) {
			return nil, fmt.Errorf("storage %s has %d elements of which the file holds %d: %w", key, n, len(rest)/size, ErrCut)
		}
		s.bytes, rest = rest[:int(n)*size], rest[int(n)*size:]
	}
	return stateDict(values[3], len(data))
}

// readTorchZip reads the format of 1.6 and later: an uncompressed zip of NAME/data.pkl, NAME/data/KEY for each storage, and NAME/byteorder.
func readTorchZip(data []byte) (map[string]Raw, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("its zip directory, which comes last, cannot be read (%v): %w", err, ErrCut)
	}
	files := map[string]*zip.File{}
	root := ""
	for _, f := range z.File {
		if _, ok := files[f.Name]; ok {
			return nil, fmt.Errorf("its zip holds %s twice: %w", f.Name, ErrDuplicate)
		}
		files[f.Name] = f
		if dir, ok := strings.CutSuffix(f.Name, "/data.pkl"); ok && !strings.Contains(dir, "/") {
			root = dir
		}
	}
	program := files[root+"/data.pkl"]
	if program == nil {
		return nil, fmt.Errorf("it is a zip without data.pkl, not a file of PyTorch: %w", ErrFormat)
	}
	if f := files[root+"/byteorder"]; f != nil {
		order, err := stored(data, f)
		if err != nil {
			return nil, err
		}
		if string(order) != "little" {
			return nil, fmt.Errorf("its byte order is %.20q; save it again on a little-endian machine: %w", order, ErrFormat)
		}
	}
	code, err := stored(data, program)
	if err != nil {
		return nil, err
	}
	named := storages{}
	value, _, err := unpickle(code, named.persistent)
	if err != nil {
		return nil, err
	}
	for key, s := range named {
		f := files[root+"/data/"+key]
		if f == nil {
			return nil, fmt.Errorf("its zip has no data/%s, which a tensor needs: %w", key, ErrCut)
		}
		if s.bytes, err = stored(data, f); err != nil {
			return nil, err
		}
		if size := elementBytes[s.dtype]; len(s.bytes)/size != s.elements || len(s.bytes)%size != 0 {
			return nil, fmt.Errorf("data/%s has %d bytes for %d elements of %s: %w", key, len(s.bytes), s.elements, s.dtype, ErrFormat)
		}
	}
	return stateDict(value, len(data))
}

// stored is the bytes of an uncompressed file of a zip, checked; they are the archive's own, so that a small archive cannot grow.
func stored(archive []byte, f *zip.File) ([]byte, error) {
	if f.Method != zip.Store {
		return nil, fmt.Errorf("its zip compresses %s, which PyTorch never does; repack it without compression: %w", f.Name, ErrFormat)
	}
	at, err := f.DataOffset()
	if err != nil || at < 0 || at > int64(len(archive)) || f.UncompressedSize64 > uint64(int64(len(archive))-at) {
		return nil, fmt.Errorf("%s lies beyond the end of its zip: %w", f.Name, ErrCut)
	}
	b := archive[at : at+int64(f.UncompressedSize64)]
	if crc32.ChecksumIEEE(b) != f.CRC32 {
		return nil, fmt.Errorf("%s in its zip is damaged (its checksum is another): %w", f.Name, ErrFormat)
	}
	return b, nil
}

// stateDict finds the state dict in what was pickled, and its tensors. All of them together have at most as many elements as the file has bytes, so
// that views of one storage cannot multiply it.
func stateDict(value any, budget int) (map[string]Raw, error) {
	d, err := findStateDict(value)
	if err != nil {
		return nil, err
	}
	out := map[string]Raw{}
	for i, key := range d.keys {
		name, ok := key.(string)
		t, okay := d.values[i].(*view)
		if ok && !okay && !strings.Contains(name, ".") {
			continue // an epoch or an accuracy beside the tensors; a tensor that is missing is found when they are matched
		}
		if !ok || !okay {
			return nil, fmt.Errorf("%v in its state dict is no tensor with a name: %w", shown(key), ErrFormat)
		}
		n, ok := product(t.shape, budget)
		if !ok {
			return nil, fmt.Errorf("tensor %s has shape %v, more than a file of its size can hold: %w", name, t.shape, ErrFormat)
		}
		budget -= n
		raw, err := t.raw()
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", name, err)
		}
		out[name] = raw
	}
	return out, nil
}

// findStateDict is value itself where it holds tensors, or what it holds under a usual name.
func findStateDict(value any) (*dict, error) {
	const depth = 3 // {"model": {"state_dict": {...}}} is the deepest that is met
	d, ok := value.(*dict)
	for range depth {
		if !ok || d.holdsTensors() {
			break
		}
		var inner *dict
		for _, w := range wrappers {
			if in, ok := d.get(w).(*dict); ok {
				inner = in
				break
			}
		}
		if inner == nil {
			break
		}
		d = inner
	}
	if ok && d.holdsTensors() {
		return d, nil
	}
	if !ok {
		return nil, fmt.Errorf("it holds %s, no state dict: %w", shown(value), ErrFormat)
	}
	keys := make([]string, 0, 8)
	for _, k := range d.keys[:min(len(d.keys), 8)] {
		keys = append(keys, shown(k))
	}
	return nil, fmt.Errorf("it holds no state dict; its keys are %s: %w", strings.Join(keys, ", "), ErrFormat)
}

// holdsTensors tells a state dict: its tensors have dotted names ({"net": {...}, "accuracy": tensor} is none).
func (d *dict) holdsTensors() bool {
	for i, key := range d.keys {
		if name, ok := key.(string); ok && strings.Contains(name, ".") {
			if _, ok := d.values[i].(*view); ok {
				return true
			}
		}
	}
	return false
}

// shown is a value for an error message, short.
func shown(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%.60q", v)
	case int64, float64, bool:
		return fmt.Sprint(v)
	case *view:
		return "a single tensor"
	case *list, tuple:
		return "a list"
	case *dict:
		return "a dict"
	}
	return "something else"
}
