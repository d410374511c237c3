package noise

import (
	"bufio"
	"context"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// startPython runs the example service until the test ends and answers where it listens; without a Python that has grpcio the test is skipped.
func startPython(t *testing.T, args ...string) (address string) {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3: the foreign noise service is not tried")
	}
	if out, err := exec.Command(python, "-c", "import grpc, grpc_tools").CombinedOutput(); err != nil {
		t.Skipf("%s cannot import grpc and grpc_tools (pip install -r examples/python/requirements.txt): the foreign noise service is not tried: %s", python, lastLine(out))
	}
	service := exec.Command(python, append([]string{filepath.Join("examples", "python", "gaussian.py"), "--address", "127.0.0.1:0"}, args...)...)
	service.Stderr = os.Stderr
	out, err := service.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := service.Process.Kill(); err != nil {
			t.Errorf("ending the service: %v", err)
		}
		_ = service.Wait() // killed: there is always an error
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("the service said %q (%v), want where it listens", line, err)
	}
	return address
}

func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

func TestPythonService(t *testing.T) {
	address := startPython(t, "--sigma2", "2.25")
	client := dial(t, address, nil, ClientOptions{})

	t.Run("keeps its promises", func(t *testing.T) {
		r := report(t, client, CheckOptions{Samples: 64, Iterations: 24})
		if !r.OK || r.Noise.Name != "gaussian" || r.Noise.Variance != 2.25 || !r.Noise.Replayable || !r.Noise.Unbiased {
			t.Errorf("%+v", r)
		}
	})
	t.Run("draws as the built-in noise does", func(t *testing.T) {
		same := 0
		samples, logits := make([]uint32, 200), make([]float32, 200*10)
		for i := range logits {
			samples[i/10] = uint32(i/10) * 20000003
			logits[i] = float32(math.Sin(float64(i)) * 8)
		}
		for _, k := range []uint32{0, 1, math.MaxUint32} {
			const seed = 0x0123456789abcdef
			ours, theirs := perturb(t, typed(t, "gaussian:sigma2=2.25"), seed, k, samples, logits), perturb(t, client, seed, k, samples, logits)
			for i := range ours {
				switch {
				case theirs[i] == ours[i]:
					same++
				case theirs[i] != math.Nextafter32(ours[i], theirs[i]):
					t.Fatalf("iteration %d, sample %d, class %d: %v, the built-in noise gives %v", k, samples[i/10], i%10, theirs[i], ours[i])
				}
			}
		}
		t.Logf("%d of %d noisy logits have the same bits", same, 3*len(logits))
	})
	t.Run("takes the user's variance", func(t *testing.T) {
		d, err := dial(t, address, map[string]float64{"sigma2": 4}, ClientOptions{}).Describe(context.Background())
		if err != nil || d.Variance != 4 {
			t.Errorf("Describe = %+v, %v, want variance 4", d, err)
		}
		_, err = dial(t, address, map[string]float64{"sigma": 4}, quick()).Describe(context.Background())
		if err == nil || !strings.Contains(err.Error(), "unknown parameters ['sigma']") {
			t.Errorf("another parameter: %v, want a refusal", err)
		}
	})
}
