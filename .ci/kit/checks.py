"""Is it right: what is here, the kernels' suite, PyTorch's golden vectors."""
import json, os, re, shutil

from session import HERE, Failed, Skipped, last_line


def here(s):
    s.item("here/nvidia-smi", 5, lambda: nvidia_smi(s))
    s.item("here/driver", 5, lambda: driver(s))
    s.item("here/torch", 5, lambda: torch(s))


def nvidia_smi(s):
    if not shutil.which("nvidia-smi"):
        raise (Skipped if s.options.quick else Failed)("there is no nvidia-smi: is there an NVIDIA driver?")
    code, out, err = s.command(["nvidia-smi"], limit=60)
    if code != 0:
        raise Failed("nvidia-smi: " + last_line(out + err))
    _, out, _ = s.command(["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm", "--format=csv,noheader"], limit=60)
    s.say(out.strip())
    return {"gpus": out.strip()}


def driver(s):
    """dither says in one sentence what is wrong with a driver: none, too old (both versions), no GPU."""
    _, out, _ = s.command([os.path.join(HERE, "bin", "dither-gpu"), "driver"], limit=90)
    found = json.loads(out) if out.startswith("{") else {}
    s.result(s.dither("bench", "eval", "--kernels", "cuda", "--model", "mlp", "--batch", "8", "--steps", "1", "--json"), limit=120)
    return found


SEES = """
import json, torch
gpu = torch.cuda.is_available()
print(json.dumps(dict(version=torch.__version__, cuda=torch.version.cuda, gpu=torch.cuda.get_device_name(0) if gpu else None, cudnn=torch.backends.cudnn.version() if gpu else None)))
"""


def torch(s):
    code, out, err = s.command([s.options.python, "-c", SEES], limit=120)
    if code != 0:
        raise Skipped("%s has no PyTorch, so nothing is held beside it (%s)" % (s.options.python, last_line(err)))
    found = json.loads(out)
    s.say(out.strip())
    if not found["gpu"] and not s.options.quick:
        raise Skipped("PyTorch %s sees no GPU, so nothing is held beside it" % found["version"])
    return found


def test_binary(s, name, folder, arguments, limit, env=None):
    """Runs a test binary in its package's folder. Gives its output, and the names of what passed, was skipped and failed."""
    argv = [os.path.join(HERE, "tests", name), "-test.v", "-test.count=1", "-test.timeout=%ds" % limit, *arguments]
    code, out, err = s.command(argv, limit=limit + 10, cwd=os.path.join(HERE, "tree", folder), env=env)
    ended = {verdict: re.findall(r"(?m)^ *--- %s: (\S+)" % verdict, out) for verdict in ("PASS", "SKIP", "FAIL")}
    if code != 0:
        # A test fails with those in it: the innermost say why.
        inner = [n for n in ended["FAIL"] if not any(m.startswith(n + "/") for m in ended["FAIL"])]
        said = ["%s: %s" % (n, complaint(out, n)) for n in inner[:3]] + ["and %d more" % (len(inner) - 3)] * (len(inner) > 3)
        raise Failed("; ".join(said) or last_line(err) or last_line(out) or "exit code %d" % code)
    if not ended["PASS"]:
        raise Skipped("no test could be done here: " + complaint(out))
    return out, ended


def complaint(out, name=""):
    """The last that a test said while it ran; of no name, the last that any did."""
    if name:
        out = "".join(re.findall(r"(?ms)^=== (?:RUN|CONT) +%s\n(.*?)(?=^=== |^ *--- |\Z)" % re.escape(name), out))
    said = re.findall(r"(?m)^ +\w+\.go:\d+: (.*)$", out)
    return said[-1][:300] if said else "see the log"


def suite(s):
    s.item("suite/kernels", 60, lambda: kernels(s))
    s.item("suite/driver", 30, lambda: others(s))


def kernels(s):
    out, _ = test_binary(s, "cuda.test", "trainer/kernel/cuda", ["-test.run=^(TestSuite|TestFingerprints)$"], 500)
    launched = dict(re.findall(r"(?m)_test\.go:\d+: (\w+) +(\d+) launches$", out))
    s.say("kernels of the source, and their launches: " + ", ".join("%s %s" % k for k in sorted(launched.items())))
    return {"kernels": len(launched), "launches": sum(map(int, launched.values()))}


def others(s):
    # Planting faults takes softcuda's compiler.
    _, ended = test_binary(s, "cuda.test", "trainer/kernel/cuda", ["-test.skip=^(TestSuite|TestFingerprints|TestPlanted.*)$"], 300)
    # How many calls of the driver an iteration is, softcuda counts.
    _, more = test_binary(s, "program.test", "trainer/program", ["-test.run=Device|TestGPU", "-test.skip=^TestGPUAnIterationIsAFewCalls$"], 300)
    return {"tests": len(ended["PASS"]) + len(more["PASS"])}


def sanitize(s):
    """Only where it is asked for: it slows kernels down a hundredfold."""
    for tool in ("memcheck", "racecheck"):
        s.item("sanitize/" + tool, 200, lambda: sanitized(s, tool))


def sanitized(s, tool):
    if not shutil.which("compute-sanitizer"):
        raise Skipped("there is no compute-sanitizer")
    code, out, err = s.command(["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", os.path.join(HERE, "tests", "cuda.test"), "-test.run=^TestFingerprints$"],
                               limit=540, cwd=os.path.join(HERE, "tree", "trainer/kernel/cuda"))
    if code != 0:
        raise Failed(last_line(out + err))
    return {"said": last_line(out + err)}


GOLDEN = {"logits": "TestEvaluationIsPyTorchs$/^(resnet20|resnet56)$/^cuda$", "a step": "TestStepIsPyTorchs$/^(quadratic|kd)$/^cuda$",
          "squared gradient norms": "TestSquaredNormsArePyTorchs$/^(resnet20|resnet56)$/^cuda$", "ten steps": "TestTrajectoryIsPyTorchs$/^cuda$"}


def golden(s):
    for what, tests in GOLDEN.items():
        s.item("golden/" + what, 30, lambda: vectors(s, tests))


def vectors(s, tests):
    shared = s.options.shared or os.path.join(HERE, "shared")
    if not os.path.isdir(os.path.join(shared, "golden")):
        raise Skipped("the kit was built without the vectors that PyTorch computed (SHARED=folder)")
    env = {"DITHER_SHARED": shared}
    if not s.options.quick:
        env["DITHER_SLOW"] = "1"
    out, ended = test_binary(s, "program.test", "trainer/program", ["-test.run=" + tests], 300, env)
    done = [name for name in ended["PASS"] if name.endswith("/cuda")]
    if not done:
        raise Skipped("not one could be done here: " + complaint(out))
    errors = [float(e) for e in re.findall(r"(?m)_test\.go:\d+: .*: ([0-9.]+e[-+][0-9]+)$", out)]
    return {"tests": done, "worst relative error": max(errors, default=None)}
