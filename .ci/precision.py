#!/usr/bin/env python3
"""Compares two groups of runs by the same seeds: precision.py RUNS SEEDS EPOCHS GROUP OTHER, where RUNS/GROUP-1 ... RUNS/GROUP-SEEDS are runs' folders.

For the mean training loss of each epoch, and at the end the test accuracy, test loss and gradient norm: the means of both groups over seeds, with their standard deviations. The other group is
within seed noise if its mean is no further from the first's than two groups of the same run by other seeds would be, 19 times in 20: t sqrt((s1^2 + s2^2) / seeds), t being Student's for 2 seeds - 2
degrees of freedom. Runs of one seed start alike and see the same samples and noise, so that their difference is known better than that: "paired" is its standard error by seed, and says whether there
is a difference at all, be it within the seeds' spread. Of an accuracy one image more or less counts for nothing. Exit code 1: some number is outside, or none."""

import json
import math
import sys


# 97.5 % of Student's t are below, by seeds.
STUDENT = {3: 2.776, 4: 2.447, 5: 2.306, 6: 2.228, 7: 2.179, 8: 2.145, 9: 2.120, 10: 2.101}


def finished(folder):
    with open(folder + "/result.json") as f:
        result = json.load(f)
    if result["phase"] != "finished":
        sys.exit(f"precision: {folder} is {result['phase']}: {result['reason']}")
    return result


def lines(path):
    with open(path) as f:
        return [json.loads(line) for line in f]


def read(folder, epochs):
    """Everything measured of a run, by name."""
    result = finished(folder)
    losses = [float(it["loss"]) for it in lines(folder + "/metrics.jsonl")]
    each = len(losses) // epochs
    values = {f"loss, epoch {e + 1}": sum(losses[e * each:(e + 1) * each]) / each for e in range(epochs)}
    for key in ("test_accuracy", "test_loss", "gradient_norm"):
        if result[key] is not None:  # NORM=0 asks for no gradient norm
            values[key.replace("_", " ")] = result[key]
    return values


def tested(folder):
    """Images of the test."""
    return max(e["images"] for e in lines(folder + "/events.jsonl") if e.get("split") == "test")


def moments(v):
    mean = sum(v) / len(v)
    return mean, math.sqrt(sum((x - mean) ** 2 for x in v) / (len(v) - 1))


def main():
    runs, seeds, epochs, first, other = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
    if seeds not in STUDENT:
        sys.exit("precision: the spread over fewer than 3 seeds says nothing, and more than 10 are not needed")
    groups = {g: [read(f"{runs}/{g}-{s}", epochs) for s in range(1, seeds + 1)] for g in (first, other)}
    print(f"{'':16} {first:>22} {other:>22} {'difference':>11} {'allowed':>9} {'paired':>9}   over {seeds} seeds")
    outside, images = [], tested(f"{runs}/{first}-1")
    for name in groups[first][0]:
        a, b = ([run[name] for run in groups[g]] for g in (first, other))
        (ma, sa), (mb, sb) = moments(a), moments(b)
        paired = moments([y - x for x, y in zip(a, b)])[1] / math.sqrt(seeds)
        allowed = STUDENT[seeds] * math.sqrt((sa**2 + sb**2) / seeds)
        if name == "test accuracy":
            allowed = max(allowed, 1 / images)
        within = abs(mb - ma) <= allowed  # false of what is no number
        if not within:
            outside.append(name)
        print(f"{name:16} {ma:11.5g} +- {sa:7.2g} {mb:11.5g} +- {sb:7.2g} {mb - ma:11.2g} {allowed:9.2g} {paired:9.2g}   {'within' if within else 'OUTSIDE'}")
    if outside:
        print(f"{other} is not within seed noise of {first}: {', '.join(outside)}")
        sys.exit(1)
    print(f"{other} is within seed noise of {first} throughout")


if __name__ == "__main__":
    main()
