package runlog

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// TensorBoard reads folders of event files. Such a file is a sequence of TFRecords: length (uint64), masked crc32c of the length, the bytes, masked
// crc32c of the bytes, all little-endian; the bytes are an Event message (tensorflow/core/util/event.proto), of which four fields are needed:
//
//	Event      { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; SessionLog session_log = 7; }
//	Summary    { repeated Value value = 1; }  Value { string tag = 1; float simple_value = 2; }
//	SessionLog { SessionStatus status = 1; }  START = 1: what is there from this step on was of an earlier try, and is dropped
type tensorBoard struct{ file *os.File }

type scalar struct {
	tag   string
	value float64
}

// newTensorBoard begins a new file in dir: a resumed run adds one to those that are there.
func newTensorBoard(dir string, now time.Time) (*tensorBoard, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	earlier, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost" // part of the name by custom only
	}
	name := fmt.Sprintf("events.out.tfevents.%010d.%s.%d", now.Unix(), host, len(earlier))
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	t := &tensorBoard{f}
	version := appendBytes(appendWallTime(nil, now), 3, "brain.Event:2")
	if err := t.record(version); err != nil {
		f.Close()
		return nil, err
	}
	return t, nil
}

// write appends one event a value, sorted by tag, in one system call.
func (t *tensorBoard) write(now time.Time, step uint32, values []scalar) error {
	slices.SortFunc(values, func(a, b scalar) int { return cmp.Compare(a.tag, b.tag) })
	var events [][]byte
	for _, v := range values {
		value := appendBytes(nil, 1, v.tag)
		value = binary.LittleEndian.AppendUint32(append(value, 2<<3|5), math.Float32bits(float32(v.value)))
		events = append(events, appendBytes(appendStep(now, step), 5, appendBytes(nil, 1, value)))
	}
	return t.record(events...)
}

// restart tells TensorBoard to forget what it has from step on.
func (t *tensorBoard) restart(now time.Time, step uint32) error {
	return t.record(appendBytes(appendStep(now, step), 7, []byte{1 << 3, 1}))
}

func (t *tensorBoard) record(events ...[]byte) error {
	var out []byte
	for _, e := range events {
		from := len(out)
		out = binary.LittleEndian.AppendUint64(out, uint64(len(e)))
		out = binary.LittleEndian.AppendUint32(out, maskedCRC(out[from:]))
		out = append(out, e...)
		out = binary.LittleEndian.AppendUint32(out, maskedCRC(e))
	}
	if _, err := t.file.Write(out); err != nil {
		return fmt.Errorf("writing TensorBoard's curves: %w", err)
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maskedCRC is TFRecord's: a crc of data that holds crcs is weak, so they are rotated and shifted.
func maskedCRC(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// Protobuf's wire format: a key is number << 3 | type; 0 is a varint, 1 eight bytes, 2 bytes after their length, 5 four bytes.

func appendWallTime(b []byte, now time.Time) []byte {
	return binary.LittleEndian.AppendUint64(append(b, 1<<3|1), math.Float64bits(float64(now.UnixNano())/1e9))
}

func appendStep(now time.Time, step uint32) []byte {
	return binary.AppendUvarint(append(appendWallTime(nil, now), 2<<3), uint64(step))
}

func appendBytes[T string | []byte](b []byte, field byte, v T) []byte {
	return append(binary.AppendUvarint(append(b, field<<3|2), uint64(len(v))), v...)
}
