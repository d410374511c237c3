package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commands are the subcommands in the order in which help lists them; each lives in a file of its name.
var commands = []func(*app) *cobra.Command{
	newRunCommand,
	newSweepCommand,
	newEvalCommand,
	newOLSCommand,
	newReportCommand,
	newDataCommand,
	newNoiseCommand,
	newBenchCommand,
	newServeCommand,
	newStatusCommand,
	newWatchCommand,
	newStopCommand,
	newChaosCommand,
	newVersionCommand,
}

// run is the program: it does what args say and gives the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	a := newApp(stdout, stderr)
	ctx, cancel := signalContext(a)
	defer cancel()
	root := newRootCommand(a)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), errInterrupted) {
		err = errInterrupted
	}
	if err != nil {
		fmt.Fprintln(a.stderr, "dither:", sentence(err))
	}
	return exitCode(err)
}

func newRootCommand(a *app) *cobra.Command {
	cobra.EnableCommandSorting = false
	root := &cobra.Command{
		Use:   "dither",
		Short: "Train image classifiers by noisy self-distillation",
		Long: "dither trains image classifiers by noisy self-distillation, on one machine or on many, with the same bits.\n" +
			"docs/command-line.md explains every flag and the exit codes.",
		Example:           "  dither data ls",
		Version:           versionString(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.PersistentPreRunE = intoGPU
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print the result as one JSON object on standard output, and nothing else there")
	root.Flags().Bool("version", false, "say which dither this is")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if errors.Is(err, pflag.ErrHelp) {
			return err
		}
		return usageError(cmd, "%v", err)
	})
	for _, newCommand := range commands {
		root.AddCommand(newCommand(a))
	}
	group(root)
	// A bare `dither` is a person who wants to know what there is.
	asGroup := root.RunE
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return asGroup(cmd, args)
	}
	return root
}

// usageError is a command line that makes no sense, with where to read how it should be.
func usageError(cmd *cobra.Command, format string, args ...any) error {
	return badInputf("%w; see `%s --help`", fmt.Errorf(format, args...), cmd.CommandPath())
}

// group makes cmd one that only holds subcommands: anything but one of their names is refused, with the nearest.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.SuggestionsMinimumDistance = 2
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var names []string
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				names = append(names, sub.Name())
			}
		}
		if len(args) == 0 {
			return usageError(cmd, "%s takes one of %s", cmd.CommandPath(), strings.Join(names, ", "))
		}
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			return usageError(cmd, "%s has no command %q (is %q meant?)", cmd.CommandPath(), args[0], near[0])
		}
		return usageError(cmd, "%s has no command %q (it has %s)", cmd.CommandPath(), args[0], strings.Join(names, ", "))
	}
	return cmd
}

// noArgs refuses arguments that are no flags.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError(cmd, "%s takes no argument, but got %q", cmd.CommandPath(), args[0])
	}
	return nil
}

// oneArg wants exactly one argument, of the name that Use shows.
func oneArg(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError(cmd, "%s takes one %s, but got %d", cmd.CommandPath(), name, len(args))
		}
		return nil
	}
}
