"""Whole runs: one spec with one sha256 whoever computes, and a long run that goes on from call to call."""
import json, os, shutil, signal, time

from session import Failed, Late, Later, Skipped, last_line

SMALL = ["--model", "resnet8", "--dataset", "digits", "--train-limit", "48", "--test-limit", "12", "--batch", "12", "--shards", "3", "--iterations", "4", "--lr", "0.02", "--gradient-norm", "2",
         "--seed", "3", "--silence", "20s"]
WAYS = {"the processor": ["--kernels", "auto"], "1 trainer": [], "2 trainers": ["--trainers", "2"], "3 trainers": ["--trainers", "3"]}


def bits(s):
    """The first run trains a teacher, which the others take."""
    for precision in s.precisions():
        first = None
        for way, flags in WAYS.items():
            if way == "the processor" and precision != "fp32":
                continue  # a GPU's own arithmetic
            name = "bits/%s, %s" % (way, precision)
            s.item(name, 30, lambda: small(s, name, flags, precision))
            got = s.figures(name)
            if got and first is None:
                first = got["parameters_sha256"]
            if got and got["parameters_sha256"] != first:
                s.record["items"][name].update(verdict="FAILED", why="its parameters are not the first run's: %s, %s" % (got["parameters_sha256"], first))
                s.keep()
                s.say("FAILED  %s: other parameters than the first run's" % name)


def small(s, name, flags, precision):
    folder = s.path("work", name.replace("/", " "))
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    teacher = s.path("work", "teacher.safetensors")
    argv = s.dither("run", *SMALL, "--kernels", "cuda", "--share-gpu", *s.precise(precision), *flags, "--teacher", teacher if os.path.exists(teacher) else "train", "--out", folder, "--json")
    r = s.result(argv, limit=240)
    if "auto" not in flags:
        on_gpu(r)
    if not os.path.exists(teacher):
        shutil.copy(os.path.join(folder, "teacher.safetensors"), teacher)
    return {k: r[k] for k in ("parameters_sha256", "arithmetic", "kernel_sets", "seconds")}


def on_gpu(result):
    """Holds that a run's trainers had the set cuda, all of them."""
    if result["kernel_sets"] != ["cuda"]:
        raise Failed("its trainers had the kernel sets %s" % result["kernel_sets"])


LONG = ["--dataset", "cifar10", "--model", "resnet56", "--teacher", "none", "--loss", "ce", "--epochs", "200", "--batch", "64", "--lr", "0.1", "--milestones", "1/2,3/4", "--augment", "standard",
        "--gradient-norm", "0", "--checkpoint-every", "7810", "--seed", "1"]
QUICK = ["--dataset", "digits", "--model", "resnet8", "--teacher", "none", "--loss", "ce", "--iterations", "8", "--batch", "16", "--train-limit", "64", "--test-limit", "32", "--lr", "0.01",
         "--gradient-norm", "0", "--checkpoint-every", "2", "--seed", "1"]


def long(s):
    """He et al.'s ResNet-56 on CIFAR-10, 200 epochs, in the fastest precision that there is."""
    s.item("long/CIFAR-10", 60, lambda: train(s))


def train(s):
    folder, precision = s.path("long"), s.precisions()[-1]
    if not s.options.quick:
        if not s.options.data:
            raise Skipped("DATA (or --data) names no folder that holds cifar-10-batches-bin")
        flags = [*LONG, "--data", s.options.data]
    else:
        flags = [*QUICK, "--stop-after", "3"]  # so that it goes on once
    begun = os.path.exists(os.path.join(folder, "spec.yaml"))
    if begun:
        argv = s.dither("run", "--resume", folder, "--kernels", "cuda", "--json", *(["--data", s.options.data] if s.options.data and not s.options.quick else []))
    else:
        argv = s.dither("run", *flags, "--kernels", "cuda", *s.precise(precision), "--out", folder, "--json")
    began, clock = time.monotonic(), s.record.setdefault("long", {"seconds": 0, "calls": 0})
    try:
        # Interrupted, it stops after the iteration in flight with a checkpoint.
        code, out, err = s.command(argv, limit=3600, stop=signal.SIGINT)
    except Late:
        raise Later("long/CIFAR-10")  # it had the whole call, and goes on in the next
    finally:
        clock["seconds"] += time.monotonic() - began
        clock["calls"] += 1
        s.keep()
    if code == 3 and s.options.quick and not begun:
        return train(s)
    if code == 3:
        raise Later("long/CIFAR-10")
    if code != 0:
        raise Failed(last_line(err) or "exit code %d" % code)
    r = json.loads(out)
    on_gpu(r)
    return {"precision": precision, "test_accuracy": r["test_accuracy"], "train_loss": r["train_loss"], "parameters_sha256": r["parameters_sha256"], "arithmetic": r["arithmetic"],
            "iterations": r["iterations"], "seconds": round(clock["seconds"], 1), "calls": clock["calls"]}
