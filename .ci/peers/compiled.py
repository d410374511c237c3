"""Time a training step of ResNet-6n+2 as torch.compile makes it: forward and backward compiled, SGD fused, and on a GPU all of it captured in one CUDA graph.

usage: PEERS=folder compiled.py [--depth 56] [--batch 64] [--steps 10] [--device cuda] [--dtype fp32|bf16] [--mode default|max-autotune-no-cudagraphs|eager]
PEERS holds resnet.py. The same step as step.py's, in channels_last; eager: not compiled. Prints a JSON line; compiling takes a minute or more, and is not timed. device_memory_bytes is the most
that PyTorch's tensors take of a GPU in a step and while it is captured, without what it tried before to choose its algorithms.
"""
import argparse, json, os, statistics, sys, time
import torch

sys.path.insert(0, os.environ["PEERS"])
from resnet import ResNet

p = argparse.ArgumentParser()
p.add_argument("--depth", type=int, default=56)
p.add_argument("--batch", type=int, default=64)
p.add_argument("--steps", type=int, default=10)
p.add_argument("--device", default="cuda")
p.add_argument("--dtype", default="fp32", choices=["fp32", "bf16"])
p.add_argument("--mode", default="default")
a = p.parse_args()
if a.mode != "eager" and not hasattr(torch, "compile"):
    sys.exit("PyTorch %s has no torch.compile" % torch.__version__)
gpu = a.device == "cuda"
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
torch.backends.cudnn.benchmark = True
sync = torch.cuda.synchronize if gpu else (lambda: None)
torch.manual_seed(0)
model = ResNet((a.depth - 2) // 6).to(a.device).to(memory_format=torch.channels_last)
x = torch.randn(a.batch, 3, 32, 32, device=a.device).to(memory_format=torch.channels_last)
y = torch.randn(a.batch, 10, device=a.device)
opt = torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=1e-4, **(dict(fused=True) if gpu else {}))


def loss_of(x, y):
    with torch.autocast(a.device, torch.bfloat16, enabled=a.dtype == "bf16"):
        f = model(x)
    return 0.5 * ((f.float() - y) ** 2).sum(1).mean()


compiled = loss_of if a.mode == "eager" else torch.compile(loss_of, mode=None if a.mode == "default" else a.mode)


def step():
    opt.zero_grad(set_to_none=not gpu)
    compiled(x, y).backward()
    opt.step()


run = step
if gpu:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        step()
    run = g.replay
for _ in range(3):
    run()
sync()
times = []
for _ in range(a.steps):
    t = time.perf_counter()
    run()
    sync()
    times.append(time.perf_counter() - t)
m = statistics.median(times)
print(json.dumps(dict(peer=("torch " if a.mode == "eager" else "torch.compile ") + torch.__version__, depth=a.depth, batch=a.batch, device=a.device, dtype=a.dtype, mode=a.mode, graph=gpu, layout="channels_last",
                      step_ms=round(m * 1e3, 4), step_ms_min=round(min(times) * 1e3, 4), images_per_second=round(a.batch / m, 1),
                      device_memory_bytes=torch.cuda.max_memory_allocated() if gpu else 0)), flush=True)
