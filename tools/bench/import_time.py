"""How long ``import x2c_edge`` and ``x2c-edge --help`` take in a fresh interpreter (goal: under 0.3 s).

python -m tools.bench.import_time [--rounds 15]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable

from tools.bench.common import interleaved, machine, markdown_table

SNIPPETS = {
    "python -c pass": "pass",
    "import x2c_edge": "import x2c_edge",
    "x2c-edge --help": "import sys; sys.argv[1:] = ['--help']; from x2c_edge.cli.main import main; main()",
}


def fresh(snippet: str) -> Callable[[], object]:
    command = [sys.executable, "-c", snippet]
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    times = interleaved({name: fresh(s) for name, s in SNIPPETS.items()}, arguments.rounds, warmup=1)
    print(markdown_table(["fresh interpreter", "median s"], [[n, f"{t:.3f}"] for n, t in times.items()]))
    print(machine())


if __name__ == "__main__":
    main()
