package trainer

import (
	"errors"
	"runtime/debug"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/model"
	"github.com/dither-ml/dither/trainer/program"
)

// successor is the program of n shards with the state of the present one, if there is one. Where there is no room for both, the state waits on the host meanwhile.
func (s *Share) successor(n int) (*program.Team, error) {
	p, err := s.lower(n)
	if _, short := errors.AsType[*kernel.NoMemory](err); short && s.program != nil {
		return s.inTurn(n)
	}
	if err != nil || s.program == nil {
		return p, err
	}
	if err := p.CopyState(s.program); err != nil {
		return nil, err
	}
	s.program.Close()
	return p, nil
}

// inTurn is successor once the present program has gone. Where even that is too much, the present one comes back.
func (s *Share) inTurn(n int) (*program.Team, error) {
	state, err := s.program.State()
	if err != nil {
		return nil, err
	}
	s.program.Close()
	s.program = nil
	debug.FreeOSMemory() // what it held is free when it was collected
	p, err := s.lower(n)
	if err == nil {
		return p, p.SetState(state)
	}
	back, err2 := s.lower(s.end - s.first)
	if err2 == nil {
		err2 = back.SetState(state)
	}
	if err2 != nil {
		return nil, errors.Join(err, err2)
	}
	s.program = back
	return nil, err
}

// lower is the program of n shards, without a state; nothing was sent to it ahead.
func (s *Share) lower(n int) (*program.Team, error) {
	s.sent = 0
	d, l, o := s.spec.GetDataset(), s.spec.GetLoss(), s.spec.GetOptimizer()
	p, err := program.NewTeam(s.sets, program.TrainingConfig{Model: s.network, Groups: n, Images: s.perShard(), Batch: int(s.spec.GetBatch()), Shards: int(s.spec.GetShards()),
		Loss:      model.Loss{Quadratic: l.GetQuadratic(), KD: l.GetKd(), CE: l.GetCe(), Temperature: l.GetTemperature()},
		BatchNorm: s.spec.GetBatchnorm(), Momentum: o.GetMomentum(), WeightDecay: o.GetWeightDecay(), Mean: d.GetMean(), Std: d.GetStd(), Pad: Pad})
	if err == nil {
		p.Meanwhile(s.ahead)
	}
	return p, err
}
