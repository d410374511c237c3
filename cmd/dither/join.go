package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dither-ml/dither/coordinator"
	"github.com/dither-ml/dither/coordinator/membership"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const (
	askFor  = 2 * time.Second        // how long one coordinator may take for an answer, before the next is asked
	askWait = 250 * time.Millisecond // between two rounds of asking
)

// errNoLeader says that nobody leads the run now.
var errNoLeader = errors.New("no coordinator leads the run now")

// dialLeader gives a client of the coordinator that etcd says leads.
func dialLeader(ctx context.Context, members *membership.Client) (ditherv1.CoordinatorServiceClient, io.Closer, error) {
	asking, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	address, err := members.Leader(asking)
	if err != nil {
		return nil, nil, err
	}
	if address == "" {
		return nil, nil, errNoLeader
	}
	return coordinator.Dial(ctx, address)
}

// join asks the coordinator for the run and connects to its etcd. Until one answers, all that are known are asked in turn.
func (f *serveFlags) join(ctx context.Context) (ditherv1.CoordinatorServiceClient, *ditherv1.GetRunResponse, *membership.Client, error) {
	ask, where, err := f.askers()
	if err != nil {
		return nil, nil, nil, err
	}
	asking, cancel := context.WithTimeout(ctx, f.wait)
	defer cancel()
	for {
		for _, dial := range ask {
			client, run, dialErr := askOne(asking, dial)
			if dialErr == nil {
				members, err := membership.ConnectWithin(asking, run.GetEtcd(), run.GetRun(), f.wait)
				if err != nil {
					return nil, nil, nil, temporary(err)
				}
				return client, run, members, nil
			}
			if asking.Err() == nil || err == nil {
				err = dialErr // the last one is of the time's end alone
			}
		}
		select {
		case <-time.After(askWait):
		case <-asking.Done():
			if ctx.Err() != nil {
				return nil, nil, nil, context.Cause(ctx)
			}
			return nil, nil, nil, temporary(fmt.Errorf("no coordinator answers at %s within %v: %s; start one with `dither serve coordinator`, or check the address", where, f.wait, ditherv1.Message(err)))
		}
	}
}

// dialer gives a client of a coordinator.
type dialer func(context.Context) (ditherv1.CoordinatorServiceClient, io.Closer, error)

// askers are the ways to a coordinator that the flags name, and their words for it.
func (f *serveFlags) askers() ([]dialer, string, error) {
	switch {
	case f.coordinator == "" && f.etcd == "" && f.run == "":
		return nil, "", badInputf("--coordinator is missing; give HOST:PORT of the run's coordinator")
	case f.coordinator != "" && (f.etcd != "" || f.run != ""), (f.etcd == "") != (f.run == ""):
		return nil, "", badInputf("a run is found by --coordinator, or by --etcd and --run together; give one of the two")
	case f.etcd != "":
		return []dialer{func(ctx context.Context) (ditherv1.CoordinatorServiceClient, io.Closer, error) {
			members, err := membership.Connect(ctx, strings.Split(f.etcd, ","), f.run)
			if err != nil {
				return nil, nil, err
			}
			defer members.Close()
			return dialLeader(ctx, members)
		}}, "the address that etcd at " + f.etcd + " names for run " + f.run, nil
	}
	var all []dialer
	for address := range strings.SplitSeq(f.coordinator, ",") {
		all = append(all, func(ctx context.Context) (ditherv1.CoordinatorServiceClient, io.Closer, error) {
			return coordinator.Dial(ctx, address)
		})
	}
	return all, f.coordinator, nil
}

// askOne asks one coordinator for its run.
func askOne(ctx context.Context, dial dialer) (ditherv1.CoordinatorServiceClient, *ditherv1.GetRunResponse, error) {
	client, conn, err := dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	bound, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	run, err := client.GetRun(bound, &ditherv1.GetRunRequest{})
	if err != nil {
		_ = conn.Close() // the first error says more
		if status.Code(err) == codes.DeadlineExceeded {
			err = fmt.Errorf("no answer within %v", askFor)
		}
		return nil, nil, err
	}
	return client, run, nil
}
