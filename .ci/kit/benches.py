"""How fast: dither and PyTorch in turn, a process each (A B C A B C ...), so that whatever slows the machine slows all; and where dither's time goes."""
import os

from session import HERE, Failed, Skipped, last_line
from turns import objects

STEPS, QUICK_STEPS = 50, 1


def configurations(s):
    """(depth, batch, precision), the small ones of a trial here."""
    for precision in s.precisions():
        for depth, batch in [(8, 4)] if s.options.quick else [(56, 64), (56, 1024)]:
            yield depth, batch, precision


def name_of(depth, batch, precision):
    return "ResNet-%d batch %d %s" % (depth, batch, precision)


def bench(s):
    steps = QUICK_STEPS if s.options.quick else STEPS
    for depth, batch, precision in configurations(s):
        what = name_of(depth, batch, precision)
        for turn in range(s.options.pairs):
            of = lambda who: "bench/%s/%s/%d" % (what, who, turn)
            s.item(of("dither"), 20, lambda: ours(s, ["step", "--model", "resnet%d" % depth, "--batch", str(batch), "--steps", str(steps), *s.precise(precision)], "step_ms"))
            arguments = ["--depth", str(depth), "--batch", str(batch), "--dtype", precision, "--steps", str(steps)]
            s.item(of("graph"), 40, lambda: peer(s, "peers/step.py", arguments, "step_ms", ["--graph"]))
            s.item(of("compile"), 120, lambda: peer(s, "peers/compiled.py", arguments, "step_ms"))
        s.item("bench/%s/memory/0" % what, 40, lambda: peer(s, "peers/compiled.py", [*arguments, "--mode", "eager"], "step_ms"))
    norm(s)


def norm(s):
    depth, images, chunks = (8, 8, "4,8") if s.options.quick else (56, 256, "4,16,64")
    for turn in range(s.options.pairs):
        of = lambda who: "bench/gradient norm/%s/%d" % (who, turn)
        s.item(of("dither"), 20, lambda: ours(s, ["gradient-norm", "--model", "resnet%d" % depth, "--images", str(images), "--steps", "1" if s.options.quick else "3"], "ms_per_image"))
        s.item(of("torch.func"), 60, lambda: peer(s, "peers/jacobian_device.py", ["--depth", str(depth), "--images", str(images), "--chunks", chunks], "ms_per_image"))
    s.item("bench/gradient norm of 10,000 images", 30, lambda: ten_thousand(s))


def ours(s, arguments, field):
    r = s.result(s.dither("bench", *arguments, "--kernels", "cuda", "--json"), limit=300)
    keep = (field, field + "_min", "device_ms", "host_ms", "device_memory_bytes", "peak_memory_bytes", "gflops", "allocs_per_step", "parameters_sha256", "gradient_norm")
    return {k: r[k] for k in keep if k in r}


def peer(s, script, arguments, field, on_gpu=()):
    """A peer that cannot be run is no failure of ours."""
    seen = s.figures("here/torch")
    if not seen:
        raise Skipped("no PyTorch to hold it beside")
    device = ["--device", "cuda", *on_gpu] if seen["gpu"] else ["--device", "cpu"]
    argv = [s.options.python, os.path.join(HERE, script), *arguments, *device]
    env = {"PEERS": os.path.join(HERE, "peers"), "PYTHONDONTWRITEBYTECODE": "1", "TORCHINDUCTOR_CACHE_DIR": s.path("work", "inductor"), "TRITON_CACHE_DIR": s.path("work", "triton")}
    if not os.path.exists(os.path.join(HERE, script)):
        raise Skipped("the kit was built without %s (SHARED=folder)" % script)
    try:
        code, out, err = s.command(argv, limit=400, env=env)
    except Failed as e:
        raise Skipped("the peer: %s" % e)
    if code != 0:
        raise Skipped("the peer: " + (last_line(err) or "exit code %d" % code))
    ways = [o for o in objects(out) if field in o]
    if not ways:
        raise Skipped("the peer: no %s in what it printed" % field)
    best = min(ways, key=lambda o: o[field])
    return {field: best[field], "device_memory_bytes": best.get("device_memory_bytes"), "peer": best["peer"], "ways": ways}


def ten_thousand(s):
    shared = s.options.shared or os.path.join(HERE, "shared")
    weights = os.path.join(shared, "weights", "resnet56-4bfd9763.th")
    if not s.options.data or not os.path.exists(weights):
        raise Skipped("it takes CIFAR-10 (DATA=folder) and a trained ResNet-56 in the kit (SHARED=folder)")
    r = s.result(s.dither("eval", "--checkpoint", weights, "--dataset", "cifar10", "--data", s.options.data, "--gradient-norm", "8" if s.options.quick else "10000",
                          "--kernels", "cuda", "--json"), limit=500)
    return {k: r[k] for k in ("correct", "images", "gradient_norm", "gradient_norm_images", "seconds")}


def explain(s):
    for depth, batch, precision in configurations(s):
        what = name_of(depth, batch, precision)
        s.item("explain/" + what, 30, lambda: explained(s, depth, batch, precision))


def explained(s, depth, batch, precision):
    """The whole table is kept beside the log; its sums are said."""
    argv = s.dither("bench", "step", "--model", "resnet%d" % depth, "--batch", str(batch), "--steps", "1" if s.options.quick else "5", "--kernels", "cuda", *s.precise(precision), "--explain")
    code, out, err = s.command(argv, limit=300)
    if code != 0:
        raise Failed(last_line(err) or "exit code %d" % code)
    with open(s.path("explain-%d-%s.txt" % (batch, precision)), "w") as to:
        to.write(out)
    sums = out[out.find("\nkernel "):]
    s.say(sums.strip())
    return {"sums": [line for line in sums.splitlines() if line.startswith(("all ", "roofline:", "sum:"))]}
