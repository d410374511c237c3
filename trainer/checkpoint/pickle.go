package checkpoint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// A small reader of Python's pickle, protocols 2 to 5 (PEP 307, 3154, 574), for state dicts alone. A pickle is a program for a stack machine that can
// call any function of Python; here the few that a state dict needs are known by name (calls.go) and any other ends the reading. Nothing is executed.
// Memory is bounded: every opcode makes a constant amount of it beside the bytes that it copies from the file, and opcodes are counted.

// maxOpcodes is far above what a state dict has: about 30 a tensor.
const maxOpcodes = 1 << 22

// Opcodes of pickletools that a state dict needs.
const (
	opProto           = 0x80
	opFrame           = 0x95
	opStop            = '.'
	opMark            = '('
	opPop             = '0'
	opPopMark         = '1'
	opDup             = '2'
	opNone            = 'N'
	opTrue            = 0x88
	opFalse           = 0x89
	opBinInt          = 'J'
	opBinInt1         = 'K'
	opBinInt2         = 'M'
	opLong1           = 0x8a
	opLong4           = 0x8b
	opBinFloat        = 'G'
	opBinString       = 'T'
	opShortBinString  = 'U'
	opBinUnicode      = 'X'
	opShortBinUnicode = 0x8c
	opBinUnicode8     = 0x8d
	opBinBytes        = 'B'
	opShortBinBytes   = 'C'
	opBinBytes8       = 0x8e
	opEmptyTuple      = ')'
	opTuple1          = 0x85
	opTuple2          = 0x86
	opTuple3          = 0x87
	opTuple           = 't'
	opEmptyList       = ']'
	opAppend          = 'a'
	opAppends         = 'e'
	opList            = 'l'
	opEmptyDict       = '}'
	opSetItem         = 's'
	opSetItems        = 'u'
	opDict            = 'd'
	opGlobal          = 'c'
	opStackGlobal     = 0x93
	opInst            = 'i'
	opReduce          = 'R'
	opBuild           = 'b'
	opBinPersID       = 'Q'
	opBinPut          = 'q'
	opLongBinPut      = 'r'
	opMemoize         = 0x94
	opBinGet          = 'h'
	opLongBinGet      = 'j'
)

// Values that the stack holds, beside nil (None), bool, int64, float64 and string.
type (
	global string // an allowed name: "torch.FloatStorage"
	tuple  []any
	list   struct{ items []any }
	dict   struct {
		keys, values []any
		index        map[any]int // of the keys that are strings or numbers
		ordered      bool        // a collections.OrderedDict
	}
	long []byte // an integer of more than 64 bits, little-endian two's complement
)

func (d *dict) set(key, value any) error {
	switch key.(type) {
	case string, int64:
		if d.index == nil {
			d.index = map[any]int{}
		}
		if _, ok := d.index[key]; ok {
			return fmt.Errorf("%v comes twice: %w", key, ErrDuplicate)
		}
		d.index[key] = len(d.keys)
	}
	d.keys, d.values = append(d.keys, key), append(d.values, value)
	return nil
}

func (d *dict) get(key string) any {
	if i, ok := d.index[key]; ok {
		return d.values[i]
	}
	return nil
}

// machine runs one pickle.
type machine struct {
	data       []byte // from the pickle's first byte; what follows its end is left
	at         int
	stack      []any
	marks      []int // lengths of stack at the marks in it
	memo       map[uint32]any
	persistent func(id tuple) (any, error) // what a persistent id stands for
}

// unpickle reads the pickle at the start of data and says how many bytes it has.
func unpickle(data []byte, persistent func(tuple) (any, error)) (value any, size int, err error) {
	m := &machine{data: data, memo: map[uint32]any{}, persistent: persistent}
	for range maxOpcodes {
		op, err := m.take(1)
		if err != nil {
			return nil, 0, err
		}
		if op[0] == opStop {
			v, err := m.pop()
			return v, m.at, err
		}
		if err := m.step(op[0]); err != nil {
			return nil, 0, err
		}
	}
	return nil, 0, damaged("more than %d opcodes", maxOpcodes)
}

func (m *machine) step(op byte) error {
	switch op {
	case opProto:
		v, err := m.take(1)
		if err == nil && (v[0] < 2 || v[0] > 5) {
			err = damaged("protocol %d", v[0])
		}
		return err
	case opFrame:
		_, err := m.take(8)
		return err
	case opMark:
		m.marks = append(m.marks, len(m.stack))
		return nil
	case opPop:
		_, err := m.pop()
		return err
	case opPopMark:
		_, err := m.toMark()
		return err
	case opDup:
		v, err := m.top()
		m.push(v)
		return err
	case opNone:
		return m.push(nil)
	case opTrue:
		return m.push(true)
	case opFalse:
		return m.push(false)
	case opBinInt1, opBinInt2, opBinInt, opLong1, opLong4, opBinFloat:
		return m.number(op)
	case opShortBinString, opShortBinUnicode, opShortBinBytes:
		return m.text(1)
	case opBinString, opBinUnicode, opBinBytes:
		return m.text(4)
	case opBinUnicode8, opBinBytes8:
		return m.text(8)
	case opEmptyTuple:
		return m.push(tuple{})
	case opTuple1, opTuple2, opTuple3:
		return m.tupleOf(int(op) - opTuple1 + 1)
	case opTuple:
		items, err := m.toMark()
		m.push(tuple(items))
		return err
	case opEmptyList:
		return m.push(&list{})
	case opList:
		items, err := m.toMark()
		m.push(&list{items})
		return err
	case opAppend, opAppends:
		return m.extend(op == opAppends)
	case opEmptyDict:
		return m.push(&dict{})
	case opSetItem, opSetItems, opDict:
		return m.setItems(op)
	case opBinPut, opLongBinPut, opMemoize, opBinGet, opLongBinGet:
		return m.remember(op)
	case opGlobal, opInst, opStackGlobal, opReduce, opBuild, opBinPersID:
		return m.call(op)
	}
	return fmt.Errorf("its pickle has the opcode 0x%02x (%q) at byte %d, which no state dict needs: %w", op, rune(op), m.at-1, ErrRefused)
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("its pickle is damaged (%s): %w", fmt.Sprintf(format, args...), ErrFormat)
}

func (m *machine) take(n uint64) ([]byte, error) {
	if n > uint64(len(m.data)-m.at) {
		return nil, fmt.Errorf("its pickle ends in the middle: %w", ErrCut)
	}
	b := m.data[m.at : m.at+int(n)]
	m.at += int(n)
	return b, nil
}

// line is the bytes up to the next newline.
func (m *machine) line() (string, error) {
	n := bytes.IndexByte(m.data[m.at:], '\n')
	if n < 0 {
		return "", fmt.Errorf("its pickle ends in the middle of a name: %w", ErrCut)
	}
	b, err := m.take(uint64(n) + 1)
	return string(b[:n]), err
}

func (m *machine) push(v any) error { m.stack = append(m.stack, v); return nil }

// floor is where the stack above the last mark begins.
func (m *machine) floor() int {
	if n := len(m.marks); n > 0 {
		return m.marks[n-1]
	}
	return 0
}

func (m *machine) top() (any, error) {
	if len(m.stack) <= m.floor() {
		return nil, damaged("nothing on the stack at byte %d", m.at)
	}
	return m.stack[len(m.stack)-1], nil
}

func (m *machine) pop() (any, error) {
	v, err := m.top()
	if err == nil {
		m.stack = m.stack[:len(m.stack)-1]
	}
	return v, err
}

// toMark pops all above the last mark, and the mark. The caller owns the items.
func (m *machine) toMark() ([]any, error) {
	if len(m.marks) == 0 {
		return nil, damaged("no mark at byte %d", m.at)
	}
	from := m.floor()
	items := slices.Clone(m.stack[from:])
	m.stack, m.marks = m.stack[:from], m.marks[:len(m.marks)-1]
	return items, nil
}

func (m *machine) number(op byte) error {
	size := map[byte]uint64{opBinInt1: 1, opBinInt2: 2, opBinInt: 4, opLong1: 1, opLong4: 4, opBinFloat: 8}[op]
	b, err := m.take(size)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	switch op {
	case opBinInt1:
		return m.push(int64(b[0]))
	case opBinInt2:
		return m.push(int64(le.Uint16(b)))
	case opBinInt:
		return m.push(int64(int32(le.Uint32(b))))
	case opBinFloat: // the one number that is big-endian
		return m.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	}
	n := uint64(b[0])
	if op == opLong4 {
		n = uint64(le.Uint32(b))
	}
	if b, err = m.take(n); err != nil {
		return err
	}
	if n > 8 {
		return m.push(long(b))
	}
	var wide [8]byte
	copy(wide[:], b)
	v := le.Uint64(wide[:])
	if n > 0 && n < 8 && b[n-1]&0x80 != 0 {
		v |= math.MaxUint64 << (8 * n) // the sign
	}
	return m.push(int64(v))
}

// text is a string or bytes after its length in so many bytes; what is told apart in Python need not be here.
func (m *machine) text(lengthBytes uint64) error {
	b, err := m.take(lengthBytes)
	if err != nil {
		return err
	}
	var wide [8]byte
	copy(wide[:], b)
	if b, err = m.take(binary.LittleEndian.Uint64(wide[:])); err != nil {
		return err
	}
	return m.push(string(b))
}

func (m *machine) tupleOf(n int) error {
	if len(m.stack)-m.floor() < n {
		return damaged("nothing on the stack at byte %d", m.at)
	}
	from := len(m.stack) - n
	t := tuple(slices.Clone(m.stack[from:]))
	m.stack = m.stack[:from]
	return m.push(t)
}

// several is one popped value or all to the mark.
func (m *machine) several(all bool, one int) ([]any, error) {
	if all {
		return m.toMark()
	}
	if err := m.tupleOf(one); err != nil {
		return nil, err
	}
	v, err := m.pop()
	t, _ := v.(tuple)
	return t, err
}

func (m *machine) extend(all bool) error {
	items, err := m.several(all, 1)
	if err != nil {
		return err
	}
	v, err := m.top()
	if err != nil {
		return err
	}
	l, ok := v.(*list)
	if !ok {
		return damaged("items for what is no list at byte %d", m.at)
	}
	l.items = append(l.items, items...)
	return nil
}

func (m *machine) setItems(op byte) error {
	items, err := m.several(op != opSetItem, 2)
	if err != nil {
		return err
	}
	if op == opDict {
		m.push(&dict{})
	}
	v, err := m.top()
	if err != nil {
		return err
	}
	d, ok := v.(*dict)
	if !ok || len(items)%2 != 0 {
		return damaged("items for what is no dict at byte %d", m.at)
	}
	for i := 0; i < len(items); i += 2 {
		if err := d.set(items[i], items[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (m *machine) remember(op byte) error {
	key := uint32(len(m.memo))
	if op != opMemoize {
		size := uint64(1)
		if op == opLongBinPut || op == opLongBinGet {
			size = 4
		}
		b, err := m.take(size)
		if err != nil {
			return err
		}
		var wide [4]byte
		copy(wide[:], b)
		key = binary.LittleEndian.Uint32(wide[:])
	}
	if op == opBinGet || op == opLongBinGet {
		v, ok := m.memo[key]
		if !ok {
			return damaged("nothing remembered as %s at byte %d", strconv.Itoa(int(key)), m.at)
		}
		return m.push(v)
	}
	v, err := m.top()
	m.memo[key] = v
	return err
}
