package program

import (
	"fmt"
	"slices"

	"github.com/dither-ml/dither/trainer/kernel"
)

// Samples are those of the owned shards, in order: pixels [G*N][C][H][W], geometry [G*N][3] (dy, dx, flip) and labels [G*N].
type Samples struct {
	Pixels           []byte
	Geometry, Labels []int32
}

// room is where an input lies, on the host and in the set's memory, with the step that takes it from there. Where the device works apart there are two, so that one is filled while the other's step is under way.
type room struct {
	pixels           *port[byte]
	geometry, labels *port[int32]
	soft             *port[float32]   // nil where no loss takes it
	bring            kernel.Recording // of the samples, on the side
	arrived          kernel.Mark      // of the side: all that was sent
	acts             []act            // the step
}

// values are what an input fills.
func (in *trainingInputs) values() []*Value {
	v := []*Value{in.pixels, in.geometry, in.labels}
	if in.soft != nil {
		v = append(v, in.soft)
	}
	return v
}

// furnish makes the rooms: the first has the memory that was built, with launches for its step.
func (t *Training) furnish(launches []launch) error {
	m := t.machine
	r, err := t.newRoom(launches)
	if err != nil || !m.apart {
		t.rooms = append(t.rooms, r)
		return err
	}
	var built []kernel.Memory
	for _, v := range t.in.values() {
		built = append(built, v.Memory)
		if v.Memory, err = m.alloc(v.kind, v.Len); err != nil {
			return err
		}
	}
	if launches, err = m.ready(t.steps); err != nil {
		return err
	}
	second, err := t.newRoom(launches)
	for i, v := range t.in.values() {
		v.Memory = built[i]
	}
	t.rooms, t.at = append(t.rooms, r, second), 1 // the first input comes to the first
	return err
}

func (t *Training) newRoom(launches []launch) (*room, error) {
	s, in := t.machine.stream, t.in
	r := &room{arrived: s.NewMark()}
	var errs [4]error
	r.pixels, errs[0] = newPort[byte](s, in.pixels.Memory)
	r.geometry, errs[1] = newPort[int32](s, in.geometry.Memory)
	r.labels, errs[2] = newPort[int32](s, in.labels.Memory)
	if in.soft != nil {
		r.soft, errs[3] = newPort[float32](s, in.soft.Memory)
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	side := t.machine.side
	r.bring = side.Record("the samples", func() {
		r.pixels.send(side)
		r.geometry.send(side)
		r.labels.send(side)
	})
	r.acts = t.machine.cut("the step of "+t.config.Model.Name, t.telling(launches), t.told)
	return r, nil
}

// telling marks the launch behind which losses and correct images are known.
func (t *Training) telling(launches []launch) []launch {
	last := -1
	for i, s := range t.steps {
		if s.Kind == Compute && slices.ContainsFunc(s.Args[len(s.Args)-s.Outputs:], func(v *Value) bool { return v == t.loss || v == t.correct }) {
			last = i
		}
	}
	launches[last].tells = true
	return launches
}

// Meanwhile is a Team's.
func (t *Training) Meanwhile(do func()) { t.alone.Meanwhile(do) }

// Room is where the samples of the next input go; Send has them on their way. It may be asked for while a Step is under way, whose own input it leaves alone. What was sent and no Step took is dropped: it may
// still be on its way, and what is sent after it comes after it.
func (t *Training) Room() Samples {
	r := t.rooms[t.next()]
	return Samples{r.pixels.host, r.geometry.host, r.labels.host}
}

func (t *Training) next() int { return (t.at + 1) % len(t.rooms) }

// Send makes what is in the Room the input of the next Step, once SendSoft has brought the noisy soft labels.
func (t *Training) Send() error {
	r := t.rooms[t.next()]
	for i, l := range r.labels.host {
		if l < 0 || int(l) >= t.config.Model.Classes {
			return fmt.Errorf("sample %d of the input has the label %d of %d classes", i, l, t.config.Model.Classes)
		}
	}
	t.sent = t.next()
	// The room is that of the step before last, which is through: the side has just brought back, or waits for, what a later step had to tell.
	r.bring.Replay()
	return nil
}

// SendSoft brings the noisy soft labels [G*N][classes] of the samples that were sent last; nil where no loss takes them.
func (t *Training) SendSoft(soft []float32) error {
	r := t.rooms[t.sent]
	if r.soft == nil {
		return nil
	}
	if len(soft) != len(r.soft.host) {
		return fmt.Errorf("the input of %d samples has %d soft labels", len(r.labels.host), len(soft))
	}
	copy(r.soft.host, soft)
	r.soft.send(t.machine.side)
	return nil
}

// Input is Room, Send and SendSoft at once; what it is given is the caller's again.
func (t *Training) Input(pixels []byte, geometry, labels []int32, soft []float32) error {
	to := t.Room()
	if len(pixels) != len(to.Pixels) || len(geometry) != len(to.Geometry) || len(labels) != len(to.Labels) {
		return fmt.Errorf("the input of %d samples has %d pixels, %d geometry and %d labels", len(to.Labels), len(pixels), len(geometry), len(labels))
	}
	copy(to.Pixels, pixels)
	copy(to.Geometry, geometry)
	copy(to.Labels, labels)
	if err := t.Send(); err != nil {
		return err
	}
	return t.SendSoft(soft)
}
