"""What the parts of a run share: its folder, its record, and commands that end in time.

A run consists of items. What became of each is kept in OUT/results.json as soon as it is over, so that the next call goes on with those that are left.
"""
import json, os, signal, subprocess, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))


class Failed(Exception):
    """An item did not pass: one sentence."""


class Late(Failed):
    """A command took longer than it may."""


class Skipped(Exception):
    """An item cannot be done here, which is no failure: one sentence."""


class Later(Exception):
    """The call's time is over: the item is for the next one."""


class Session:
    def __init__(self, options, version):
        self.options, self.version, self.began = options, version, time.monotonic()
        self.out = os.path.abspath(options.out)
        os.makedirs(self.out, exist_ok=True)
        self.record = {"kit": version, "quick": options.quick, "items": {}}
        if os.path.exists(self.path("results.json")):
            with open(self.path("results.json")) as kept:
                self.record = json.load(kept)
            if (self.record["kit"], self.record["quick"]) != (version, options.quick):
                raise Failed("%s has results of kit %s%s, and this is %s%s: give another --out" % (
                    self.out, self.record["kit"], " --quick" * self.record["quick"], version, " --quick" * options.quick))
        self.log = open(self.path("log"), "a", buffering=1)
        self.known = None

    def path(self, *names):
        return os.path.join(self.out, *names)

    def dither(self, *arguments):
        return [os.path.join(HERE, "bin", "dither"), *arguments]

    def precisions(self):
        """What the binary computes in, the plainest first."""
        if self.known is None:
            _, out, _ = self.command(self.dither("bench", "step", "--help"), limit=60)
            self.known = ["fp32", "bf16"] if "--precision" in out else ["fp32"]
        return self.known

    def precise(self, precision):
        return ["--precision", precision] if len(self.precisions()) > 1 else []

    def say(self, text):
        print(text, flush=True)
        self.log.write(text + "\n")

    def left(self):
        """Seconds of this call."""
        return self.options.limit - (time.monotonic() - self.began)

    def keep(self):
        new = self.path("results.json.new")
        with open(new, "w") as to:
            json.dump(self.record, to, indent=1)
        os.replace(new, self.path("results.json"))

    def figures(self, name):
        """What an item that passed has given, or None."""
        item = self.record["items"].get(name)
        return item["figures"] if item and item["verdict"] == "ok" else None

    def item(self, name, need, work):
        """Do an item that is not over: work gives its figures, a dict. need: the seconds below which it is not begun."""
        if name in self.record["items"]:
            return
        if self.left() < min(need, 0.8 * self.options.limit):
            raise Later(name)
        self.say("--- " + name)
        began = time.monotonic()
        verdict, why, figures = "ok", "", {}
        try:
            figures = work() or {}
        except Failed as e:
            verdict, why = "FAILED", str(e)
        except Skipped as e:
            verdict, why = "skipped", str(e)
        seconds = round(time.monotonic() - began, 1)
        self.record["items"][name] = {"verdict": verdict, "why": why, "seconds": seconds, "figures": figures}
        self.keep()
        self.say("%-7s %s (%.1f s)%s" % (verdict, name, seconds, ": " + why if why else ""))

    def command(self, argv, limit=None, env=None, cwd=None, stop=signal.SIGTERM):
        """Run a command, its output into the log: (exit code, standard output, standard error). One that takes longer than limit seconds fails; than this call has left,
        is for the next call, unless it had most of this one. It is asked by the signal stop to end, and killed ten seconds later."""
        self.log.write("$ %s\n" % " ".join(argv))
        whole = limit or 600
        allowed = min(whole, self.left() - 12)
        if allowed <= 0:
            raise Later(argv[0])
        began = time.monotonic()
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            try:
                child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd, env=dict(os.environ, **(env or {})), preexec_fn=os.setpgrp)  # its own group, and no session of its own: who ends this one ends it too
            except OSError as e:
                raise Failed("%s cannot be started: %s" % (argv[0], e.strerror))
            try:
                late = not wait(child, allowed)
                if late:
                    child.send_signal(stop)
                    wait(child, 10)
            finally:
                end(child)
            texts = []
            for f in (out, err):
                f.seek(0)
                texts.append(f.read())
                self.log.write(texts[-1])
        self.log.write("exit code %s, %.1f s\n" % (child.returncode, time.monotonic() - began))
        if late and allowed < whole and allowed < 0.8 * self.options.limit:
            raise Later(argv[0])
        if late:
            raise Late("it took longer than %.0f s" % allowed)
        return child.returncode, texts[0], texts[1]

    def result(self, argv, **how):
        """The one JSON object that a command of dither's prints."""
        code, out, err = self.command(argv, **how)
        if code != 0:
            raise Failed(last_line(err) or "exit code %d" % code)
        return json.loads(out)


def wait(child, seconds):
    try:
        child.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        return False


def end(child):
    """Ends what is left of a command: it and its children are a process group of their own."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def last_line(text):
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
