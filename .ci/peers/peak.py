"""Run a Python script, and print the most memory that its process has had as a last JSON line: the figure that dither gives of itself.

usage: peak.py SCRIPT [argument ...]
"""
import json, os, resource, runpy, sys

sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
print(json.dumps(dict(peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)))
