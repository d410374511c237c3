"""Two programs at the same work, in turn: medians, and rows of a table of them.

usage: turns.py figure FIELD FILE           from JSON lines: the least FIELD (of several ways the fastest counts) and the greatest peak_memory_bytes in MiB
       turns.py row WHAT OURS [THEIRS]      files of such lines, one a turn: "| what | ours, ms | MiB | theirs, ms | MiB | theirs / ours | pair by pair |"
"""
import json, statistics, sys


def objects(text):
    """The JSON objects among the lines of a program's output."""
    found = []
    for line in text.splitlines():
        if line.startswith("{"):
            found.append(json.loads(line))
    return found


def figure(found, field, most="peak_memory_bytes"):
    """The least of a field, and the greatest of another, 0 where nobody has it."""
    values = [o[field] for o in found if field in o]
    if not values:
        raise ValueError("no " + field + " in what it printed")
    return min(values), max([o[most] for o in found if most in o], default=0)


def ratios(ours, theirs):
    """How many times as fast ours is: the ratio of medians, and the least and the greatest of the turns' own."""
    pairs = [b / a for a, b in zip(ours, theirs)]
    return statistics.median(theirs) / statistics.median(ours), min(pairs), max(pairs)


def row(what, ours, theirs=None):
    """ours and theirs: (milliseconds, MiB) of each turn."""
    text = "| %s | %.2f | %.0f |" % (what, statistics.median([m for m, _ in ours]), statistics.median([b for _, b in ours]))
    if not theirs:
        return text + " - | - | - | - |"
    ratio, least, greatest = ratios([m for m, _ in ours], [m for m, _ in theirs])
    return text + " %.2f | %.0f | %.2f | %.2f to %.2f |" % (statistics.median([m for m, _ in theirs]), statistics.median([b for _, b in theirs]), ratio, least, greatest)


def turns(path):
    with open(path) as lines:
        return [tuple(map(float, line.split())) for line in lines]


if __name__ == "__main__":
    if sys.argv[1:2] == ["figure"] and len(sys.argv) == 4:
        try:
            with open(sys.argv[3]) as printed:
                least, most = figure(objects(printed.read()), sys.argv[2])
            print(least, most / 1048576)
        except ValueError as e:
            sys.exit("%s: %s" % (sys.argv[3], e))
    elif sys.argv[1:2] == ["row"] and len(sys.argv) in (4, 5):
        print(row(sys.argv[2], *map(turns, sys.argv[3:])))
    else:
        sys.exit(__doc__)
