package teacher

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

const journalClasses = 3

func openJournal(t testing.TB, dir string) *Journal {
	t.Helper()
	j, err := OpenJournal(dir, journalClasses, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

// crashed copies a journal's folder as a crash would leave it.
func crashed(t testing.TB, dir string) string {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "journal")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return copied
}

// rowOf is the answer number n to a question.
func rowOf(q question, n int) []float32 {
	return []float32{float32(q.iteration), float32(q.sample), float32(n)}
}

func keep(t testing.TB, j *Journal, n int, questions ...question) {
	t.Helper()
	var rows []float32
	for _, q := range questions {
		rows = append(rows, rowOf(q, n)...)
	}
	if err := j.add(questions, rows); err != nil {
		t.Fatal(err)
	}
}

// kept is what a journal knows: the number of each answer.
func kept(t testing.TB, j *Journal) map[question]int {
	t.Helper()
	all := map[question]int{}
	row := make([]float32, journalClasses)
	for q := range maps.Clone(j.index) {
		if err := j.read(q, row); err != nil {
			t.Fatal(err)
		}
		if all[q] = int(row[2]); !slices.Equal(row, rowOf(q, all[q])) {
			t.Fatalf("the answer to %v is %v", q, row)
		}
	}
	return all
}

func questionsOf(iteration uint32, samples ...uint32) (qs []question) {
	for _, s := range samples {
		qs = append(qs, question{iteration, s, uint64(s) << 40})
	}
	return qs
}

func TestAJournalIsReadBack(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir)
	keep(t, j, 1, questionsOf(1, 5, 6, 7)...)
	keep(t, j, 2, questionsOf(2, 5)...)
	want := kept(t, j)
	if len(want) != 4 {
		t.Fatalf("it keeps %v", want)
	}
	again := openJournal(t, crashed(t, dir))
	if got := kept(t, again); !maps.Equal(got, want) {
		t.Errorf("after a crash it has %v, not %v", got, want)
	}
	keep(t, again, 3, questionsOf(3, 1)...)
	third := openJournal(t, crashed(t, again.dir))
	if got := kept(t, third); len(got) != 5 || got[questionsOf(3, 1)[0]] != 3 {
		t.Errorf("after a second crash it has %v", got)
	}
	if _, err := OpenJournal(crashed(t, dir), journalClasses+1, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "4 classes") {
		t.Errorf("a journal of 3 classes is read as one of 4: %v", err)
	}
}

func TestAJournalHasOneHolder(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir)
	_, err := OpenJournal(dir, journalClasses, slog.New(slog.DiscardHandler))
	if !errors.Is(err, ErrJournal) || !strings.Contains(err.Error(), fmt.Sprintf(":%d)", os.Getpid())) || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("a second holder: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	openJournal(t, dir)
}

// TestATornTailIsCut at every byte: what was synced before is whole, and what is written after is too.
func TestATornTailIsCut(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir)
	keep(t, j, 1, questionsOf(1, 5, 6)...)
	whole := j.current.bytes()
	keep(t, j, 2, questionsOf(2, 7, 8)...)
	path := j.current.f.Name()
	for size := range j.current.bytes() {
		c := crashed(t, dir)
		torn := filepath.Join(c, filepath.Base(path))
		if err := os.Truncate(torn, size); err != nil {
			t.Fatal(err)
		}
		r := openJournal(t, c)
		want := 0
		if first := int64(len(j.current.header)); size > first {
			want = int((size - first) / j.current.size)
		}
		if got := kept(t, r); len(got) != want || (size >= whole && got[questionsOf(1, 6)[0]] != 1) {
			t.Fatalf("cut to %d bytes: %v", size, got)
		}
		keep(t, r, 9, questionsOf(3, 1)...)
		r.Close()
		if got := kept(t, openJournal(t, c)); len(got) != want+1 {
			t.Fatalf("cut to %d bytes, and gone on: %v", size, got)
		}
	}
	// A page that did not reach the disk.
	c := crashed(t, dir)
	b, err := os.ReadFile(filepath.Join(c, filepath.Base(path)))
	if err != nil {
		t.Fatal(err)
	}
	clear(b[whole : whole+10])
	if err := os.WriteFile(filepath.Join(c, filepath.Base(path)), b, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := kept(t, openJournal(t, c)); len(got) != 2 {
		t.Errorf("with a hole after two answers: %v", got)
	}
}

func TestAnswersThatTheDiskChangesAreNotGiven(t *testing.T) {
	j := openJournal(t, t.TempDir())
	keep(t, j, 1, questionsOf(1, 5)...)
	if _, err := j.current.f.WriteAt([]byte{1}, j.current.bytes()-6); err != nil {
		t.Fatal(err)
	}
	err := j.read(questionsOf(1, 5)[0], make([]float32, journalClasses))
	if err == nil || errors.Is(err, ErrJournal) || !strings.Contains(err.Error(), "iteration 1, sample 5 cannot be read back") {
		t.Errorf("the error is %v", err)
	}
}

func TestAFullDiskTakesNothingInPart(t *testing.T) {
	for _, room := range []int{0, 1, 29, 40, 63, 64, 90, 4096} { // a file's first line has 29 bytes, a record 32
		dir := t.TempDir()
		j := openJournal(t, dir)
		left := room
		j.write = func(f *os.File, b []byte, at int64) error {
			n := min(left, len(b))
			left -= n
			if _, err := f.WriteAt(b[:n], at); err != nil {
				return err
			}
			if n < len(b) {
				return &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
			}
			return nil
		}
		q := questionsOf(4, 1, 2)
		rows := append(rowOf(q[0], 1), rowOf(q[1], 1)...)
		if err := j.add(q, rows); (err == nil) != (room == 4096) {
			t.Fatalf("with room for %d bytes: %v", room, err)
		} else if err != nil {
			if !errors.Is(err, ErrJournal) || !strings.Contains(err.Error(), "iteration 4") || !strings.Contains(err.Error(), "free some space") {
				t.Errorf("the error is %v", err)
			}
			if j.has(q[0]) || j.has(q[1]) {
				t.Error("an answer that was refused is known")
			}
			if got := kept(t, openJournal(t, crashed(t, dir))); len(got) != 0 {
				t.Errorf("with room for %d bytes, a crash leaves %v", room, got)
			}
			left = 4096
			keep(t, j, 2, q...)
		}
		for _, got := range []map[question]int{kept(t, j), kept(t, openJournal(t, crashed(t, dir)))} {
			if len(got) != 2 || got[q[0]] != got[q[1]] || (room < 4096) != (got[q[0]] == 2) {
				t.Errorf("with room again: %v", got)
			}
		}
	}
}

func TestWhatACheckpointCoversIsDropped(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := openJournal(t, dir)
	for k := uint32(1); k <= 6; k++ {
		keep(t, j, 1, questionsOf(k, 1, 2)...)
		j.current = nil // a file for each iteration
	}
	keep(t, j, 1, questionsOf(0, 1)...) // drawn once a run
	if err := j.Drop(4); err != nil {
		t.Fatal(err)
	}
	for _, got := range []map[question]int{kept(t, j), kept(t, openJournal(t, crashed(t, dir)))} {
		if len(got) != 7 || got[questionsOf(4, 2)[0]] != 1 || got[questionsOf(0, 1)[0]] != 1 || got[questionsOf(3, 2)[0]] == 1 {
			t.Errorf("after a checkpoint of iteration 4 it keeps %v", got)
		}
	}
	keep(t, j, 1, questionsOf(7, 1)...)
	if err := j.Forget(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) || len(j.index) != 0 {
		t.Errorf("after the run the folder is still there: %v", err)
	}
}

// TestAJournalIsAMap that survives crashes, with a disk that is full now and then.
func TestAJournalIsAMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		j := openJournal(t, t.TempDir())
		defer func() { j.Close() }()
		want := map[question]int{}
		for n := range rapid.IntRange(1, 40).Draw(rt, "operations") {
			switch rapid.IntRange(0, 5).Draw(rt, "operation") {
			case 0: // a crash
				dir := crashed(t, j.dir)
				j.Close()
				j = openJournal(t, dir)
			case 1: // the disk is full in the middle of a write
				write := j.write
				j.write = func(f *os.File, b []byte, at int64) error {
					_, err := f.WriteAt(b[:rapid.IntRange(0, len(b)).Draw(rt, "bytes")], at)
					return errors.Join(err, syscall.ENOSPC)
				}
				if err := j.add(questionsOf(9, 1, 2, 3), make([]float32, 9)); err == nil {
					rt.Fatal("a full disk takes answers")
				}
				j.write = write
			case 2:
				j.current = nil // as where a file is full
			default:
				k := rapid.Uint32Range(0, 5).Draw(rt, "iteration")
				var qs []question
				for _, q := range questionsOf(k, rapid.SliceOfNDistinct(rapid.Uint32Range(0, 9), 1, 5, rapid.ID).Draw(rt, "samples")...) {
					if !j.has(q) {
						qs = append(qs, q)
						want[q] = n
					}
				}
				if len(qs) > 0 {
					keep(t, j, n, qs...)
				}
			}
			if got := kept(t, j); !maps.Equal(got, want) {
				rt.Fatalf("it has %v, not %v", got, want)
			}
		}
	})
}
