package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/dataloader"
)

func newDataCommand(a *app) *cobra.Command {
	cmd := group(&cobra.Command{
		Use:     "data",
		Short:   "List, check and fetch data sets",
		Example: "  dither data ls --data data",
	})
	cmd.AddCommand(newDataListCommand(a), newDataVerifyCommand(a), newDataGetCommand(a))
	return cmd
}

// dataFlag adds --data, the folder that holds the data sets.
func dataFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("data", "data", "the folder that holds the data sets, as the official archives unpack")
}

// dataError gives the errors of package dataloader their exit codes.
func dataError(err error) error {
	switch {
	case errors.Is(err, dataloader.ErrUnknown), errors.Is(err, dataloader.ErrMissing), errors.Is(err, dataloader.ErrFormat), errors.Is(err, fs.ErrExist):
		return badInput(err)
	case errors.Is(err, dataloader.ErrDownload):
		return temporary(err)
	}
	return err
}

type dataList struct {
	Data string                 `json:"data"`
	Sets []dataloader.SetReport `json:"sets"`
}

func newDataListCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List the data sets, and which of them are there",
		Example: "  dither data ls --data data --json",
		Args:    noArgs,
	}
	dir := dataFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		sets, err := dataloader.List(*dir)
		if err != nil {
			return dataError(err)
		}
		return a.result(dataList{*dir, sets}, func(w io.Writer) {
			var rows [][]string
			for _, s := range sets {
				rows = append(rows, []string{s.Set, fmt.Sprint(s.Classes), fmt.Sprint(s.TrainImages), fmt.Sprint(s.TestImages), presence(s, *dir)})
			}
			table(w, []string{"SET", "CLASSES", "TRAINING", "TEST", "IN " + *dir}, rows)
		})
	}
	return cmd
}

// presence says how much of a set is in dir.
func presence(s dataloader.SetReport, dir string) string {
	switch {
	case s.Embedded:
		return "part of the program"
	case s.Complete:
		return fmt.Sprintf("complete (%d MB)", s.Bytes/1e6)
	case len(s.Files) == 0:
		return fmt.Sprintf("no; run `dither data get %s --data %s`", s.Set, dir)
	}
	return "incomplete, without " + strings.Join(s.Missing, ", ")
}

type dataVerification struct {
	Set      string                  `json:"set"`
	Data     string                  `json:"data"`
	Official bool                    `json:"official"` // every file is there and the official one
	Files    []dataloader.FileReport `json:"files"`
}

func newDataVerifyCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "verify SET",
		Short:   "Read a data set whole and say whether it is the official one",
		Long:    "Read a data set whole and say whether it is the official one. A file that is not gives exit code 1.",
		Example: "  dither data verify cifar10 --data data",
		Args:    oneArg("SET"),
	}
	dir := dataFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		files, err := dataloader.Verify(args[0], *dir)
		if err != nil {
			return dataError(err)
		}
		v := dataVerification{args[0], *dir, true, append([]dataloader.FileReport{}, files...)}
		bad := 0
		for _, f := range files {
			if !f.Official {
				v.Official = false
				bad++
			}
		}
		err = a.result(v, func(w io.Writer) {
			if len(files) == 0 {
				fmt.Fprintf(w, "%s is part of the program\n", v.Set)
				return
			}
			var rows [][]string
			for _, f := range files {
				verdict := "official"
				if !f.Official {
					verdict = f.Problem
				}
				rows = append(rows, []string{f.File, fmt.Sprint(f.Records), verdict})
			}
			table(w, []string{"FILE", "IMAGES", "VERDICT"}, rows)
		})
		if err == nil && !v.Official {
			err = fmt.Errorf("%d of the %d files of %s in %s are missing or not official: move away what is there and run `dither data get %s --data %s`",
				bad, len(files), v.Set, *dir, v.Set, *dir)
		}
		return err
	}
	return cmd
}

func newDataGetCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get SET",
		Short: "Fetch a data set, check it and unpack it",
		Long: "Fetch a data set's official archives, check them against their official checksums and unpack them.\n" +
			"A download that was cut goes on where it stopped. A file that is there already is never overwritten.",
		Example: "  dither data get cifar10 --data data\n  dither data get svhn --data data --from http://mirror.example/svhn",
		Args:    oneArg("SET"),
	}
	dir := dataFlag(cmd)
	from := cmd.Flags().String("from", "", "address of a folder that holds the archives, instead of their official homes")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		show := &downloads{app: a, title: "get " + args[0] + ", MB"}
		err := dataloader.Get(cmd.Context(), args[0], *dir, dataloader.GetOptions{BaseURL: *from, Progress: show.report})
		show.done()
		if errors.Is(err, context.Canceled) {
			return withCode(exitInterrupted, fmt.Errorf("interrupted: what was downloaded is kept in %s, and the same command goes on from there", *dir))
		}
		if err != nil {
			return dataError(err)
		}
		sets, err := dataloader.List(*dir)
		if err != nil {
			return dataError(err)
		}
		for _, s := range sets {
			if s.Set == args[0] {
				return a.result(s, func(w io.Writer) { fmt.Fprintf(w, "%s in %s: %s\n", s.Set, *dir, presence(s, *dir)) })
			}
		}
		return fmt.Errorf("%s was fetched but is not listed in %s", args[0], *dir)
	}
	return cmd
}

// downloads shows one archive after the other.
type downloads struct {
	app   *app
	title string
	shown *Progress
	last  int64
}

func (d *downloads) report(done, total int64) {
	const mb = 1e6
	if d.shown == nil || done < d.last {
		d.done()
		d.shown = d.app.progress(d.title, int(max(total, 0)/mb))
	}
	d.last = done
	d.shown.Set(int(done/mb), "")
}

func (d *downloads) done() {
	if d.shown != nil {
		d.shown.Done()
		d.shown = nil
	}
}
