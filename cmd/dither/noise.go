package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/noise"
	"github.com/dither-ml/dither/noise/teacher"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func newNoiseCommand(a *app) *cobra.Command {
	cmd := group(&cobra.Command{
		Use:     "noise",
		Short:   "Serve a noise, or check one",
		Example: "  dither noise check 127.0.0.1:7070",
	})
	cmd.AddCommand(newNoiseServeCommand(a, "serve", "dither noise serve"), newNoiseCheckCommand(a))
	return cmd
}

// noiseError gives the errors of a noise and of the teacher-logit service their exit codes.
func noiseError(err error) error {
	switch {
	case errors.Is(err, noise.ErrSpec), errors.Is(err, noise.ErrRequest), errors.Is(err, teacher.ErrCacheFile):
		return badInput(err)
	case errors.Is(err, noise.ErrUnavailable):
		return temporary(err)
	}
	return err
}

type noiseService struct {
	Address string            `json:"address"` // where it listens: HOST:PORT
	Noise   noise.Description `json:"noise"`
}

// newNoiseServeCommand is `dither noise serve`, and the same under another path.
func newNoiseServeCommand(a *app, use, path string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: "Offer a built-in noise to others",
		Long: "Offer a built-in noise to others, as dither.v1.NoiseService, until it is interrupted. The result is printed once the service listens.\n" +
			"A run uses it with --noise service:HOST:PORT.",
		Example: "  " + path + " --noise gaussian:sigma2=1 --listen 127.0.0.1:7070\n" +
			"  " + path + " --noise symmetric:p=0.3 --listen 127.0.0.1:0 --json",
		Args: noArgs,
	}
	kind := cmd.Flags().String("noise", "", "none, gaussian:sigma2=1 or symmetric:p=0.3")
	address := cmd.Flags().String("listen", "127.0.0.1:7070", "HOST:PORT to listen on; port 0: any that is free")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *kind == "" {
			return usageError(cmd, "--noise is missing: say which noise to serve, such as --noise gaussian:sigma2=1")
		}
		spec, _, err := noise.Parse(*kind)
		if err != nil {
			return noiseError(err)
		}
		switch {
		case spec.GetKind() == noise.Service:
			return badInputf("--noise %s is a service already: use its own address, or serve a built-in noise", *kind)
		case noise.Iteration(spec, 1) == 0:
			return badInputf("--noise %s: how often a noise is drawn is the run's business: leave refresh out here, and say it in the run's --noise", *kind)
		}
		n, err := noise.New(spec, "")
		if err != nil {
			return noiseError(err)
		}
		defer n.Close()
		described, err := n.Describe(cmd.Context())
		if err != nil {
			return noiseError(err)
		}
		l, err := listen("--listen", *address)
		if err != nil {
			return err
		}
		s := newService()
		ditherv1.RegisterNoiseServiceServer(s, noise.NewServer(n))
		r := noiseService{l.Addr().String(), described}
		err = a.result(r, func(w io.Writer) {
			fmt.Fprintf(w, "%s listens on %s; Ctrl-C ends it\n", noise.Format(spec, ""), r.Address)
		})
		if err != nil {
			l.Close()
			return err
		}
		return s.serve(cmd.Context(), l)
	}
	return cmd
}

func newNoiseCheckCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check HOST:PORT[?k=v]",
		Short: "Hold a noise service to what it promises",
		Long: "Ask a noise service, in whatever language it is written, what it promises, and hold many draws to that: unbiased, of the scale that it\n" +
			"claims, replayable, independent. A promise that does not hold gives exit code 1.",
		Example: "  dither noise check 127.0.0.1:7070\n  dither noise check '127.0.0.1:7070?sigma2=4' --json",
		Args:    oneArg("HOST:PORT"),
	}
	var o noise.CheckOptions
	cmd.Flags().Uint64Var(&o.Seed, "seed", 1, "seed of the draws, as a run's")
	cmd.Flags().IntVar(&o.Samples, "samples", 256, "samples of an iteration")
	cmd.Flags().IntVar(&o.Iterations, "iterations", 64, "iterations")
	cmd.Flags().IntVar(&o.Classes, "classes", 10, "logits of a sample")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		spec, address, err := noise.Parse("service:" + args[0])
		if err != nil {
			return noiseError(err)
		}
		// One try for each question: a check is to see a service that is lost now and then.
		n, err := noise.NewClient(address, spec, noise.ClientOptions{Attempts: 1})
		if err != nil {
			return noiseError(err)
		}
		defer n.Close()
		report, err := noise.Check(cmd.Context(), n, o)
		if err != nil {
			return noiseError(err)
		}
		if err := a.result(report, func(w io.Writer) { writeCheck(w, report) }); err != nil || report.OK {
			return err
		}
		var broken []string
		for _, item := range report.Items {
			if !item.OK {
				broken = append(broken, item.Name)
			}
		}
		return fmt.Errorf("the noise at %s does not hold %d of %d promises: %s", address, len(broken), len(report.Items), strings.Join(broken, ", "))
	}
	return cmd
}

// writeCheck is the report for people.
func writeCheck(w io.Writer, r *noise.CheckReport) {
	var rows [][]string
	for _, item := range r.Items {
		verdict := "ok"
		if !item.OK {
			verdict = "NO"
		}
		rows = append(rows, []string{verdict, item.Name, item.Detail})
	}
	table(w, []string{"", "PROMISE", "WHAT WAS SEEN"}, rows)
	if r.OK {
		fmt.Fprintf(w, "%s keeps its promises\n", r.Noise.Name)
	}
}
