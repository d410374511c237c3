package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dither-ml/dither/dataloader"
	"github.com/dither-ml/dither/noise"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer"
	"github.com/dither-ml/dither/trainer/checkpoint"
	"github.com/dither-ml/dither/trainer/model"
)

// Names in a run's folder.
const (
	specName    = "spec.yaml"
	teacherName = "teacher.safetensors" // the teacher's parameters or logits, so that the folder is all that a run needs
	initName    = "init.safetensors"    // the start, where it is a file
	addressName = "coordinator.json"    // where the coordinator listens while the run goes on
	etcdName    = "etcd"                // what the etcd of `dither run` has on disk while the run goes on
	journalName = "journal"             // the answers of a noise that is not replayable, while the run goes on
	teacherRun  = "teacher"             // the run that trained the teacher, where `dither run` did
)

// folder is a run's folder, ready for a coordinator.
type folder struct {
	dir  string
	file *ditherv1.RunFile
	data *dataloader.Set
}

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

// files are what the coordinator hands to the other roles.
func (f *folder) files() map[ditherv1.FileKind]string {
	files := map[ditherv1.FileKind]string{}
	if f.file.Spec.GetTeacher() != nil {
		files[ditherv1.FileKind_FILE_KIND_TEACHER] = f.path(teacherName)
	}
	if f.file.Spec.GetInit().GetKind() == "file" {
		files[ditherv1.FileKind_FILE_KIND_INIT] = f.path(initName)
	}
	return files
}

// draft is a spec that is settled but for its teacher.
type draft struct {
	flags   *runFlags
	file    *ditherv1.RunFile
	beside  string // folder of the spec file, if there is one
	data    *dataloader.Set
	dir     string
	network model.Spec
	foreign string // the arithmetic that the spec file names, where it is another than ours
}

// newDraft settles what the flags, the spec file and the data say, and where the run's folder will be. It writes nothing.
func newDraft(f *runFlags, specFile string) (*draft, error) {
	d, err := newSpec(f, specFile)
	if err != nil {
		return nil, err
	}
	d.dir = f.out
	if d.dir == "" {
		d.dir = filepath.Join("runs", fmt.Sprintf("%s-%s-%s", d.file.Spec.Dataset.Name, d.file.Spec.Model.Name, time.Now().Format("20060102-150405")))
	}
	if _, err := os.Stat(d.dir); err == nil {
		return nil, badInputf("the folder %s exists already and a run never writes over another; choose another --out, or go on with it by --resume %s", d.dir, d.dir)
	}
	return d, nil
}

// newSpec is a draft that has no folder yet.
func newSpec(f *runFlags, specFile string) (*draft, error) {
	d := &draft{flags: f, file: &ditherv1.RunFile{}}
	if err := f.readTrainers(); err != nil {
		return nil, err
	}
	if specFile != "" {
		var err error
		if d.file, err = readRunFile(specFile); err != nil {
			return nil, err
		}
		if f.optimizer, err = optimizerKeys(specFile); err != nil {
			return nil, err
		}
		d.beside = filepath.Dir(specFile)
	}
	if err := f.apply(d.file); err != nil {
		return nil, err
	}
	s := d.file.Spec
	set, err := openData(s.Dataset.Name, f.data, s.Dataset.TrainLimit, s.Dataset.TestLimit)
	if err != nil {
		return nil, err
	}
	d.data = set
	describeData(s.Dataset, set)
	d.network = trainer.ModelSpec(s.Model, s.Dataset)
	if _, err := model.Parameters(d.network); err != nil {
		return nil, badInput(err)
	}
	if err := d.settleArithmetic(); err != nil {
		return nil, err
	}
	if f.given("init", s.Init != nil) {
		s.Init = &ditherv1.InitSpec{Kind: f.init}
		if f.init != "random" && f.init != "teacher" {
			s.Init.Kind = "file"
		}
	}
	training, _ := dataloader.Split(s.Seed, set.Train.N(), s.Dataset.Validation)
	order, err := dataloader.NewOrder(s.Seed, training, int(s.Batch))
	if err != nil {
		return nil, badInput(err)
	}
	if err := f.applySchedule(s, order.PerEpoch()); err != nil {
		return nil, err
	}
	if err := f.checkTrainers(s.Shards); err != nil {
		return nil, err
	}
	return d, nil
}

// settleArithmetic takes that of the kernels, in the precision of the flag or else of the spec file. Who only coordinates computes nothing, and may have no GPU: there a spec file's word stands.
func (d *draft) settleArithmetic() error {
	f, s := d.flags, d.file.Spec
	if !f.given("precision", s.Arithmetic != "") {
		f.precision = ditherv1.Precision(s.Arithmetic)
	}
	if f.coordinates && f.kernels != "cuda" && f.precision == ditherv1.BF16 && ditherv1.Precision(s.Arithmetic) == ditherv1.BF16 {
		return nil
	}
	kernels, err := openKernels(f.kernels, f.precision, 1)
	if err != nil {
		return err
	}
	defer kernels.Close()
	if s.Arithmetic != "" && s.Arithmetic != kernels.Arithmetic() {
		d.foreign = s.Arithmetic
	}
	s.Arithmetic = kernels.Arithmetic()
	return nil
}

// warn says what was made do with.
func (d *draft) warn(a *app) {
	for _, w := range d.data.Warnings {
		fmt.Fprintln(a.stderr, "dither: warning:", w)
	}
	if d.foreign != "" {
		fmt.Fprintf(a.stderr, "dither: warning: the spec file is of a run in arithmetic %s and this dither computes in %s: this is another run, with other bits\n", d.foreign, d.file.Spec.GetArithmetic())
	}
	a.warnThreads(int(d.flags.threads))
}

// teacherPath is the teacher that was asked for: a file, "train" or "none". A spec file of a run's folder has its teacher beside it.
func (d *draft) teacherPath() string {
	if d.file.Spec.GetTeacher().GetSha256() != "" && d.beside != "" && !d.flags.set.Changed("teacher") {
		return filepath.Join(d.beside, teacherName)
	}
	return d.flags.teacher
}

// initPath is the file from which the student starts, where it starts from one.
func (d *draft) initPath() string {
	if d.file.Spec.GetInit().GetSha256() != "" && d.beside != "" && !d.flags.set.Changed("init") {
		return filepath.Join(d.beside, initName)
	}
	return d.flags.init
}

// openData opens a data set and turns its warnings into the user's.
func openData(name, dir string, trainLimit, testLimit uint32) (*dataloader.Set, error) {
	set, err := dataloader.Open(name, dir, dataloader.Options{TrainLimit: int(trainLimit), TestLimit: int(testLimit)})
	if err != nil {
		return nil, badInput(err)
	}
	return set, nil
}

// describeData pins the data in the spec.
func describeData(d *ditherv1.DatasetSpec, set *dataloader.Set) {
	d.Classes, d.Channels, d.Height, d.Width = uint32(set.Classes), uint32(set.Channels), uint32(set.Height), uint32(set.Width)
	if len(d.Mean) == 0 {
		d.Mean, d.Std = dataloader.Mean[:], dataloader.Std[:]
	}
	d.TrainSha256, d.TestSha256 = set.Train.Hash(), set.Test.Hash()
}

// teacherOf gives the spec the teacher in a file, and says what will be written as the run's teacher.
func (d *draft) teacherOf(path string) (any, error) {
	s := d.file.Spec
	t := &ditherv1.TeacherSpec{View: s.GetTeacher().GetView()}
	if d.flags.given("teacher-view", t.View != "") {
		t.View = d.flags.teacherView
	}
	s.Teacher = t
	if values, sum, err := checkpoint.LoadLogits(path); err == nil {
		if want := d.data.Train.N() * d.data.Classes; len(values) != want {
			return nil, badInputf("the logits in %s are %d numbers and %d training images of %d classes need %d", path, len(values), d.data.Train.N(), d.data.Classes, want)
		}
		t.Sha256, t.Arithmetic = sum, "logits"
		return logitsFile{path}, nil
	} else if !errors.Is(err, checkpoint.ErrNoLogits) {
		return nil, badInput(fmt.Errorf("teacher: %w", err))
	}
	c, err := loadNetwork(path, d.data)
	if err != nil {
		return nil, badInput(fmt.Errorf("teacher: %w", err))
	}
	t.Model = &ditherv1.ModelSpec{Name: c.Meta.Model, Shortcut: c.Meta.Shortcut}
	t.Sha256, t.Arithmetic = trainer.Hex(c.Hash()), s.Arithmetic
	return c, nil
}

// logitsFile is a teacher that is precomputed logits.
type logitsFile struct{ path string }

// loadNetwork reads a checkpoint of any format and settles which network it is, for images and classes of the set.
func loadNetwork(path string, set *dataloader.Set) (*checkpoint.Checkpoint, error) {
	c, err := checkpoint.Load(path)
	if err != nil {
		return nil, err
	}
	if c.Meta.Model == "" {
		name, shortcut, classes, channels, err := c.Infer()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		c.Meta.Model, c.Meta.Shortcut, c.Meta.Classes, c.Meta.Channels = name, shortcut, classes, channels
	}
	if c.Meta.Classes != set.Classes || c.Meta.Channels != set.Channels {
		return nil, fmt.Errorf("%s: the network has %d classes and %d channels while %s has %d and %d", path, c.Meta.Classes, c.Meta.Channels, set.Name, set.Classes, set.Channels)
	}
	return c, nil
}

// start settles where the student starts, and gives the network of the file that it starts from, where there is one.
func (d *draft) start(init string) (start *checkpoint.Checkpoint, err error) {
	s := d.file.Spec
	switch s.Init.Kind {
	case "file":
		if start, err = loadNetwork(init, d.data); err != nil {
			return nil, badInput(fmt.Errorf("--init: %w", err))
		}
		if start.Meta.Model != s.Model.Name {
			return nil, badInputf("--init %s is a %s and the run trains a %s; give the same network", init, start.Meta.Model, s.Model.Name)
		}
		s.Init.Sha256 = trainer.Hex(start.Hash())
	case "teacher":
		s.Init.Sha256 = s.GetTeacher().GetSha256()
	}
	return start, nil
}

// write makes the run's folder from a draft whose teacher is settled; nothing is left behind if it cannot.
func (d *draft) write(ctx context.Context, teacher any, init string) (f *folder, err error) {
	s := d.file.Spec
	start, err := d.start(init)
	if err != nil {
		return nil, err
	}
	if err := ditherv1.Validate(s); err != nil {
		return nil, badInput(err)
	}
	if err := d.askNoise(ctx); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(d.dir), 0o755); err != nil {
		return nil, badInputf("the run's folder: %w", err)
	}
	if err := os.Mkdir(d.dir, 0o755); err != nil && !(errors.Is(err, fs.ErrExist) && d.ownTeacher()) {
		return nil, badInputf("the run's folder: %w", err)
	}
	f = &folder{dir: d.dir, file: d.file, data: d.data}
	switch t := teacher.(type) {
	case *checkpoint.Checkpoint:
		err = checkpoint.Save(f.path(teacherName), t)
	case logitsFile:
		err = copyFile(f.path(teacherName), t.path)
	}
	if err == nil && start != nil {
		err = checkpoint.Save(f.path(initName), start)
	}
	if err != nil {
		return nil, err
	}
	text, err := runFileText(d.file)
	if err != nil {
		return nil, err
	}
	return f, os.WriteFile(f.path(specName), text, 0o644)
}

// askNoise lets a noise that is a service give the name by which the spec knows it.
func (d *draft) askNoise(ctx context.Context) error {
	s := d.file.Spec
	if s.GetNoise().GetKind() != "service" {
		return nil
	}
	n, err := noise.New(s.Noise, d.file.Options.GetNoiseAddress())
	if err != nil {
		return badInput(err)
	}
	defer n.Close()
	about, err := n.Describe(ctx)
	if err != nil {
		return temporary(err)
	}
	s.Noise.Service = about.Name
	return nil
}

// ownTeacher says whether the folder is there because this very command trained the teacher in it.
func (d *draft) ownTeacher() bool {
	entries, err := os.ReadDir(d.dir)
	return err == nil && len(entries) == 1 && entries[0].Name() == teacherRun
}

// openFolder is the folder of a run that was made before.
func openFolder(dir, dataDir string) (*folder, error) {
	file, err := readRunFile(filepath.Join(dir, specName))
	if err != nil {
		return nil, badInput(fmt.Errorf("%s is no run's folder: %w", dir, err))
	}
	d := file.GetSpec().GetDataset()
	set, err := openData(d.GetName(), dataDir, d.GetTrainLimit(), d.GetTestLimit())
	if err != nil {
		return nil, err
	}
	if set.Train.Hash() != d.GetTrainSha256() || set.Test.Hash() != d.GetTestSha256() {
		return nil, badInputf("the %s images in %s are not those that the run in %s was made with; give --data the same files", d.GetName(), dataDir, dir)
	}
	return &folder{dir: dir, file: file, data: set}, nil
}

func copyFile(to, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// runName names a run among others: the start of its spec's hash, and when it was made.
func runName(specSHA256, dir string) string {
	h := sha256.Sum256([]byte(dir))
	return specSHA256[:12] + "-" + hex.EncodeToString(h[:3])
}
