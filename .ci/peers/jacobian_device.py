"""Time the gradient norm (1/N) sum_i sum_l ||grad_theta f_l(x_i)||^2 by torch.func on a device, exactly: jacobian.py's way, with as many images at once as are fastest.

usage: PEERS=folder jacobian_device.py [--depth 56] [--images 256] [--device cuda] [--chunks 4,16,64]
PEERS holds resnet.py. BatchNorm in eval mode, float32 without TF32. Prints a JSON line for each number of images at once that fits; quote the fastest.
"""
import argparse, json, os, sys, time
import torch

try:
    from torch.func import functional_call, jacrev, vmap
except ImportError:
    sys.exit("PyTorch %s has no torch.func" % torch.__version__)

sys.path.insert(0, os.environ["PEERS"])
from resnet import ResNet

p = argparse.ArgumentParser()
p.add_argument("--depth", type=int, default=56)
p.add_argument("--images", type=int, default=256)
p.add_argument("--device", default="cuda")
p.add_argument("--chunks", default="4,16,64")
a = p.parse_args()
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
sync = torch.cuda.synchronize if a.device == "cuda" else (lambda: None)
torch.manual_seed(0)
model = ResNet((a.depth - 2) // 6).eval().to(a.device)
x = torch.randn(a.images, 3, 32, 32, device=a.device)
params = {k: v.detach() for k, v in model.named_parameters()}
buffers = dict(model.named_buffers())


def norms(xs):
    def f(q, xi):
        return functional_call(model, (q, buffers), (xi[None],))[0]

    j = vmap(jacrev(f), (None, 0))(params, xs)
    return sum((v.flatten(2) ** 2).sum(2) for v in j.values())


for chunk in map(int, a.chunks.split(",")):
    if a.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    try:
        norms(x[:chunk])
        sync()
        t = time.perf_counter()
        total = torch.cat([norms(c) for c in x.split(chunk)]).sum(1).mean().item()
        sync()
    except torch.OutOfMemoryError if hasattr(torch, "OutOfMemoryError") else RuntimeError as e:
        print("%d images at once do not fit: %s" % (chunk, str(e).splitlines()[0]), file=sys.stderr)
        break
    print(json.dumps(dict(peer="torch.func " + torch.__version__, depth=a.depth, images=a.images, chunk=chunk, device=a.device,
                          ms_per_image=round((time.perf_counter() - t) / a.images * 1e3, 4), gradient_norm=total,
                          device_memory_bytes=torch.cuda.max_memory_allocated() if a.device == "cuda" else 0)), flush=True)
