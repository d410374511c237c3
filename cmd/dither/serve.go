package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/coordinator/membership"
	"github.com/dither-ml/dither/dataloader"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/kernel"
)

const (
	leaseTTL = 10 * time.Second // of a role: how long it may be silent towards etcd before the others think it gone
	leadTTL  = 5 * time.Second  // of the coordinator that leads: then the next one does
)

func newServeCommand(a *app) *cobra.Command {
	cmd := group(&cobra.Command{Use: "serve", Short: "Be one role of a run: coordinator, trainer, teacher, noise or etcd",
		Example: "  dither serve coordinator --dataset cifar10 --teacher resnet20.th --trainers 2 --listen 10.0.0.1:7000 --out runs/first\n" +
			"  dither serve teacher --coordinator 10.0.0.1:7000 --listen 10.0.0.2:7001 --data data\n" +
			"  dither serve trainer --coordinator 10.0.0.1:7000 --listen 10.0.0.3:7002 --data data"})
	cmd.AddCommand(newServeCoordinatorCommand(a), newServeTeacherCommand(a), newServeTrainerCommand(a), newNoiseServeCommand(a, "noise", "dither serve noise"), newServeEtcdCommand(a))
	return cmd
}

// serveFlags is what every role takes.
type serveFlags struct {
	attached, tcpOnly                  bool
	listen, advertise, coordinator, id string
	etcd, run                          string
	data, kernels                      string
	threads                            int
	wait                               time.Duration
	trains, shareGPU                   bool // of a trainer, which has a GPU to itself unless it may share
	gpus                               uint32
}

func (f *serveFlags) define(c *cobra.Command, worker bool) {
	s := c.Flags()
	s.BoolVar(&f.attached, "attached", false, "end when standard input does: for a role that `dither run` starts")
	_ = s.MarkHidden("attached")
	s.StringVar(&f.listen, "listen", "127.0.0.1:0", "HOST:PORT to listen on; port 0: any that is free")
	s.StringVar(&f.advertise, "advertise", "", "HOST:PORT under which others reach it; default: where it listens")
	if !worker {
		return
	}
	s.BoolVar(&f.tcpOnly, "tcp-only", false, "reach trainers of this host by TCP too, so that a proxy can stand between")
	_ = s.MarkHidden("tcp-only")
	s.StringVar(&f.coordinator, "coordinator", "", "HOST:PORT,... of the run's coordinators")
	s.StringVar(&f.etcd, "etcd", "", "with --run, in place of --coordinator: HOST:PORT,... of the etcd that knows who leads")
	s.StringVar(&f.run, "run", "", "with --etcd: the run's name there")
	s.StringVar(&f.data, "data", "data", "folder that holds the data set")
	s.StringVar(&f.kernels, "kernels", "auto", kernelsHelp)
	s.StringVar(&f.id, "id", "", "its name in the run; default: host, process and a number that is another at each start")
	s.IntVar(&f.threads, "threads", 0, "threads; 0: one for each processor")
	s.DurationVar(&f.wait, "wait", time.Minute, "how long to wait for the coordinator")
}

// drain is over when the role should leave in order: a signal, or the end of the `dither run` that started it.
func (f *serveFlags) drain(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if f.attached {
		follow(cancel)
	}
	return ctx, cancel
}

func (f *serveFlags) advertised(l net.Listener) string {
	if f.advertise != "" {
		return f.advertise
	}
	return l.Addr().String()
}

// name is the role's id in the run. By default every start has another: one that was lost and its successor must not be taken for one.
func (f *serveFlags) name(role string) string {
	if f.id != "" {
		return f.id
	}
	host, _ := os.Hostname()
	return fmt.Sprintf("%s-%s-%d-%04x", role, host, os.Getpid(), rand.N(1<<16))
}

func (f *serveFlags) open(run *ditherv1.GetRunResponse, test bool) (*dataloader.Set, error) {
	d := run.GetSpec().GetDataset()
	set, err := dataloader.Open(d.GetName(), f.data, dataloader.Options{TrainLimit: int(d.GetTrainLimit()), TestLimit: int(d.GetTestLimit()), SkipTest: !test})
	if err != nil {
		return nil, badInput(err)
	}
	return set, nil
}

// worker is a role that computes: it listens, has heard of the run from its coordinator, and has the data and kernels.
type worker struct {
	listener net.Listener
	client   ditherv1.CoordinatorServiceClient
	run      *ditherv1.GetRunResponse
	members  *membership.Client
	data     *dataloader.Set
	sets     []kernel.Set // one, or one for each of a trainer's GPUs
}

// kernels is the first set, which says what all are.
func (w *worker) kernels() kernel.Set { return w.sets[0] }

// worker makes the role ready; it needs the test images where it evaluates.
func (f *serveFlags) worker(ctx context.Context, test bool) (_ *worker, err error) {
	w := &worker{}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.listener, err = listen("--listen", f.listen); err != nil {
		return nil, err
	}
	if w.client, w.run, w.members, err = f.join(ctx); err != nil {
		return nil, err
	}
	if w.data, err = f.open(w.run, test); err != nil {
		return nil, err
	}
	spec := w.run.GetSpec()
	arithmetic := spec.GetArithmetic()
	if !f.trains {
		arithmetic = spec.GetTeacher().GetArithmetic()
	}
	precision := ditherv1.Precision(arithmetic)
	if err := checkPrecision(f.kernels, precision); err != nil {
		return nil, badInput(fmt.Errorf("the run is in arithmetic %s: %w", arithmetic, err))
	}
	if w.sets, err = openKernelsFor(gpuUser{f.trains, f.shareGPU, int(f.gpus)}, f.kernels, precision, f.threads); err != nil {
		return nil, err
	}
	if its := w.kernels().Arithmetic(); its != arithmetic && (f.trains || spec.GetTeacher().GetModel() != nil) { // before the network is prepared on kernels that will be refused
		return nil, badInputf("the run is in arithmetic %s and kernel set %s computes in %s; %s", arithmetic, w.kernels().Name(), its, ditherv1.OtherKernels(its, arithmetic))
	}
	return w, nil
}

func (w *worker) close() {
	closeAll(w.sets)
	if w.listener != nil {
		w.listener.Close()
	}
}
