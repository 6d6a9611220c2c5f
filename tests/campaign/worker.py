"""What the jobs of a campaign run: a process that writes down that it is alive, so that others can see when it was.

`python -I worker.py FOLDER JOB RUN TASK SECONDS`; the lines of its file are `WORD TIME`, and the words begin, tick,
end, and told if somebody asked it to end. It imports nothing that takes time: there are many of it.
"""

import os
import signal
import sys
import time

_TICK_SECONDS = 0.2


def main(folder: str, job: str, run: str, task: str, seconds: str) -> int:
    name = f"{folder}/{job}~{run}~{task or '0'}~{os.getpid()}"
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    is_told = []

    def say(word: str) -> None:
        os.write(file, f"{word} {time.time():.3f}\n".encode())

    signal.signal(signal.SIGTERM, lambda *_: is_told.append(True))
    say("begin")
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        if is_told:
            say("told")
            return 143
        time.sleep(_TICK_SECONDS)
        say("tick")
    say("end")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
