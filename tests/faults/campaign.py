"""Break tiny runs in many ways, resume them, and count what was lost.

    python -m tests.faults.campaign                  # bounded: `make faults`
    python -m tests.faults.campaign --kills 200      # `make faults-long` raises every count
    python -m tests.faults.campaign --only kills --seed 3

Prints a table of faults, tries and losses, and every loss with the seed that repeats it. Exits with 1 if there is one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.record.events import read_events
from engine.record.lock import RunLock, held
from engine.record.run import read_run
from tests.faults.sabotage import ERRORS, Outcome, Strike, engine
from tests.train.tiny_run import make, materials

QUICK = ("teacher.finetune.epochs=1", "stage.ild.epochs=1", "stage.kd.epochs=1", "train.checkpoint_every=2",
         "train.keep_for_extending=true")  # fmt: skip
"""Settings under which a tiny run takes a second and still has every stage."""
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
NOT_EQUAL = "another student"


@dataclass
class Tally:
    """What one fault did: how often it was tried, and the sentences of what was lost."""

    fault: str
    tries: int = 0
    losses: list[str] = field(default_factory=list)

    def check(self, held_true: bool, loss: str) -> None:
        """Count a loss unless the promise held."""
        if not held_true:
            self.losses.append(loss)


@dataclass(frozen=True)
class Facts:
    """What must be equal after any interruption: the student's bytes, the metrics, the curve."""

    student: str
    metrics: str
    curve: str


class Bench:
    """A tiny task with a whole run of it to compare with, and fresh runs of the same preset to break."""

    def __init__(self, folder: Path, seed: int, *settings: str) -> None:
        self.folder, self.random, self.settings = folder, random.Random(seed), (*QUICK, *settings)
        child = os.fork()
        if child == 0:  # the parent must not compute: a fork of a process with OpenMP threads hangs
            materials(folder)
            os._exit(0)
        os.waitpid(child, 0)
        from tests.train.tiny_run import PRESET

        self.text = PRESET.format(folder=folder)
        self.count = 0
        whole, cache = self.fresh()
        outcome = self.engine(whole, cache)
        assert outcome.code == 0, outcome.output
        self.facts, self.changes = facts(whole), outcome.changes
        self.whole, self.cache = whole, cache

    def fresh(self) -> tuple[Path, Path]:
        """A new run directory with the same name in a folder of its own, and an empty cache next to it."""
        self.count += 1
        place = self.folder / f"try-{self.count}"
        place.mkdir()
        run_dir = make(self.folder, self.text, *self.settings)
        target = place / "runs" / run_dir.name
        target.parent.mkdir()
        run_dir.rename(target)
        return target, place / "cache"

    def engine(self, run_dir: Path, cache: Path, strike: Strike | None = None) -> Outcome:
        """Be its engine in a child process."""
        return engine(run_dir, cache, watched=run_dir.parent.parent, strike=strike)

    def done_with(self, run_dir: Path) -> None:
        """Remove the folder of a try."""
        shutil.rmtree(run_dir.parent.parent)


def facts(run_dir: Path) -> Facts:
    """What the promise of equality is about."""
    results = json.loads((run_dir / "results.json").read_text())
    metrics = {name: results[name]["metrics"] for name in ("teacher", "student", "baseline")}
    curve = [(e["stage"], e["step"], e["loss"], e["terms"]) for e in read_events(run_dir, {"step"})]
    files = ("model.safetensors", "config.json", "tokenizer.json")
    student = hashlib.sha256(b"".join((run_dir / "student" / name).read_bytes() for name in files))
    return Facts(student.hexdigest(), json.dumps(metrics, sort_keys=True), json.dumps(curve))


def differences(run_dir: Path, expected: Facts) -> str:
    """What differs from the whole run; "" if nothing does."""
    try:
        found = facts(run_dir)
    except (OSError, ValueError, KeyError) as error:
        return f"no results: {type(error).__name__} {error}"
    pairs = ((NOT_EQUAL, "student"), ("other metrics", "metrics"), ("another curve", "curve"))
    return ", ".join(words for words, name in pairs if getattr(found, name) != getattr(expected, name))


def leftovers(run_dir: Path) -> list[str]:
    """Hidden and temporary entries that no finished run has."""
    place = run_dir.parent.parent
    names = [path for path in place.rglob("*") if path.name.startswith(".") or ".tmp" in path.name]
    return [str(path.relative_to(place)) for path in names if path.name not in (".start", ".locks")]


def last_saved(run_dir: Path) -> tuple[int, int]:
    """The newest checkpoint that the events speak of: index of its stage and step; (-1, 0) if there is none."""
    stages: list[str] = []
    newest = (-1, 0)
    for event in read_events(run_dir):
        if event["kind"] == "run_started":
            stages = event["stages"]
        elif event["kind"] == "checkpoint":
            newest = (stages.index(event["stage"]), event["step"])
    return newest


def resumed_at(run_dir: Path, attempt: int) -> tuple[int, int] | None:
    """Where an attempt began: index of the stage and step."""
    for line in (run_dir / f"events.{attempt}.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["kind"] == "run_started":
            return event["stages"].index(event["stage"]) if event["resumed"] else -1, event["step"]
    return None


def crashed(outcome: Outcome) -> bool:
    """Whether the engine ended by a fault of crild itself."""
    return "Traceback" in outcome.output or "a bug in crild" in outcome.output


# -- the faults


def kills(bench: Bench, count: int) -> Iterator[Tally]:
    """SIGKILL at random changes, several times in one run, then the rest of it."""
    equal, saved, states, clean = (
        Tally("SIGKILL at a random change, resumed: same student, metrics, curve"),
        Tally("a checkpoint that was reported is there after SIGKILL"),
        Tally('after SIGKILL the state is "lost" and the lock is free'),
        Tally("nothing half-made stays after SIGKILL and resume"),
    )
    done = 0
    while done < count:
        run_dir, cache = bench.fresh()
        strikes: list[str] = []
        for _ in range(min(bench.random.randint(1, 4), count - done)):
            strike = Strike(bench.random.randrange(bench.changes), signal=signal.SIGKILL)
            promised, before = last_saved(run_dir), _attempts(run_dir)
            outcome = bench.engine(run_dir, cache, strike)
            new = _attempts(run_dir)[len(before) :]  # none where the kill came before its file of events
            if new and (place := resumed_at(run_dir, new[-1])) is not None:
                saved.tries += 1
                saved.check(place >= promised, f"{strikes}: promised {promised}, began at {place}")
            if outcome.code == 0:
                break
            strikes.append(str(strike))
            done += 1
            states.tries += 1
            state = read_run(run_dir).state
            states.check(outcome.code == -signal.SIGKILL, f"{strikes}: code {outcome.code}: {outcome.output[-500:]}")
            ended = ("lost", "created", "finished")  # finished: the kill came after the last status
            states.check(state in ended and not held(run_dir), f"{strikes}: {state}")
            if state == "finished":  # nothing is left to resume; its checkpoints were being deleted
                break
        if read_run(run_dir).state != "finished":
            outcome = bench.engine(run_dir, cache)
        equal.tries += 1
        finished = read_run(run_dir).state == "finished"
        equal.check(finished, f"{strikes}: code {outcome.code}: {outcome.output[-800:]}")
        if finished:
            difference = differences(run_dir, bench.facts)
            equal.check(not difference, f"{strikes}: {difference}")
        if outcome.code == 0:
            clean.tries += 1
            left = leftovers(run_dir)
            clean.check(not left, f"{strikes}: {left}")
        bench.done_with(run_dir)
        progress(f"kills {done}/{count}")
    yield from (equal, saved, states, clean)


def _attempts(run_dir: Path) -> list[int]:
    """The attempts that have a file of events, in their order."""
    return sorted(int(path.name.split(".")[1]) for path in run_dir.glob("events.*.jsonl"))


def signals(bench: Bench, count: int) -> Iterator[Tally]:
    """A stop signal at a random change; some twice."""
    tally = Tally("SIGTERM, SIGINT, SIGUSR1 at a random change: ends as told, resumed equal")
    for number in range(count):
        run_dir, cache = bench.fresh()
        strike = Strike(bench.random.randrange(bench.changes), signal=STOPS[number % len(STOPS)])
        outcome = bench.engine(run_dir, cache, strike)
        tally.tries += 1
        code = 130 if strike.signal == signal.SIGINT else 143
        state = read_run(run_dir).state
        tally.check(outcome.code in (code, 0), f"{strike}: code {outcome.code}: {outcome.output[-500:]}")
        tally.check(state in ("stopped", "preempted", "finished"), f"{strike}: {state}")
        if outcome.code != 0:
            outcome = bench.engine(run_dir, cache)
        difference = differences(run_dir, bench.facts)
        tally.check(outcome.code == 0 and not difference, f"{strike}: code {outcome.code}, {difference}")
        bench.done_with(run_dir)
        progress(f"signals {number + 1}/{count}")
    yield tally


def errors(bench: Bench, count: int) -> Iterator[Tally]:
    """The system refuses from a random change on, for a while or for good."""
    tallies = {name: Tally(f"{name} from a random change on: a plain error, resumed equal") for name in ERRORS}
    names = list(ERRORS)
    for number in range(count):
        run_dir, cache = bench.fresh()
        name = names[number % len(names)]
        lasting = bench.random.choice((1, 5, 1_000_000))
        strike = Strike(bench.random.randrange(bench.changes), error=name, lasting=lasting)
        outcome = bench.engine(run_dir, cache, strike)
        tally = tallies[name]
        tally.tries += 1
        tally.check(not crashed(outcome), f"{strike}: {outcome.output[-1500:]}")
        if outcome.code != 0:
            outcome = bench.engine(run_dir, cache)
        difference = differences(run_dir, bench.facts)
        tally.check(
            outcome.code == 0 and not difference, f"{strike}: code {outcome.code}, {difference} {outcome.output[-500:]}"
        )
        bench.done_with(run_dir)
        progress(f"errors {number + 1}/{count}")
    yield from tallies.values()


def _flipped(draw: random.Random, content: bytes) -> bytes:
    if not content:
        return b"x"
    at = draw.randrange(len(content))
    return content[:at] + bytes((content[at] ^ 1 << draw.randrange(8),)) + content[at + 1 :]


def _zeroed(draw: random.Random, content: bytes) -> bytes:
    at = draw.randrange(len(content) or 1)
    return content[:at] + b"\0" * min(512, len(content) - at) + content[at + 512 :]


DAMAGE: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "a bit flipped": _flipped,
    "cut off": lambda draw, content: content[: draw.randrange(len(content) or 1)],
    "512 zeros": _zeroed,
    "empty": lambda _draw, _content: b"",
}


def damage(bench: Bench, count: int) -> Iterator[Tally]:
    """A file of a stopped run, or of the cache, is damaged or removed; then the run is resumed."""
    tally = Tally("a damaged or missing file, resumed: the same student, or a plain refusal")
    spoken = Tally("... and the damage is reported")
    stopped, cache = bench.fresh()
    outcome = bench.engine(stopped, cache, Strike(int(bench.changes * 0.7), signal=signal.SIGTERM))
    assert outcome.code == 143, outcome.output
    place = stopped.parent.parent
    files = sorted(path.relative_to(place) for path in place.rglob("*") if path.is_file() and path.name != "lock")
    files = [name for name in files if not name.name.endswith((".lock", ".txt"))]
    for number in range(count):
        copy = bench.folder / f"damaged-{number}"
        shutil.copytree(place, copy, symlinks=True)
        name = bench.random.choice(files)
        kind = bench.random.choice([*DAMAGE, "missing"])
        file = copy / name
        before = file.read_bytes()
        if kind == "missing":
            file.unlink()
        else:
            file.write_bytes(DAMAGE[kind](bench.random, before))
        run_dir = copy / stopped.relative_to(place)
        same = file.exists() and file.read_bytes() == before
        outcome = bench.engine(run_dir, copy / "cache")
        what = f"{name} {kind}"
        tally.tries += 1
        tally.check(not crashed(outcome), f"{what}: {outcome.output[-1500:]}")
        if outcome.code == 0:
            difference = differences(run_dir, bench.facts)
            tally.check(NOT_EQUAL not in difference and "metrics" not in difference, f"{what}: {difference}")
            if matters(name) and not same:
                spoken.tries += 1
                spoken.check(has_warning(run_dir), f"{what}: nothing was said")
        else:
            tally.check("error: " in outcome.output, f"{what}: code {outcome.code}: {outcome.output[-500:]}")
        shutil.rmtree(copy)
        progress(f"damage {number + 1}/{count}")
    bench.done_with(stopped)
    yield from (tally, spoken)


def matters(name: Path) -> bool:
    """Whether the run depends on a file: what it resumes from, and the caches that it reads."""
    return name.parts[0] == "cache" or "checkpoints" in name.parts


def has_warning(run_dir: Path) -> bool:
    """Whether the last attempt reported something as a warning or error, or said that it uses another checkpoint."""
    return any(event.get("level") in ("warning", "error") for event in read_events(run_dir, {"message"}))


def starters(bench: Bench, count: int) -> Iterator[Tally]:
    """Twenty processes start one run at once."""
    tally = Tally("20 processes take one run at once: exactly one gets it")
    for _ in range(count):
        run_dir, _ = bench.fresh()
        reader, writer = os.pipe()
        start, go = os.pipe()
        children = []
        for _ in range(20):
            child = os.fork()
            if child == 0:
                os.close(go)
                os.read(start, 1)
                lock = RunLock(run_dir)
                os.write(writer, b"1" if lock.try_acquire() else b"0")
                time.sleep(1.0)
                os._exit(0)
            children.append(child)
        os.close(start)
        os.close(go)
        os.close(writer)
        for child in children:
            os.waitpid(child, 0)
        answers = os.read(reader, 100)
        os.close(reader)
        tally.tries += 1
        tally.check(answers.count(b"1") == 1 and len(answers) == 20, f"answers {answers!r}")
        tally.check(not held(run_dir), "the lock is still held")
        bench.done_with(run_dir)
    yield tally


FAULTS: dict[str, tuple[Callable[[Bench, int], Iterator[Tally]], int]] = {
    "kills": (kills, 60),
    "signals": (signals, 15),
    "errors": (errors, 30),
    "damage": (damage, 60),
    "starters": (starters, 5),
}
"""Name of a fault: how to try it, and how often within the bounded campaign."""


def progress(text: str) -> None:
    """One line on a terminal that the next one replaces; nothing elsewhere."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def run_campaign(folder: Path, counts: dict[str, int], seed: int) -> list[Tally]:
    """Try the named faults so many times each."""
    import torch

    torch.set_num_threads(1)
    import engine.train.experiment  # noqa: F401 - loaded once, before the forks

    bench = Bench(folder, seed)
    return [tally for name, count in counts.items() for tally in FAULTS[name][0](bench, count)]


def table(tallies: list[Tally]) -> str:
    """Faults, tries and losses, as Markdown."""
    rows = [f"| {tally.fault} | {tally.tries:,} | {len(tally.losses):,} |" for tally in tallies]
    return "\n".join(["| fault | tries | losses |", "| --- | ---: | ---: |", *rows])


def main() -> int:
    """Run the campaign that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=FAULTS, action="append")
    parser.add_argument("--seed", type=int, default=0)
    for name, (_, count) in FAULTS.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    options: dict[str, Any] = vars(parser.parse_args())
    names = options["only"] or FAULTS
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        tallies = run_campaign(Path(name), {name: options[name] for name in names}, options["seed"])
    print(table(tallies))
    for tally in tallies:
        for loss in tally.losses:
            print(f"\nLOSS in {tally.fault!r}, seed {options['seed']}: {loss}")
    print(f"\n{time.monotonic() - began:.0f} seconds")
    return 1 if any(tally.losses for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
