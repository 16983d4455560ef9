"""Queue: run every step of a study that is not finished, whatever was cut off.

A queue runs one step at a time. Several may work in one directory, on several cores: each step
belongs to the queue that holds its lock.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean

from training.study.child import Ended, Times, last_line, run_child
from training.study.ledger import Entry, Event, Ledger
from training.study.plan import Study
from training.study.steps import Inputs, State, Step, set_aside, settings_file, steps_of

LOCK_PATIENCE_S = 2.0  # a child that was killed with its queue may still be on its way out


class Queue:
    """Run steps in a study's directory; begin again and it goes on where it was cut off."""

    def __init__(
        self,
        study: Study,
        inputs: Inputs,
        directory: Path,
        *,
        program: Sequence[str],
        only: Sequence[str] = (),
        say: Callable[[str], None] = print,
        beat_s: float = 30.0,
    ) -> None:
        self._study, self._inputs, self._directory = study, inputs, directory
        self._program, self._say, self._beat_s = program, say, beat_s
        self._steps = steps_of(study, only=only)
        self._ledger = Ledger(directory / "ledger.jsonl")
        self._failed: dict[str, str] = {}

    def show(self) -> None:
        """Say what would be run, in order, and change nothing."""
        for number, step in enumerate(self._steps, start=1):
            needs = f" (after {', '.join(step.needs)})" if step.needs else ""
            self._say(f"{number:3} {self._state(step):9} {step.name}{needs}")
        self._say(self._summary())

    def run(self) -> dict[str, str]:
        """Run what is not finished and return the steps that failed, with the cause of each.

        What another queue is at work on is left to it, and so is what needs that.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        while self._ran_any():
            pass
        self._say(self._summary())
        return dict(self._failed)

    def _ran_any(self) -> bool:
        ran = False
        for number, step in enumerate(self._steps, start=1):
            if not self._is_open(step):
                continue
            with taken(lock_file(self._directory, step)) as lock:
                # Another queue may have finished it while this one waited for the lock.
                if lock is None or not self._is_open(step):
                    continue
                self._say(f"[{number}/{len(self._steps)}] {step.name}: {self._summary()}")
                self._run(step, lock)
                ran = True
        return ran

    def _is_open(self, step: Step) -> bool:
        """Tell whether a step is to be run, and nothing that it needs is yet to come."""
        if step.name in self._failed or self._state(step) == "finished":
            return False
        needed = [other for other in self._steps if other.name in step.needs]
        return all(n.name in self._failed or self._state(n) == "finished" for n in needed)

    def _run(self, step: Step, lock: int) -> None:
        attempt = self._ledger.next_attempt(step.name)
        ended = self._attempt(step, attempt, lock)
        event: Event = "failed" if ended.cause else "finished"
        self._record(step, attempt, event, ended.times, ended.cause)
        if ended.cause:
            self._failed[step.name] = ended.cause
            self._say(f"    failed: {ended.cause}")

    def _attempt(self, step: Step, attempt: int, lock: int) -> Ended:
        for name in step.needs:
            if name in self._failed:
                return Ended(Times(0.0, 0.0), f"needs {name}, which failed")
        if self._state(step) == "changed":
            self._supersede(step)
        file = settings_file(self._directory, step)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(step.settings(), "utf-8")
        ended = self._execute(step, attempt, lock)
        if not ended.cause and self._state(step) != "finished":
            return Ended(ended.times, "ended without figures for these settings")
        return ended

    def _execute(self, step: Step, attempt: int, lock: int) -> Ended:
        log = self._directory / f"{step.name}.log"

        def beat(times: Times) -> None:
            # A kill leaves of an attempt's CPU time what was written last.
            self._record(step, attempt, "alive", times)
            if said := last_line(log):
                self._say(f"    {said}")

        self._record(step, attempt, "begun", Times(0.0, 0.0))
        arguments = step.arguments(self._study, self._inputs, self._directory)
        command = [*self._program, *arguments]
        return run_child(command, log=log, keep_open=lock, beat_s=self._beat_s, beat=beat)

    def _supersede(self, step: Step) -> None:
        """Set a changed step aside, and with it what was made with its result."""
        dependent = [s for s in steps_of(self._study) if step.name in s.needs]
        for stale in (step, *dependent):
            if (self._directory / stale.name).exists():
                target = set_aside(self._directory, stale)
                self._say(f"    its settings have changed: {stale.name} is now {target}")

    def _record(
        self, step: Step, attempt: int, event: Event, times: Times, cause: str = ""
    ) -> None:
        wall_s, cpu_s = round(times.wall_s, 2), round(times.cpu_s, 2)
        self._ledger.add(Entry(step.name, attempt, event, wall_s, cpu_s, cause))

    def _state(self, step: Step) -> State:
        return step.state(self._directory)

    def _summary(self) -> str:
        ahead = [step for step in self._steps if self._state(step) != "finished"]
        done = len(self._steps) - len(ahead)
        used_h = sum(self._ledger.cpu_s().values()) / 3600
        left = self._left_s(ahead)
        estimate = f", about {left / 3600:.1f} h left" if left is not None else ""
        return f"{done} of {len(self._steps)} finished, {used_h:.2f} CPU h used{estimate}"

    def _left_s(self, ahead: Sequence[Step]) -> float | None:
        """Expect of a step what finished steps of its row took, or else of its kind."""
        took = self._ledger.wall_s()
        finished = [s for s in self._steps if self._state(s) == "finished" and s.name in took]
        left_s = 0.0
        for step in ahead:
            alike = [s for s in finished if s.row == step.row]
            alike = alike or [s for s in finished if type(s) is type(step)]
            if not alike:
                return None
            expected_s = fmean(took[s.name] for s in alike)
            left_s += max(0.0, expected_s - took.get(step.name, 0.0))
        return left_s


def lock_file(study_directory: Path, step: Step) -> Path:
    """Return the file that whoever runs a step holds locked: beside its directory, not in it."""
    return study_directory / f"{step.name}.lock"


@contextmanager
def taken(path: Path) -> Iterator[int | None]:
    """Hold a lock, or nothing while another has it; it ends with the last process that has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield descriptor if _is_free(descriptor) else None
    finally:
        os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    deadline_s = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.1)
        else:
            return True
