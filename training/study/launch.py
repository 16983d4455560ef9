"""Launch: become another program, which the kernel kills when whoever started it dies."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def launch(parent: int, command: list[str]) -> None:
    """Replace this process by `command`, unless process `parent` has died meanwhile."""
    if sys.platform == "linux":
        # It survives the exec; without it an orphan would write where the next queue resumes.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("newsbert: the queue has ended")
    os.execvp(command[0], command)  # noqa: S606  (the queue's own command, no shell)


if __name__ == "__main__":
    launch(int(sys.argv[1]), sys.argv[2:])
