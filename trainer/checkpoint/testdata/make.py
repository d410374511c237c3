"""Makes the small PyTorch files of this folder: python3 make.py (PyTorch 1.13). Element i of tensor j, in the order of names(), is i/4 - j."""
import collections, os, pickle, torch

SHAPES = {"conv1.weight": (4, 3, 3, 3), "bn1.weight": (4,), "bn1.bias": (4,), "bn1.running_mean": (4,), "bn1.running_var": (4,),
          "layer2.0.downsample.0.weight": (8, 4, 1, 1), "layer2.0.downsample.1.weight": (8,), "fc.weight": (5, 8), "fc.bias": (5,)}


def numbers(dtype=torch.float32):
    return collections.OrderedDict((name, (torch.arange(torch.Size(s).numel()).double() / 4 - j).reshape(s).to(dtype))
                                   for j, (name, s) in enumerate(SHAPES.items()))


class Calls:
    def __reduce__(self):
        return os.system, ("echo this must never be printed",)




state = numbers()
state["bn1.num_batches_tracked"] = torch.tensor(7)
state._metadata = {"": {"version": 1}}
torch.save(state, "zip_bare.pt")
torch.save({"epoch": 3, "best": 0.5, "state_dict": {"module." + k: v for k, v in state.items()}}, "zip_wrapped.pt")
torch.save({k: torch.nn.Parameter(v, False) for k, v in numbers().items()}, "zip_parameters.pt", pickle_protocol=4)
torch.save(state, "old_bare.pt", _use_new_zipfile_serialization=False)
torch.save({"net": {"module." + k: v for k, v in state.items()}, "acc": torch.tensor(93.5), "args": [1, 2.5, None, -70000, 1 << 40, (True,)]},
           "old_wrapped.pt", _use_new_zipfile_serialization=False)
for name, dtype in {"f64": torch.float64, "f16": torch.float16, "bf16": torch.bfloat16}.items():
    torch.save(numbers(dtype), f"zip_{name}.pt")

# One storage for all, at offsets; matrices transposed in memory; rows with a gap between them.
flat, strided, at = torch.zeros(1000), {}, 0
for name, t in numbers().items():
    view = flat[at:at + t.numel()].view(t.shape)
    view.copy_(t)
    strided[name], at = view, at + t.numel()
strided["conv1.weight"] = strided["conv1.weight"].permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)
gap = torch.zeros(5, 16)
gap[:, ::2] = strided["fc.weight"]
strided["fc.weight"] = gap[:, ::2]
torch.save(strided, "zip_strided.pt")
torch.save(strided, "old_strided.pt", _use_new_zipfile_serialization=False)

torch.save({"conv1.weight": torch.tensor([1e300], dtype=torch.float64)}, "bad_range.pt")
torch.save({"conv1.weight": torch.tensor([1, 2])}, "bad_integers.pt")
torch.save({"conv1.weight": torch.ones(2), "module.conv1.weight": torch.ones(2)}, "bad_duplicate.pt")
torch.save({"conv1.weight": torch.ones(1).expand(1 << 40)}, "bad_expanded.pt")
torch.save({"epoch": 3, "args": {"lr": 0.1}}, "bad_empty.pt")
torch.save({"conv1.weight": torch.ones(2), "hook": Calls()}, "bad_calls_zip.pt")
torch.save({"conv1.weight": torch.ones(2), "hook": Calls()}, "bad_calls_old.pt", _use_new_zipfile_serialization=False)
torch.save(torch.nn.Linear(2, 2), "bad_module.pt")
with open("bad_calls.pkl", "wb") as f:
    pickle.dump(Calls(), f, 4)
with open("bad_plain.pkl", "wb") as f:
    pickle.dump({"a": [1, 2]}, f, 2)
