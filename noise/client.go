package noise

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

var (
	// ErrUnavailable: a noise service that is not there, or not in time.
	ErrUnavailable = errors.New("noise service unavailable")
	// ErrAnswer: a noise service that refused a question or whose answer is of no use.
	ErrAnswer = errors.New("bad answer of a noise service")
)

// serviceError is a sentence about a service, of a kind to test for.
type serviceError struct {
	kind, cause error // cause may be nil
	sentence    string
}

func (e *serviceError) Error() string   { return e.sentence }
func (e *serviceError) Unwrap() []error { return []error{e.kind, e.cause} }

// ClientOptions says how patient a client is; a zero field has its default.
type ClientOptions struct {
	Timeout  time.Duration     // for each try; 10 s
	Attempts int               // tries while the service is unavailable; 5
	Backoff  time.Duration     // before the second try, doubled before each further one; 200 ms
	Dial     []grpc.DialOption // appended to the client's own, which are plain text without a proxy
}

// chunkBytes bounds the logits of one message well below the 4 MiB that most gRPC servers take unless told otherwise.
const chunkBytes = 1 << 20

type client struct {
	address    string
	service    string // the name it must have; empty: any
	parameters map[string]float64
	options    ClientOptions
	conn       *grpc.ClientConn
	stub       ditherv1.NoiseServiceClient
}

// NewClient makes a noise of the service at address: HOST:PORT, or those of replicas that give the same answers, with + between them, of which the first
// that is there is asked. spec gives the parameters that go with every question and, if its service name is
// set, the name that the service must still have. Nothing is sent yet. The error wraps ErrSpec.
//
// The errors of the client's methods wrap ErrUnavailable, ErrAnswer or the context's, and name the address and, where there is one, the
// iteration and sample.
func NewClient(address string, spec *ditherv1.NoiseSpec, o ClientOptions) (Noise, error) {
	if err := checkAddresses(address); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSpec, err)
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Attempts <= 0 {
		o.Attempts = 5
	}
	if o.Backoff <= 0 {
		o.Backoff = 200 * time.Millisecond
	}
	reconnect := backoff.Config{BaseDelay: o.Backoff, Multiplier: 2, Jitter: 0.1, MaxDelay: 5 * time.Second}
	dial := append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(), // the service is a part of the run, on this machine or its cluster
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: o.Timeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)),
	}, o.Dial...)
	where := manual.NewBuilderWithScheme("noise")
	var at resolver.State
	for _, a := range replicas(address) {
		at.Endpoints = append(at.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: a}}})
	}
	where.InitialState(at)
	conn, err := grpc.NewClient("noise:///"+replicas(address)[0], append(dial, grpc.WithResolvers(where))...)
	if err != nil {
		return nil, fmt.Errorf("%w: noise service %s: %w", ErrSpec, address, err)
	}
	return &client{address, spec.GetService(), maps.Clone(spec.GetParameters()), o, conn, ditherv1.NewNoiseServiceClient(conn)}, nil
}

func (c *client) Close() error { return c.conn.Close() }

func (c *client) Describe(ctx context.Context) (Description, error) {
	var a *ditherv1.DescribeResponse
	err := c.call(ctx, "asked what it is", func(ctx context.Context) (err error) {
		a, err = c.stub.Describe(ctx, &ditherv1.DescribeRequest{Parameters: c.parameters})
		return err
	})
	if err != nil {
		return Description{}, err
	}
	d := Description{a.GetName(), a.GetParameters(), a.GetReplayable(), a.GetUnbiased(), a.GetVariance()}
	switch {
	case d.Name == "":
		return d, c.bad("asked what it is", "it gives no name: a service needs one that is stable over restarts")
	case c.service != "" && d.Name != c.service:
		return d, c.bad("asked what it is", fmt.Sprintf("it is %q, and the run was made with %q: start that one, or make a new run", d.Name, c.service))
	case math.IsNaN(d.Variance) || math.IsInf(d.Variance, 0):
		return d, c.bad("asked what it is", fmt.Sprintf("its variance is %v: a negative number says that it depends on the logits", d.Variance))
	}
	return d, nil
}

func (c *client) Perturb(ctx context.Context, seed uint64, iteration uint32, samples []uint32, logits, out []float32) error {
	classes, err := shape(samples, logits, out)
	if err != nil {
		return err
	}
	rows := max(1, chunkBytes/(4*max(1, classes)))
	for from := 0; from < len(samples); from += rows {
		to := min(from+rows, len(samples))
		part := samples[from:to]
		what := fmt.Sprintf("iteration %d, %d samples from %d on", iteration, len(part), part[0])
		question := &ditherv1.PerturbRequest{Seed: seed, Iteration: iteration, Samples: part, Parameters: c.parameters,
			Logits: newTensor(len(part), classes, logits[from*classes:to*classes])}
		var a *ditherv1.PerturbResponse
		err := c.call(ctx, what, func(ctx context.Context) (err error) {
			a, err = c.stub.Perturb(ctx, question)
			return err
		})
		if err != nil {
			return err
		}
		if _, err := checkTensor(a.GetLogits(), len(part), classes); err != nil {
			return c.bad(what, "it answered "+err.Error())
		}
		noisy := out[from*classes : to*classes]
		unpack(noisy, a.GetLogits())
		if i := firstNotFinite(noisy); i >= 0 {
			return c.bad(fmt.Sprintf("iteration %d, sample %d, class %d", iteration, part[i/classes], i%classes), fmt.Sprintf("it answered %v", noisy[i]))
		}
	}
	return nil
}

// ask sends a question as it is, bad ones too, once: for Check.
func (c *client) ask(ctx context.Context, q *ditherv1.PerturbRequest) error {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	q.Parameters = c.parameters
	_, err := c.stub.Perturb(ctx, q)
	return err
}

// passing are the codes of a service that is not there for the moment: it is down, or going down with questions in its hands.
var passing = map[codes.Code]bool{codes.Unavailable: true, codes.Canceled: true, codes.Aborted: true}

// call tries f until it is answered, or refused, or there have been enough tries, and puts its error in words.
func (c *client) call(ctx context.Context, what string, f func(context.Context) error) error {
	pause := c.options.Backoff
	for attempt := 1; ; attempt++ {
		one, cancel := context.WithTimeout(ctx, c.options.Timeout)
		err := f(one)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("noise service %s (%s): %w", c.address, what, context.Cause(ctx))
		case !passing[status.Code(err)] || attempt == c.options.Attempts:
			return c.failure(what, err)
		}
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return fmt.Errorf("noise service %s (%s): %w", c.address, what, context.Cause(ctx))
		}
		pause *= 2
	}
}

func (c *client) failure(what string, err error) error {
	s := status.Convert(err)
	e := &serviceError{ErrAnswer, err, ""}
	switch s.Code() {
	case codes.Unavailable, codes.Canceled, codes.Aborted:
		e.kind = ErrUnavailable
		e.sentence = fmt.Sprintf("noise service %s does not answer: %s (%s); start it with `dither noise serve` or check the address", c.address, s.Message(), what)
	case codes.DeadlineExceeded:
		e.kind = ErrUnavailable
		e.sentence = fmt.Sprintf("noise service %s did not answer within %v (%s); see whether it is overloaded or stuck", c.address, c.options.Timeout, what)
	case codes.Unimplemented:
		e.sentence = fmt.Sprintf("what listens at %s is no noise service: it does not speak dither.v1.NoiseService (%s); check the address", c.address, s.Message())
	default:
		e.sentence = fmt.Sprintf("noise service %s refuses (%s): %v: %s", c.address, what, s.Code(), s.Message())
	}
	return e
}

func (c *client) bad(what, answer string) error {
	return &serviceError{kind: ErrAnswer, sentence: fmt.Sprintf("noise service %s (%s): %s; `dither noise check %s` tells more", c.address, what, answer, c.address)}
}
