package teacher

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
)

// answers is one file of a journal: a line that says what it is, then records of one size, little-endian:
//
//	iteration u32, sample u32, hash of the logits u64, noisy logits f32 [classes], CRC-32C of all that u32
type answers struct {
	f        *os.File
	header   []byte
	size     int64  // bytes of a record
	records  int64  // whole, synced ones
	greatest uint32 // iteration up to which the file is needed
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newAnswers(f *os.File, classes int) *answers {
	return &answers{f: f, header: fmt.Appendf(nil, "dither journal 1, %d classes\n", classes), size: int64(4 + 4 + 8 + 4*classes + 4)}
}

// createAnswers makes an empty file that a crash leaves whole or, at worst, without its first line.
func createAnswers(path string, classes int, write func(*os.File, []byte, int64) error) (*answers, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	a := newAnswers(f, classes)
	if err := errors.Join(write(f, a.header, 0), syncDir(filepath.Dir(path))); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return a, nil
}

// openAnswers reads a file's records, up to the first that is not whole; the rest, torn bytes, is cut off.
func openAnswers(path string, classes int) (a *answers, questions []question, torn int64, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, 0, err
	}
	a = newAnswers(f, classes)
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, 0, err
	}
	header := make([]byte, min(int64(len(a.header)), info.Size()))
	if _, err := io.ReadFull(f, header); err != nil {
		return nil, nil, 0, err
	}
	if !bytes.HasPrefix(a.header, header) {
		return nil, nil, 0, fmt.Errorf("%s begins with %q, not with %q; give --journal another folder", path, header, a.header)
	}
	row := make([]float32, classes)
	for len(header) == len(a.header) && a.bytes()+a.size <= info.Size() {
		q, err := a.read(a.records, row)
		if errors.Is(err, errTorn) {
			break
		}
		if err != nil {
			return nil, nil, 0, err
		}
		questions = append(questions, q)
		a.count(questions[len(questions)-1:])
	}
	if torn = max(0, info.Size()-a.bytes()); torn > 0 {
		err = f.Truncate(a.bytes())
	}
	return a, questions, torn, err
}

// bytes is where the next record goes.
func (a *answers) bytes() int64 { return int64(len(a.header)) + a.records*a.size }

func (a *answers) count(questions []question) {
	a.records += int64(len(questions))
	for _, q := range questions {
		a.greatest = greatestOf(a.greatest, q)
	}
}

func (a *answers) encode(questions []question, rows []float32) []byte {
	classes := len(rows) / len(questions)
	b := make([]byte, 0, int64(len(questions))*a.size)
	for i, q := range questions {
		from := len(b)
		b = binary.LittleEndian.AppendUint32(b, q.iteration)
		b = binary.LittleEndian.AppendUint32(b, q.sample)
		b = binary.LittleEndian.AppendUint64(b, q.logits)
		for _, v := range rows[i*classes : (i+1)*classes] {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[from:], castagnoli))
	}
	return b
}

// errTorn is for a record that is not as it was written.
var errTorn = errors.New("the record's checksum does not fit")

// read reads a record, its noisy logits to row.
func (a *answers) read(record int64, row []float32) (question, error) {
	b := make([]byte, a.size)
	if _, err := a.f.ReadAt(b, int64(len(a.header))+record*a.size); err != nil {
		return question{}, err
	}
	end := len(b) - 4
	if crc32.Checksum(b[:end], castagnoli) != binary.LittleEndian.Uint32(b[end:]) {
		return question{}, errTorn
	}
	for i := range row {
		row[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[16+4*i:]))
	}
	return question{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint64(b[8:])}, nil
}

// writeSynced writes b at an offset and is done when the disk has it.
func writeSynced(f *os.File, b []byte, at int64) error {
	if _, err := f.WriteAt(b, at); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
