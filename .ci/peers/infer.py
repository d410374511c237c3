"""Time inference of ResNet-6n+2 in PyTorch: the logits of a batch, BatchNorm over its running statistics.

usage: PEERS=folder infer.py [--depth 56] [--batch 256] [--threads 2] [--steps 10]
PEERS holds resnet.py. Prints one JSON line for each memory format, as written and as TorchScript makes of it; quote the fastest.
"""
import argparse, json, os, statistics, sys, time
import torch

sys.path.insert(0, os.environ["PEERS"])
from resnet import ResNet

p = argparse.ArgumentParser()
p.add_argument("--depth", type=int, default=56)
p.add_argument("--batch", type=int, default=256)
p.add_argument("--threads", type=int, default=2)
p.add_argument("--steps", type=int, default=10)
a = p.parse_args()
torch.set_num_threads(a.threads)


@torch.no_grad()
def report(layout, how, model, x):
    for _ in range(3):
        model(x)
    times = []
    for _ in range(a.steps):
        t = time.perf_counter()
        model(x)
        times.append(time.perf_counter() - t)
    m = statistics.median(times)
    print(json.dumps(dict(peer="torch " + torch.__version__, depth=a.depth, batch=a.batch, threads=a.threads, layout=layout, how=how,
                          batch_ms=round(m * 1e3, 3), batch_ms_min=round(min(times) * 1e3, 3), images_per_second=round(a.batch / m, 1))), flush=True)


for layout in ("contiguous", "channels_last"):
    torch.manual_seed(0)
    fmt = torch.contiguous_format if layout == "contiguous" else torch.channels_last
    model = ResNet((a.depth - 2) // 6).eval().to(memory_format=fmt)
    x = torch.randn(a.batch, 3, 32, 32).to(memory_format=fmt)
    report(layout, "eager", model, x)
    with torch.no_grad():
        frozen = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, x)))
    report(layout, "frozen", frozen, x)
