package runlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

func at(k uint32) Iteration {
	return Iteration{Iteration: k, Loss: 1 / float64(k), Accuracy: 0.5, LR: 0.1, Seconds: 0.25, ImagesPerSecond: 256, Generation: 1, LabelsSHA256: "ab", LabelWaitSeconds: 0.01, ExchangeWaitSeconds: 0.02}
}

func pointer[T any](v T) *T { return &v }

// must fails the test on the first error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// made is a folder with a run of n iterations.
func made(t *testing.T, n uint32) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	l, err := Create(dir)
	must(t, err)
	for k := range n {
		must(t, l.Iteration(at(k+1)))
	}
	must(t, l.Close(), l.Close())
	return dir
}

func TestRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "run")
	l, err := Create(dir)
	must(t, err)
	when := time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)
	iterations := []Iteration{at(1), at(2), at(5)}
	iterations[1].Loss, iterations[2].Loss = math.Inf(-1), math.NaN()
	for _, it := range iterations {
		must(t, l.Iteration(it))
	}
	if err := l.Iteration(at(5)); !errors.Is(err, ErrOrder) {
		t.Errorf("an iteration twice: %v", err)
	}
	events := []Event{
		{Time: when, Kind: KindGeneration, Message: "2 trainers have joined", Generation: 1},
		{Time: when, Kind: KindEvaluation, Message: "m", Iteration: 5, Split: "test", Images: 10, Loss: pointer(2.5), Accuracy: pointer(0.0)},
		{Time: when, Kind: KindCheckpoint, Message: "m", Iteration: 5, Path: "checkpoints/5"},
	}
	for _, e := range events {
		must(t, l.Event(e))
	}
	must(t, l.Event(Event{Kind: KindFailure, Message: "loss", Loss: pointer(math.NaN())}))
	r, err := Read(dir) // a run that is going on can be read
	must(t, err, l.Close())
	if !math.IsNaN(r.Iterations[2].Loss) {
		t.Errorf("the NaN came back as %v", r.Iterations[2].Loss)
	}
	r.Iterations[2].Loss, iterations[2].Loss = 0, 0
	if !reflect.DeepEqual(r.Iterations, iterations) || r.Result != nil || r.Unknown != nil {
		t.Errorf("%+v", r)
	}
	if len(r.Events) != 4 || !reflect.DeepEqual(r.Events[:3], events) || r.Events[3].Loss != nil || time.Since(r.Events[3].Time) > time.Hour {
		t.Errorf("%+v", r.Events)
	}
	text, err := os.ReadFile(filepath.Join(dir, MetricsFile))
	must(t, err)
	const first = `{"iteration":1,"loss":1,"accuracy":0.5,"lr":0.1,"seconds":0.25,"images_per_second":256,"generation":1,"labels_sha256":"ab","label_wait_seconds":0.01,"exchange_wait_seconds":0.02}`
	if line, _, _ := strings.Cut(string(text), "\n"); line != first {
		t.Errorf("the first line is %s", line)
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := made(t, 2)
	before, _ := os.ReadFile(filepath.Join(dir, MetricsFile))
	_, err := Create(dir)
	if !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "resume") {
		t.Errorf("%v", err)
	}
	if after, _ := os.ReadFile(filepath.Join(dir, MetricsFile)); string(after) != string(before) {
		t.Error("the record was touched")
	}
	empty := t.TempDir()
	if _, err := Append(empty); !errors.Is(err, ErrNoRun) {
		t.Errorf("Append to nothing: %v", err)
	}
	if _, err := Read(empty); !errors.Is(err, ErrNoRun) {
		t.Errorf("Read of nothing: %v", err)
	}
	if left, _ := os.ReadDir(empty); len(left) != 0 {
		t.Errorf("Append left %v", left)
	}
}

// TestTorn cuts the record at every byte, as a crash does: what was whole before is read, and a resumed run goes on after it.
func TestTorn(t *testing.T) {
	dir := made(t, 2)
	path := filepath.Join(dir, MetricsFile)
	whole, err := os.ReadFile(path)
	must(t, err)
	first := strings.IndexByte(string(whole), '\n') + 1
	for n := range whole {
		must(t, os.WriteFile(path, whole[:n], 0o666))
		want := 0
		if n >= first {
			want = 1
		}
		r, err := Read(dir)
		must(t, err)
		if len(r.Iterations) != want || r.Unknown != nil {
			t.Fatalf("cut to %d bytes: %d iterations, %v", n, len(r.Iterations), r.Unknown)
		}
	}
	must(t, os.WriteFile(path, whole[:len(whole)-1], 0o666))
	l, err := Append(dir)
	must(t, err, l.Iteration(at(2)), l.Close())
	if again, _ := os.ReadFile(path); string(again) != string(whole) {
		t.Errorf("the record is now\n%s", again)
	}
}

func TestUnknownLines(t *testing.T) {
	dir := made(t, 1)
	for name, line := range map[string]string{MetricsFile: "what\n{}\n", EventsFile: `{"kind":"party"}` + "\n"} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteString(line)
		must(t, err, f.Close())
	}
	r, err := Read(dir)
	must(t, err)
	if len(r.Unknown) != 3 || !strings.HasPrefix(r.Unknown[0], "metrics.jsonl line 2: ") || r.Unknown[1] != "metrics.jsonl line 3: it has no iteration" || r.Unknown[2] != `events.jsonl line 1: "party" is no kind of event` {
		t.Errorf("%q", r.Unknown)
	}
}

func TestRewind(t *testing.T) {
	dir := made(t, 5)
	must(t, WriteResult(dir, Result{Phase: "stopped", Iterations: 5}))
	l, err := Append(dir)
	must(t, err)
	if err := l.Iteration(at(5)); !errors.Is(err, ErrOrder) {
		t.Errorf("Append does not know the last iteration: %v", err)
	}
	must(t, l.Rewind(9), l.Rewind(5), l.Rewind(3), l.Iteration(at(4)), l.Close())
	r, err := Read(dir)
	must(t, err)
	if len(r.Iterations) != 4 || r.Iterations[3] != at(4) {
		t.Errorf("%+v", r.Iterations)
	}
	if len(r.Events) != 1 || r.Events[0].Message != "went back to iteration 3: 2 iterations after it were dropped from the record and are done again" {
		t.Errorf("%+v", r.Events)
	}
	if r.Result != nil {
		t.Error("a run that goes on has a result")
	}
	if _, err := os.Stat(filepath.Join(dir, "result.5.json")); err != nil {
		t.Errorf("the earlier result is gone: %v", err)
	}
}

func TestResult(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadResult(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no result: %v", err)
	}
	want := Result{
		Phase: "finished", Reason: "all iterations are applied", Iterations: 400, ParametersSHA256: "sha256:00", SpecSHA256: "11", Arithmetic: "cpu/2",
		KernelSets: []string{"avx2", "generic"}, TrainLoss: pointer(0.5), TestAccuracy: pointer(0.9), GradientNorm: pointer(7044.0), GradientNormImages: pointer(1000),
		Seconds: 12.5, ImagesPerSecond: 640, Generations: 1, DataOfficial: true,
	}
	must(t, WriteResult(dir, want))
	got, err := ReadResult(dir)
	must(t, err)
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("%+v", *got)
	}
	text, _ := os.ReadFile(filepath.Join(dir, ResultFile))
	for _, line := range []string{`"validation_accuracy": null,`, `"test_accuracy": 0.9,`, `"gradient_norm_images": 1000,`, `"data_official": true`} {
		if !strings.Contains(string(text), line) {
			t.Errorf("result.json has no %s:\n%s", line, text)
		}
	}
	must(t, WriteResult(dir, Result{TestLoss: pointer(math.Inf(1))}))
	if got, err = ReadResult(dir); err != nil || got.TestLoss != nil || got.KernelSets == nil {
		t.Errorf("%+v: %v", got, err)
	}
	if err := WriteFile(filepath.Join(dir, "missing", "x"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	must(t, os.MkdirAll(filepath.Join(dir, "taken", "x"), 0o777))
	if err := WriteFile(filepath.Join(dir, "taken"), nil); err == nil {
		t.Error("a folder was replaced")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.writing-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestFullDisk: a line that cannot be written leaves no half of it.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip("there is no /dev/full here")
	}
	defer full.Close()
	if err := (&lines{file: full}).append([]byte("{}")); err == nil || !strings.HasPrefix(err.Error(), "recording a run: ") {
		t.Errorf("%v", err)
	}
	dir := made(t, 2)
	l, err := Append(dir)
	must(t, err)
	l.metrics.file.Close() // every write fails from here on
	if err := l.Iteration(at(3)); err == nil {
		t.Error("an iteration that is nowhere was recorded")
	}
	if r, err := Read(dir); err != nil || len(r.Iterations) != 2 || l.last != 2 {
		t.Errorf("%+v: %v", r, err)
	}
}

// TestTensorBoard reads the curves back with protobuf's own reader of the wire.
func TestTensorBoard(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	l, err := Create(dir)
	must(t, err)
	when := time.Unix(1700000000, 500000000)
	l.now = func() time.Time { return when }
	must(t, l.Iteration(at(1)), l.Iteration(at(300)), l.Event(Event{Time: when, Kind: KindEvaluation, Iteration: 300, Split: "test", Loss: pointer(2.0), Accuracy: pointer(0.25)}),
		l.Event(Event{Time: when, Kind: KindEvaluation, Iteration: 300, GradientNorm: pointer(8.0)}), l.Rewind(1), l.Close())
	l, err = Append(dir)
	must(t, err, l.Close())
	files, _ := filepath.Glob(filepath.Join(dir, TensorBoardFolder, "events.out.tfevents.*"))
	if len(files) != 2 {
		t.Fatalf("files: %v", files)
	}
	slices.SortFunc(files, func(a, b string) int {
		return strings.Compare(a[strings.LastIndexByte(a, '.'):], b[strings.LastIndexByte(b, '.'):])
	})
	data, err := os.ReadFile(files[0])
	must(t, err)
	got := readEvents(t, data)
	want := []string{
		"brain.Event:2",
		"1 train/accuracy 0.5", "1 train/images_per_second 256", "1 train/loss 1", "1 train/lr 0.1",
		"300 train/accuracy 0.5", "300 train/images_per_second 256", "300 train/loss 0.0033333334", "300 train/lr 0.1",
		"300 test/accuracy 0.25", "300 test/loss 2", "300 train/gradient_norm 8", "2 restart",
	}
	if !slices.Equal(got, want) {
		t.Errorf("read back\n%s", strings.Join(got, "\n"))
	}
	// crc32c("123456789") is 0xe3069283 (RFC 3720's polynomial); masked by hand.
	if c := maskedCRC([]byte("123456789")); c != 0xc78ab0e5 {
		t.Errorf("masked crc of the check string is %#x", c)
	}
}

func readEvents(t *testing.T, data []byte) (out []string) {
	t.Helper()
	masked := func(b []byte) uint32 {
		c := uint64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
		return uint32((c>>15 | c<<17&0xffffffff) + 0xa282ead8)
	}
	for len(data) > 0 {
		n := binary.LittleEndian.Uint64(data)
		body := data[12 : 12+n]
		if binary.LittleEndian.Uint32(data[8:]) != masked(data[:8]) || binary.LittleEndian.Uint32(data[12+n:]) != masked(body) {
			t.Fatal("a record's crc is wrong")
		}
		data = data[16+n:]
		event := fields(t, body)
		step, _ := event[2].(uint64)
		if v, ok := event[3]; ok {
			out = append(out, string(v.([]byte)))
			continue
		}
		if w := math.Float64frombits(event[1].(uint64)); w != 1700000000.5 {
			t.Errorf("wall time %v", w)
		}
		if v, ok := event[7]; ok {
			if fields(t, v.([]byte))[1] != uint64(1) {
				t.Error("a session log that is no start")
			}
			out = append(out, fmt.Sprint(step, " restart"))
			continue
		}
		value := fields(t, fields(t, event[5].([]byte))[1].([]byte))
		out = append(out, fmt.Sprint(step, " ", string(value[1].([]byte)), " ", math.Float32frombits(value[2].(uint32))))
	}
	return out
}

// fields is a message, one value a field.
func fields(t *testing.T, b []byte) map[protowire.Number]any {
	t.Helper()
	out := map[protowire.Number]any{}
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		switch kind {
		case protowire.VarintType:
			out[num], n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			out[num], n = protowire.ConsumeFixed32(b)
		case protowire.Fixed64Type:
			out[num], n = protowire.ConsumeFixed64(b)
		default:
			out[num], n = protowire.ConsumeBytes(b)
		}
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
	}
	return out
}
