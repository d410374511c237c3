package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestGPUScripts runs the built programs on GPUs that lack something, or break: those of softcuda, which does both as it is told. `.ci/test-gpu` says where they are.
func TestGPUScripts(t *testing.T) {
	bin := os.Getenv("DITHER_BIN")
	if bin == "" {
		t.Skip("DITHER_BIN names no folder with dither and dither-gpu: make test-gpu runs this")
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Setup: func(e *testscript.Env) error {
			e.Setenv("DITHER", filepath.Join(bin, "dither"))
			e.Setenv("LD_LIBRARY_PATH", os.Getenv("LD_LIBRARY_PATH"))
			e.Setenv("DEPLOY", filepath.Join(bin, "../deploy"))
			return nil
		},
		Dir:                 "testdata/gpu",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    cmdExits,
			"serve":    cmdServe,
			"free":     cmdFree,
			"ended":    cmdEnded,
			"samebits": cmdSameBits,
			"launch":   cmdLaunch,
			"await":    cmdAwait,
			"send":     cmdSend,
			"ends":     cmdEnds,
		},
	})
}
