"""``python -m benchmarks [name …] [--json FILE]``."""

import argparse
import json
import sys
from pathlib import Path

from benchmarks import few_labels, fit_overhead, game_steps, memory, nll, pca, pixel_sampling
from benchmarks.harness import HEADER

CLAIMS = {
    "few_labels": few_labels.results,
    "fit_overhead": fit_overhead.results,
    "game_passes": game_steps.results,
    "memory": memory.results,
    "nll": nll.results,
    "pca": pca.results,
    "pixel_sampling": pixel_sampling.results,
}
"""Each name's function, which yields Results."""


def main() -> int:
    """Run the claims named, or all; 0 if every promise holds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(CLAIMS)} (default: all)")
    parser.add_argument("--json", type=Path, help="write a list of objects with the printed columns as keys")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(CLAIMS))
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(CLAIMS)}")
    results = []
    print(HEADER, flush=True)
    for name in options.names or CLAIMS:
        for result in CLAIMS[name]():
            print(result.line(), flush=True)
            results.append(result)
    if options.json:
        rows = [{**result._asdict(), "ok": "ok" if result.ok else "short"} for result in results]
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
