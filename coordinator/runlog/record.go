// Package runlog is the append-only record of a run: the files of its folder that say what happened. metrics.jsonl has one line an iteration,
// events.jsonl one line for whatever else is worth telling, result.json says how it ended, tensorboard/ holds the curves in TensorBoard's format.
// A line counts once its newline is there; what was written is never changed, but for iterations that a resumed run goes back before.
package runlog

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"
)

var (
	// ErrExists: the folder holds a run already.
	ErrExists = errors.New("holds a run already")
	// ErrNoRun: the folder holds no run.
	ErrNoRun = errors.New("holds no run")
	// ErrOrder: an iteration that does not follow the last one recorded.
	ErrOrder = errors.New("iterations are recorded once each, in ascending order")
)

// Names of the files in a run's folder.
const (
	MetricsFile       = "metrics.jsonl"
	EventsFile        = "events.jsonl"
	ResultFile        = "result.json"
	SpecFile          = "spec.yaml"
	TensorBoardFolder = "tensorboard"
)

// Iteration is one applied iteration, a line of metrics.jsonl.
type Iteration struct {
	Iteration           uint32  `json:"iteration"`             // k, from 1
	Loss                float64 `json:"loss"`                  // of the batch, before the update; "NaN", "+Inf" or "-Inf" in the file where it is no number
	Accuracy            float64 `json:"accuracy"`              // fraction of the training batch whose greatest logit is the data set's label
	LR                  float64 `json:"lr"`                    // eta
	Seconds             float64 `json:"seconds"`               // wall seconds on the slowest trainer
	ImagesPerSecond     float64 `json:"images_per_second"`     // over all trainers
	Generation          uint64  `json:"generation"`            // in which it was applied
	LabelsSHA256        string  `json:"labels_sha256"`         // digest of the noisy soft labels of the batch; empty without a teacher
	LabelWaitSeconds    float64 `json:"label_wait_seconds"`    // of Seconds, waiting for labels
	ExchangeWaitSeconds float64 `json:"exchange_wait_seconds"` // of Seconds, waiting for the all-reduce
}

// Kinds of events.
const (
	KindStatus     = "status"     // the phase changed; Message says why
	KindEvaluation = "evaluation" // Iteration, Split, Images; Loss and Accuracy, or GradientNorm
	KindCheckpoint = "checkpoint" // Iteration, Path
	KindGeneration = "generation" // Generation; Message says why it was made
	KindResult     = "result"     // the end as it should be
	KindFailure    = "failure"    // the end as it should not be
)

// Event is a line of events.jsonl. Fields that do not belong to its kind are left out.
type Event struct {
	Time         time.Time `json:"time"` // zero: when it is recorded
	Kind         string    `json:"kind"`
	Message      string    `json:"message"`                 // for people, a sentence
	Iteration    uint32    `json:"iteration,omitempty"`     // last applied iteration
	Split        string    `json:"split,omitempty"`         // "test", "validation" or "train"
	Images       int       `json:"images,omitempty"`        // images of an evaluation
	Loss         *float64  `json:"loss,omitempty"`          // mean cross-entropy; nil where not measured or no number
	Accuracy     *float64  `json:"accuracy,omitempty"`      // fraction right
	GradientNorm *float64  `json:"gradient_norm,omitempty"` // (1/N) sum_i sum_l ||grad f_l(x_i)||^2
	Path         string    `json:"path,omitempty"`          // of a checkpoint, relative to the run's folder
	Generation   uint64    `json:"generation,omitempty"`
}

// Result is result.json: how a run ended. What was not measured is null.
type Result struct {
	Phase               string   `json:"phase"`              // "finished", "stopped" or "failed"
	Diverged            bool     `json:"diverged,omitempty"` // it failed because the loss became no number, which it would do again
	Reason              string   `json:"reason"`             // in words
	Iterations          uint32   `json:"iterations"`
	ParametersSHA256    string   `json:"parameters_sha256"`
	SpecSHA256          string   `json:"spec_sha256"`
	Arithmetic          string   `json:"arithmetic"`
	Precision           string   `json:"precision"` // the arithmetic's: "fp32" or "bf16"
	KernelSets          []string `json:"kernel_sets"`
	TrainLoss           *float64 `json:"train_loss"` // of the last iteration
	ValidationAccuracy  *float64 `json:"validation_accuracy"`
	TestAccuracy        *float64 `json:"test_accuracy"`
	TestLoss            *float64 `json:"test_loss"`
	TeacherTestAccuracy *float64 `json:"teacher_test_accuracy"`
	GradientNorm        *float64 `json:"gradient_norm"`
	GradientNormImages  *int     `json:"gradient_norm_images"`
	TeacherGradientNorm *float64 `json:"teacher_gradient_norm"`
	Seconds             float64  `json:"seconds"`
	ImagesPerSecond     float64  `json:"images_per_second"`
	Generations         uint64   `json:"generations"`
	DataOfficial        bool     `json:"data_official"` // the data's checksums are the official ones
}

// number is a float64 that JSON can hold whatever it is.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	if f := float64(n); math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.AppendQuote(nil, strconv.FormatFloat(f, 'g', -1, 64)), nil
	}
	return json.Marshal(float64(n))
}

func (n *number) UnmarshalJSON(b []byte) error {
	text := string(b)
	if unquoted, err := strconv.Unquote(text); err == nil {
		text = unquoted
	}
	f, err := strconv.ParseFloat(text, 64)
	*n = number(f)
	return err
}

// plain is Iteration without its methods; the outer field of the two structs below hides its loss.
type plain Iteration

// MarshalJSON writes a loss that is no number as a string: the iteration in which a run diverged is the one that people look for.
func (it Iteration) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Iteration uint32 `json:"iteration"` // again, to stay the first
		Loss      number `json:"loss"`
		plain
	}{it.Iteration, number(it.Loss), plain(it)})
}

// UnmarshalJSON is the way back.
func (it *Iteration) UnmarshalJSON(b []byte) error {
	v := struct {
		Loss number `json:"loss"`
		*plain
	}{0, (*plain)(it)}
	err := json.Unmarshal(b, &v)
	it.Loss = float64(v.Loss)
	return err
}

// finite is p, or nil where JSON could not hold it.
func finite(p *float64) *float64 {
	if p != nil && (math.IsNaN(*p) || math.IsInf(*p, 0)) {
		return nil
	}
	return p
}
