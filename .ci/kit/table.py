"""What came out, in one table."""
from statistics import median

from benches import configurations, name_of
from turns import ratios

# What is wanted of each, and what is aimed at: how many times as fast as the better of PyTorch's two ways, and what share of its memory at most.
WANTED = {"ResNet-56 batch 64": (1.5, 3.0), "ResNet-56 batch 1024": (1.0, 2.0)}
WANTED_NORM, WANTED_MEMORY, WANTED_HOST = (3.0, 10.0), (0.7, 0.4), (0.05, 0.0)


def turns_of(s, prefix, who, field):
    """The field of each turn that both have is compared, so a turn that failed is None."""
    found = [s.figures("%s/%s/%d" % (prefix, who, turn)) for turn in range(s.options.pairs)]
    return [f[field] if f else None for f in found]


def beside(ours, theirs):
    both = [(a, b) for a, b in zip(ours, theirs) if a and b]
    return ratios([a for a, _ in both], [b for _, b in both]) if both else None


def speed(s, what, prefix, field, peers, wanted):
    """A row: our median, each peer's, and the ratio to the best of them."""
    ours = turns_of(s, prefix, "dither", field)
    have = [v for v in ours if v is not None]
    if not have:
        return []
    cells, best = ["%.3f" % median(have)], None
    for who in peers:
        theirs = turns_of(s, prefix, who, field)
        known = [v for v in theirs if v is not None]
        cells.append("%.3f" % median(known) if known else "-")
        ratio = beside(ours, theirs)
        if ratio and (best is None or ratio[0] < best[0]):
            best = ratio
    cells += ["-"] * (2 - len(peers))
    cells.append("%.2f (%.2f to %.2f)" % best if best else "-")
    cells.append("%g, aim %g%s" % (*wanted, ": " + ("met" if best[0] >= wanted[0] else "MISSED") if best else "") if wanted else "-")
    return ["| %s | %s |" % (what, " | ".join(cells))]


def least(s, prefix, field, whos):
    values = [v for who in whos for v in turns_of(s, prefix, who, field) if v]
    return min(values) if values else None


def more(s, what, prefix):
    """Device memory, and the time in which the device waits for the host."""
    rows = []
    memory, theirs = least(s, prefix, "device_memory_bytes", ["dither"]), least(s, prefix, "device_memory_bytes", ["memory", "compile"])
    if memory:
        row = "%s: %.1f MiB of device memory" % (what, memory / 2**20)
        if theirs:
            row += ", PyTorch's tensors %.1f: %.2f (at most %g, aim %g)" % (theirs / 2**20, memory / theirs, *WANTED_MEMORY)
        rows.append(row)
    host, step = [median(v) if v else None for v in ([v for v in turns_of(s, prefix, "dither", f) if v is not None] for f in ("host_ms", "step_ms"))]
    if host is not None:
        rows.append("%s: %.3f ms of a step in which the device waits for the host, %.1f %% (less than %g %%)" % (what, host, 100 * host / step, 100 * WANTED_HOST[0]))
    return rows


def report(s):
    lines, items = [], s.record["items"]
    speeds, mores = [], []
    for depth, batch, precision in configurations(s):
        what = name_of(depth, batch, precision)
        speeds += speed(s, what + ", ms a step", "bench/" + what, "step_ms", ["graph", "compile"], WANTED.get("ResNet-%d batch %d" % (depth, batch)))
        mores += more(s, what, "bench/" + what)
    speeds += speed(s, "gradient norm, ms an image", "bench/gradient norm", "ms_per_image", ["torch.func"], None if s.options.quick else WANTED_NORM)
    if speeds:
        lines += ["", "| work | dither | PyTorch, graph (torch.func) | PyTorch, compiled, graph | best peer / dither (pair by pair) | wanted |", "|---|---|---|---|---|---|", *speeds, "", *mores]
    trained = s.figures("long/CIFAR-10")
    if trained and not s.options.quick:
        lines.append("CIFAR-10, ResNet-56, 200 epochs, batch 64, %s: %.2f %% in %.1f min, %d calls (93.0 to 94.4 %% in less than 15, aim 5)" % (
            trained["precision"], 100 * trained["test_accuracy"], trained["seconds"] / 60, trained["calls"]))
    elif "long" in s.record:
        lines.append("the long run: %.1f min so far, %d calls" % (s.record["long"]["seconds"] / 60, s.record["long"]["calls"]))
    lines.append("")
    for verdict in ("skipped", "FAILED"):
        lines += ["%-7s %s: %s" % (verdict, n, i["why"]) for n, i in items.items() if i["verdict"] == verdict]
    counts = {v: sum(i["verdict"] == v for i in items.values()) for v in ("ok", "skipped", "FAILED")}
    lines.append("kit %s%s: %d items ok, %d skipped, %d failed" % (s.version, ", --quick: small work, to try the script" if s.options.quick else "", counts["ok"], counts["skipped"], counts["FAILED"]))
    text = "\n".join(lines).strip()
    with open(s.path("table.md"), "w") as to:
        to.write(text + "\n")
    return text
