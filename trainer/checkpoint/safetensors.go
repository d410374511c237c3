package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// maxHeader is the format's own limit on its JSON header, in bytes.
const maxHeader = 100_000_000

// Raw is a tensor as a safetensors file holds it: Data is little-endian, row-major, of len(Data) = product of Shape times the element's size.
type Raw struct {
	DType string // "F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8" or "BOOL"
	Shape []int
	Data  []byte
}

var elementBytes = map[string]int{
	"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}

// ReadSafetensors reads a whole safetensors file: its tensors by name, and its __metadata__ (nil where there is none).
func ReadSafetensors(path string) (map[string]Raw, map[string]string, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, nil, err
	}
	tensors, meta, err := parseSafetensors(data)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return tensors, meta, nil
}

// WriteSafetensors writes tensors and meta to path, whole or not at all. The bytes are a function of the arguments: names are sorted.
func WriteSafetensors(path string, tensors map[string]Raw, meta map[string]string) error {
	entries := make([]entry, 0, len(tensors))
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		t := tensors[name]
		n, ok := product(t.Shape, len(t.Data))
		if size := elementBytes[t.DType]; size == 0 || !ok || n*size != len(t.Data) {
			return fmt.Errorf("writing %s: tensor %s, %s %v, has %d bytes: %w", path, name, t.DType, t.Shape, len(t.Data), ErrFormat)
		}
		entries = append(entries, entry{name, t.DType, t.Shape, len(t.Data), func(w io.Writer) error { _, err := w.Write(t.Data); return err }})
	}
	return writeAside(path, func(w io.Writer) error { return writeSafetensors(w, entries, meta) })
}

// entry is a tensor about to be written: write gives exactly size bytes.
type entry struct {
	name, dtype string
	shape       []int
	size        int
	write       func(io.Writer) error
}

// writeSafetensors writes entries in their order, which is the file's.
func writeSafetensors(w io.Writer, entries []entry, meta map[string]string) error {
	var h bytes.Buffer
	text := json.NewEncoder(&h) // keys of a map come sorted
	text.SetEscapeHTML(false)
	put := func(v any) error {
		err := text.Encode(v)
		h.Truncate(h.Len() - 1) // Encode ends with a newline
		return err
	}
	h.WriteString("{")
	if len(meta) > 0 {
		h.WriteString(`"__metadata__":`)
		if err := put(meta); err != nil {
			return err
		}
	}
	at := 0
	for _, e := range entries {
		if h.Len() > 1 {
			h.WriteString(",")
		}
		if err := put(e.name); err != nil {
			return err
		}
		h.WriteString(":")
		if err := put(header{e.dtype, append([]int{}, e.shape...), []int{at, at + e.size}}); err != nil {
			return err
		}
		at += e.size
	}
	h.WriteString("}")
	for h.Len()%8 != 0 { // so that the data begins on 8 bytes
		h.WriteString(" ")
	}
	if err := binary.Write(w, binary.LittleEndian, uint64(h.Len())); err != nil {
		return err
	}
	if _, err := w.Write(h.Bytes()); err != nil {
		return err
	}
	for _, e := range entries {
		if err := e.write(w); err != nil {
			return err
		}
	}
	return nil
}

type header struct {
	DType   string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets []int  `json:"data_offsets"`
}

// parseSafetensors reads a whole file; the tensors share data. The rules are the format's: offsets begin at 0 and leave no hole and no overlap.
func parseSafetensors(data []byte) (map[string]Raw, map[string]string, error) {
	if len(data) < 8 {
		return nil, nil, fmt.Errorf("it has %d bytes, fewer than a safetensors header: %w", len(data), ErrCut)
	}
	n := binary.LittleEndian.Uint64(data)
	if n > maxHeader {
		return nil, nil, fmt.Errorf("its header claims %d bytes, more than the %d that the safetensors format allows: %w", n, maxHeader, ErrFormat)
	}
	if n > uint64(len(data)-8) {
		return nil, nil, fmt.Errorf("its header has %d bytes but the file ends after %d of them: %w", n, len(data)-8, ErrCut)
	}
	headers, meta, err := parseHeader(data[8 : 8+n])
	if err != nil {
		if !errors.Is(err, ErrDuplicate) && !errors.Is(err, ErrFormat) {
			err = fmt.Errorf("its safetensors header is damaged (%v): %w", err, ErrFormat)
		}
		return nil, nil, err
	}
	body := data[8+n:]
	names := slices.Collect(maps.Keys(headers))
	slices.SortFunc(names, func(a, b string) int {
		x, y := headers[a].Offsets, headers[b].Offsets
		return cmp.Or(cmp.Compare(x[0], y[0]), cmp.Compare(x[1], y[1]), cmp.Compare(a, b))
	})
	tensors := make(map[string]Raw, len(headers))
	at := 0
	for _, name := range names {
		h := headers[name]
		size, known := elementBytes[h.DType]
		if !known {
			return nil, nil, fmt.Errorf("tensor %s is of the unknown type %q: %w", name, h.DType, ErrFormat)
		}
		from, to := h.Offsets[0], h.Offsets[1]
		if from != at || to < from {
			return nil, nil, fmt.Errorf("tensor %s is said to lie at [%d, %d), where %d should come next: its offsets overlap, leave a hole or run backwards: %w", name, from, to, at, ErrFormat)
		}
		if to > len(body) {
			return nil, nil, fmt.Errorf("tensor %s ends at byte %d of the data but the file has %d: %w", name, to, len(body), ErrCut)
		}
		if elements, ok := product(h.Shape, to-from); !ok || elements*size != to-from {
			return nil, nil, fmt.Errorf("tensor %s, %s %v, is given %d bytes: %w", name, h.DType, h.Shape, to-from, ErrFormat)
		}
		tensors[name] = Raw{h.DType, h.Shape, body[from:to:to]}
		at = to
	}
	if at != len(body) {
		return nil, nil, fmt.Errorf("%d bytes follow the last tensor: %w", len(body)-at, ErrFormat)
	}
	return tensors, meta, nil
}

func parseHeader(text []byte) (map[string]header, map[string]string, error) {
	if len(text) == 0 || text[0] != '{' {
		return nil, nil, fmt.Errorf("its safetensors header is no JSON object: %w", ErrFormat)
	}
	headers := map[string]header{}
	var meta map[string]string
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	// Keys are read one by one: a map would hide a name that comes twice.
	if _, err := dec.Token(); err != nil {
		return nil, nil, err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, nil, err
		}
		name := key.(string) // in an object a key is a string, or Token fails
		if name == "__metadata__" {
			if meta != nil {
				return nil, nil, fmt.Errorf("__metadata__ comes twice: %w", ErrDuplicate)
			}
			if err := dec.Decode(&meta); err != nil {
				return nil, nil, err
			}
			continue
		}
		if _, ok := headers[name]; ok {
			return nil, nil, fmt.Errorf("tensor %s comes twice: %w", name, ErrDuplicate)
		}
		var h header
		if err := dec.Decode(&h); err != nil {
			return nil, nil, fmt.Errorf("tensor %s: %w", name, err)
		}
		if len(h.Offsets) != 2 {
			return nil, nil, fmt.Errorf("tensor %s has no two data_offsets: %w", name, ErrFormat)
		}
		headers[name] = h
	}
	if _, err := dec.Token(); err != nil {
		return nil, nil, err
	}
	if len(bytes.Trim(text[dec.InputOffset():], " \x00\t\r\n")) > 0 {
		return nil, nil, errors.New("text after the object")
	}
	return headers, meta, nil
}
