"""python -m twin: lives histories, and prints the seed and the shortened history of each that breaks a guarantee."""

import os
import sys

from twin import shims

if os.environ.get("PYTHONHASHSEED") != "0":  # the order of a set of texts is part of a history
    os.execve(sys.executable, [sys.executable, "-m", "twin", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"})
shims.install()

from twin.histories import main  # noqa: E402 - the clocks go before everything that reads them

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
