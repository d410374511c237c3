// Package study is sets of runs that answer a question: which runs a study consists of (Plan), what came of those that are over (Read, Summarise), and what that shows (Claims). It
// is pure but for reading and writing a study's folder; running is the command line's.
//
// A run is known by its spec's hash: its folder is runs/<first 16 hex digits>. So a study that is begun again finds what it has, two studies in one folder share what they have in
// common, and a run whose spec changed is another run. Where a study's tables are made of the same runs they are the same bytes, however often the study was interrupted.
package study

import (
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// Names in a study's folder.
const (
	SpecFile    = "study.yaml"   // the StudySpec, by protojson's names
	TeacherFile = "teacher.json" // what was measured of the teacher: Teacher
	TeacherDir  = "teacher"      // the run that trained the teacher, where the study did
	RunsDir     = "runs"
	ResultsFile = "results.json" // Summary; no times, which differ
	TableFile   = "results.csv"  // a line an arm
	RunsFile    = "runs.csv"     // a line a run; no times
	SpeedFile   = "speed.csv"    // images/s of each run; apart, for it differs from time to time
)

// Phases of a study.
const (
	Select = "select" // trained on 1 - validation of the training images, judged on the rest: what is chosen is chosen here
	Refit  = "refit"  // trained on all of them, tested once
)

// Run is one run of a study.
type Run struct {
	Arm    int // index in the spec's arms
	Seed   uint64
	Phase  string
	Spec   *ditherv1.RunSpec
	Hash   string // ditherv1.Hash of the spec
	Folder string // relative to the study's: runs/<16 digits>

	PerEpoch           int // iterations of an epoch: floor(n/B)
	GradientNormImages int // training images of the gradient norm that it must measure; 0 in the phase select, which has none
	EvalEvery          int // epochs between evaluations for its curves; 0: at the end only
}

// State is where a run stands.
type State string

// States of a run.
const (
	Missing  State = "missing"  // no folder
	Partial  State = "partial"  // begun
	Finished State = "finished" // all there
	Diverged State = "diverged" // a parameter or the loss became no number: marked, and never tried again
	Failed   State = "failed"   // for another reason; tried again
)

// Outcome is what came of a run. What was not measured is nil.
type Outcome struct {
	Run
	State                                                                  State
	Reason                                                                 string   // of Diverged and Failed, in words
	GradientNorm, ValidationAccuracy, TestAccuracy, TestLoss, TrainingLoss *float64 // TrainingLoss: mean over the last epoch's iterations
	GradientNormImages                                                     int
	Epochs                                                                 []Epoch // by epoch, as far as recorded
	ImagesPerSecond                                                        float64
	ParametersSHA256                                                       string
}

// Epoch is a point of the curves of Figure 3.
type Epoch struct {
	Epoch                              float64
	TrainingLoss                       float64 // mean over the epoch's iterations of the loss that is minimised
	TestLoss, TestAccuracy, Validation *float64
}

// Teacher is what was measured of the teacher.
type Teacher struct {
	SHA256             string   `json:"sha256"`
	Model              string   `json:"model"`
	TestAccuracy       *float64 `json:"test_accuracy"`
	TestLoss           *float64 `json:"test_loss"`
	GradientNorm       *float64 `json:"gradient_norm"`
	GradientNormImages int      `json:"gradient_norm_images"`
}

// Estimate is a mean over seeds with its 95 % interval by Student's t; with one value there is no interval, and Low and High are nil.
type Estimate struct {
	N    int      `json:"n"`
	Mean float64  `json:"mean"`
	SD   float64  `json:"sd"`
	Low  *float64 `json:"low"`
	High *float64 `json:"high"`
}

// Point is an arm's results over its seeds.
type Point struct {
	Arm                int       `json:"arm"`
	Name               string    `json:"name"`  // "gaussian sigma2=4"; with what else differs between arms
	Noise              string    `json:"noise"` // "none", "gaussian", "symmetric" or the service's name
	Scale              float64   `json:"scale"` // sigma2 or p; 0 for none
	Batch              uint32    `json:"batch"`
	LR                 float64   `json:"lr"`
	Iterations         uint32    `json:"iterations"`          // of the phase refit
	GradientNorm       *Estimate `json:"gradient_norm"`       // refit
	ValidationAccuracy *Estimate `json:"validation_accuracy"` // select
	TestAccuracy       *Estimate `json:"test_accuracy"`       // refit
	TestLoss           *Estimate `json:"test_loss"`           // refit
	TrainingLoss       *Estimate `json:"training_loss"`       // refit
	Runs               int       `json:"runs"`                // of the arm, in all phases
	Finished           int       `json:"finished"`
	Diverged           int       `json:"diverged"`
}

// Choice is the arm of a noise that is best on the held-out images.
type Choice struct {
	Noise      string    `json:"noise"`
	Arm        int       `json:"arm"`
	Validation *Estimate `json:"validation_accuracy"`
	Test       *Estimate `json:"test_accuracy"`
}

// Verdict is what runs say of a claim.
type Verdict string

// Verdicts.
const (
	Shown        Verdict = "shown"
	NotShown     Verdict = "not shown"
	Contradicted Verdict = "contradicted"
)

// Claim is a sentence that can be wrong, and what the runs say of it.
type Claim struct {
	Text     string   `json:"text"`
	Verdict  Verdict  `json:"verdict"`
	Measure  string   `json:"measure"` // what Value is: "Spearman's correlation of gradient norm and sigma2"
	Value    *float64 `json:"value"`
	Low      *float64 `json:"low"` // of the 95 % interval
	High     *float64 `json:"high"`
	N        int      `json:"n"`      // values behind it
	Interval string   `json:"method"` // how the interval was made, in words
	Why      string   `json:"why"`    // why this verdict, in words
}

// Summary is all that a study shows: results.json.
type Summary struct {
	Spec      *ditherv1.StudySpec `json:"-"`
	SpecHash  string              `json:"study_sha256"`
	Teacher   *Teacher            `json:"teacher"` // nil: not measured
	Points    []Point             `json:"points"`  // by arm
	Choices   []Choice            `json:"choices"` // of the design "scales"
	Claims    []Claim             `json:"claims"`
	Runs      int                 `json:"runs"`
	Finished  int                 `json:"finished"`
	Diverged  int                 `json:"diverged"`
	Outcomes  []Outcome           `json:"-"` // by arm, phase, seed
	Unmatched []string            `json:"-"` // folders in runs/ that are of no run of this study
}
