// Package softcudatest holds softcuda, the CUDA driver that runs kernels on the processor, to finding what is wrong with a kernel or a call, and to letting pass what is right.
// The kernels are testdata/faults.cu and tensor.cu; testdata/host.cpp makes the calls that each test lists.
package softcudatest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const root = "../../../../.."

// built builds softcuda, the kernels and the host, once, and gives the folder that they lie in.
var built = sync.OnceValues(func() (string, error) {
	folder, err := filepath.Abs(filepath.Join(root, ".ci/bin/softcuda"))
	if err != nil {
		return "", err
	}
	script := exec.Command(filepath.Join(root, ".ci/softcuda"), "--kernels", filepath.Join(folder, "faults"), "trainer/kernel/cuda/softcuda/softcudatest/testdata/faults.cu", "trainer/kernel/cuda/softcuda/softcudatest/testdata/tensor.cu")
	if out, err := script.CombinedOutput(); err != nil {
		return "", fmt.Errorf(".ci/softcuda: %w\n%s", err, out)
	}
	// Built aside: another run of the tests may be using the one that is there.
	program := filepath.Join(folder, "faults", "host")
	aside := fmt.Sprintf("%s.new.%d", program, os.Getpid())
	host := exec.Command("g++", "-std=c++17", "-Wall", "-I", include(), "-o", aside, "testdata/host.cpp", "-L", folder, "-lcuda")
	if out, err := host.CombinedOutput(); err != nil {
		return "", fmt.Errorf("g++: %w\n%s", err, out)
	}
	return folder, os.Rename(aside, program)
})

// include is the folder of cuda.h.
func include() string {
	if folder := os.Getenv("CUDA_INCLUDE"); folder != "" {
		return folder
	}
	return filepath.Join(root, ".ci/bin/cuda/include")
}

// play makes calls, a line each, and gives what they gave and what softcuda said.
func play(t *testing.T, environment string, calls ...string) string {
	t.Helper()
	if _, err := exec.LookPath("g++"); err != nil {
		t.Skip("g++ is needed, to compile softcuda")
	}
	if _, err := os.Stat(filepath.Join(include(), "cuda.h")); err != nil {
		t.Skip("cuda.h is needed, to compile softcuda: .ci/cuda headers fetches it")
	}
	folder, err := built()
	if err != nil {
		t.Fatal(err)
	}
	host := exec.Command(filepath.Join(folder, "faults", "host"))
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SOFTCUDA_") && !strings.HasPrefix(v, "CUDA_") {
			host.Env = append(host.Env, v)
		}
	}
	host.Env = append(host.Env, "LD_LIBRARY_PATH="+folder, "SOFTCUDA_KERNELS="+filepath.Join(folder, "faults"))
	host.Env = append(host.Env, strings.Fields(environment)...)
	host.Stdin = strings.NewReader(strings.Join(calls, "\n") + "\n")
	out, err := host.CombinedOutput()
	if err != nil {
		t.Fatalf("the host: %v\n%s", err, out)
	}
	return string(out)
}

// Results of the driver, as cuda.h numbers them.
const (
	invalidValue, outOfMemory, noDevice, invalidContext = 1, 2, 100, 201
	notFound, illegalAddress, outOfResources            = 500, 700, 701
	launchFailed, eccUncorrectable                      = 719, 214
	captureUnsupported, captureInvalidated              = 900, 901
)

func gave(call string, result int, more ...string) string {
	return fmt.Sprintf("%s: %d%s\n", call, result, strings.Join(append([]string{""}, more...), " "))
}

// upTo is 1 2 ... n.
func upTo(n int) string {
	return strings.Trim(fmt.Sprint(numbers(n)), "[]")
}

func numbers(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i + 1
	}
	return all
}

// What is right passes every check, and gives what it should.
func TestRightKernels(t *testing.T) {
	for _, checks := range []string{"", "1", "order", "late", "1,order,late"} {
		t.Run("SOFTCUDA_CHECK="+checks, func(t *testing.T) {
			out := play(t, "SOFTCUDA_CHECK="+checks,
				"alloc x 512", "alloc y 512", "put x "+upTo(512),
				"launch reduce 2 256 0 x y", "get y 3",
				"launch warp_sums 1 64 0 x y", "get y 10",
				"launch through_shared 1 64 0 y", "get y 4",
				"launch dynamic_reversed 1 5 20 x y", "get y 5",
				"put y 1 1 1", "launch axpy 1 32 0 x y float:2 int:3", "get y 4",
				"sync", "free x", "free y", "info")
			for _, want := range []string{
				gave("get", 0, "32896.0,98432.0,nan"), // 256*257/2, and 256*256 more; what is beyond was never written
				gave("get", 0, "528.0,32.0,32.0,7.0,8.0,1552.0,32.0,64.0,39.0,40.0"),
				gave("get", 0, "1.0,0.0,3.0,2.0"),
				gave("get", 0, "5.0,4.0,3.0,2.0,1.0"),
				gave("get", 0, "3.0,5.0,7.0,2.0"),
				gave("sync", 0),
				gave("info", 0, "4294967296/4294967296"),
			} {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
			if strings.Contains(out, "softcuda:") {
				t.Errorf("it finds fault:\n%s", out)
			}
		})
	}
}

// Each fault is found, named by kernel, block, thread and place, and ends the context's work.
func TestFaultyKernels(t *testing.T) {
	const anyChecks, races = " 1 order", "1"
	for _, c := range []struct {
		checks, launch string
		result         int
		want           []string
	}{
		{anyChecks, "write_behind 2 129 0 y int:256", illegalAddress, []string{"kernel write_behind, block (1,0,0), thread (127,0,0): ", "byte 1024, behind the end of allocation 2 (1024 bytes)"}},
		{races, "read_before 1 64 0 x y", illegalAddress, []string{"kernel read_before, block (0,0,0), thread (0,0,0): reads 4 bytes before the start of allocation 1 (1024 bytes)"}},
		{anyChecks, "shared_behind 1 64 0 y", illegalAddress, []string{"kernel shared_behind, block (0,0,0), thread (63,0,0): ", "byte 256, behind the end of the shared array part (256 bytes)"}},
		{anyChecks, "large_array 1 1 0 y int:10", illegalAddress, []string{"kernel large_array, block (0,0,0), thread (0,0,0): its local arrays are larger than"}},
		{anyChecks, "divide 1 1 0 y int:0", illegalAddress, []string{"kernel divide, block (0,0,0), thread (0,0,0): integer division by zero"}},
		{anyChecks, "half_at_barrier 1 64 0 y", launchFailed, []string{"kernel half_at_barrier, block (0,0,0), thread (0,0,0): waits at the barrier ", "faults.cu:", "which thread (32,0,0) never reached: it has ended"}},
		{anyChecks, "two_barriers 1 64 0 y", launchFailed, []string{"kernel two_barriers, block (0,0,0), thread (0,0,0): waits at the barrier ", "thread (32,0,0) at another: "}},
		{anyChecks, "half_a_warp 1 32 0 y", launchFailed, []string{"kernel half_a_warp, block (0,0,0), thread (0,0,0): waits at ", "for lanes ffffffff of its warp, and not all of them come"}},
		{anyChecks, "dynamic_reversed 1 4 0 x y", launchFailed, []string{"reads dynamic shared memory, and the launch gave it none"}},
		{races, "reduce_without_barrier 1 256 0 x y", launchFailed, []string{"kernel reduce_without_barrier, block (0,0,0), thread (1,0,0): data race: writes byte 4 of the shared array part (1024 bytes), which thread (0,0,0) read, and no barrier lies between"}},
		{races, "through_shared_unsynced 1 64 0 y", launchFailed, []string{"data race: writes byte 4 of the shared array slot (256 bytes), which thread (0,0,0) read"}},
		{races, "blocks_meet 2 64 0 y", launchFailed, []string{"kernel blocks_meet, block (1,0,0), thread (0,0,0): data race: writes byte 0 of allocation 2 (1024 bytes), which thread (0,0,0) of another block wrote, and nothing orders two blocks"}},
	} {
		for _, checks := range strings.Split(c.checks, " ") {
			t.Run(strings.Fields(c.launch)[0]+",SOFTCUDA_CHECK="+checks, func(t *testing.T) {
				out := play(t, "SOFTCUDA_CHECK="+checks, "alloc x 256", "alloc y 256", "put x "+upTo(256), "launch "+c.launch, "sync", "alloc z 1")
				// The launch itself succeeds, as on a GPU; what comes behind it does not.
				for _, want := range append(c.want, gave("launch", 0), gave("sync", c.result), gave("alloc", c.result)) {
					if !strings.Contains(out, want) {
						t.Errorf("no %q in\n%s", want, out)
					}
				}
			})
		}
	}
}

// The order of blocks is no part of a kernel; running them backwards shows where it decides.
func TestOrder(t *testing.T) {
	results := map[string]bool{}
	for _, checks := range []string{"", "order"} {
		out := play(t, "SOFTCUDA_CHECK="+checks, "alloc y 1", "put y 1", "launch first_comes 2 1 0 y", "get y 1")
		_, result, _ := strings.Cut(out, "get: ")
		results[result] = true
	}
	if len(results) != 2 {
		t.Errorf("a kernel that depends on the order of its blocks gives the same in both: %v", results)
	}
}

// Wrong calls get the driver's own results.
func TestCalls(t *testing.T) {
	for _, c := range []struct {
		name, environment string
		calls             []string
		want              []string
	}{
		{"double free", "", []string{"alloc x 4", "free x", "free x"}, []string{gave("free", invalidValue), "cuMemFree of byte 0 of allocation 1 (16 bytes), which was freed before"}},
		{"freeing the middle", "", []string{"alloc x 4", "free x+4"}, []string{gave("free", invalidValue), "is not where an allocation starts"}},
		{"use after free, by a kernel", "", []string{"alloc x 4", "alloc y 4", "free x", "launch axpy 1 4 0 x y float:1 int:4", "sync"}, []string{gave("sync", illegalAddress), "kernel axpy, block (0,0,0), thread (0,0,0): touches byte 0 of allocation 1 (16 bytes), which was freed"}},
		{"use after free, by a copy", "", []string{"alloc x 4", "free x", "get x 4"}, []string{gave("get", invalidValue, "0.0,0.0,0.0,0.0"), "which was freed"}},
		{"a copy that is too long", "", []string{"alloc x 4", "get x 5"}, []string{gave("get", invalidValue, "0.0,0.0,0.0,0.0,0.0"), "20 bytes, begins at byte 0 of allocation 1 (16 bytes) and is not all of one allocation"}},
		{"a slot beside an allocation is written", "", []string{"alloc x 3", "alloc y 3", "launch write_behind 1 4 0 y int:3", "sync"}, []string{gave("sync", illegalAddress), "kernel write_behind wrote byte 12, behind the end of allocation 2 (12 bytes)"}},
		{"no such kernel", "", []string{"alloc x 4", "launch nothing 1 1 0 x"}, []string{gave("launch", notFound)}},
		{"more threads than the kernel is bound to", "", []string{"alloc x 128", "launch bounded 1 65 0 x"}, []string{gave("launch", outOfResources)}},
		{"more threads than a block has", "", []string{"alloc x 4", "launch bounded 1 1025 0 x"}, []string{gave("launch", invalidValue)}},
		{"an empty grid", "", []string{"alloc x 4", "launch bounded 0 1 0 x"}, []string{gave("launch", invalidValue)}},
		{"more memory than there is", "SOFTCUDA_MEMORY=4096", []string{"alloc x 512", "info", "alloc y 513", "free x", "alloc y 513"}, []string{gave("info", 0, "2048/4096"), gave("alloc", outOfMemory) + gave("free", 0) + gave("alloc", 0)}},
		{"no device", "SOFTCUDA_DEVICES=0", nil, []string{gave("begin", noDevice)}},
		{"no visible device", "CUDA_VISIBLE_DEVICES=", nil, []string{gave("begin", noDevice)}},
		{"a visible device that is not there", "CUDA_VISIBLE_DEVICES=1", nil, []string{gave("begin", noDevice)}},
		{"a destroyed context", "", []string{"destroy", "alloc x 4", "destroy"}, []string{gave("destroy", 0) + gave("alloc", invalidContext) + gave("destroy", invalidContext)}},
		{"a planted error", "SOFTCUDA_FAIL=cuLaunchKernel:2:214", []string{"alloc x 64", "launch bounded 1 1 0 x", "launch bounded 1 1 0 x", "sync"}, []string{gave("launch", 0) + gave("launch", eccUncorrectable) + gave("sync", eccUncorrectable)}},
		{"told by the launch itself", "CUDA_LAUNCH_BLOCKING=1", []string{"alloc y 4", "launch write_behind 1 32 0 y int:4"}, []string{gave("launch", illegalAddress)}},
		{"a graph", "", []string{"alloc y 4", "put y 1 1 1 1", "capture", "launch axpy 1 4 0 y y float:1 int:4", "end", "get y 4", "replay", "replay", "get y 4"}, []string{gave("get", 0, "1.0,1.0,1.0,1.0"), gave("get", 0, "4.0,4.0,4.0,4.0")}},
		{"waiting in a capture", "", []string{"capture", "sync", "end"}, []string{gave("sync", captureUnsupported) + gave("end", captureInvalidated)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := play(t, c.environment, c.calls...)
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
		})
	}
}

// The report counts kernels and calls, of one process behind another.
func TestReport(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report")
	for range 2 {
		play(t, "SOFTCUDA_REPORT="+report, "alloc x 64", "launch bounded 1 1 0 x", "launch bounded 1 1 0 x", "launch bounded 1 1 0 x")
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		counts[words[0]+" "+words[1]] = append(counts[words[0]+" "+words[1]], words[2])
	}
	for key, want := range map[string]string{"kernel bounded": "[3 3]", "call cuLaunchKernel": "[3 3]", "call cuMemAlloc_v2": "[1 1]", "call cuInit": "[1 1]"} {
		if got := fmt.Sprint(counts[key]); got != want {
			t.Errorf("%s: %s, not %s in\n%s", key, got, want, text)
		}
	}
}
