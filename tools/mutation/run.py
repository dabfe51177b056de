"""How many mutants do the fast tests notice? `python tools/mutation/run.py [MODULE ...]`; see CONTRIBUTING.md.

mutmut changes one expression at a time and runs the tests that modules.toml names for the module. The command prints a
row for each module and the survivors, and exits with 1 if less than 90 % of a module's mutants are noticed, or if one
survives that survivors.toml does not list. It goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest

from outcomes import RULES, Score, faults, read_accepted, report, stale, table
from workplace import NOT_MUTATED, ROOT, Workplace

HERE = Path(__file__).resolve().parent


def modules(wanted: list[str]) -> dict[str, tuple[str, ...]]:
    """The modules of modules.toml with their tests: all, or those of which a path or its beginning is given."""
    known = tomllib.loads((HERE / "modules.toml").read_text(encoding="utf-8"))
    found = {name: tuple(entry["tests"]) for name, entry in known.items()}
    if not wanted:
        return found
    absent = [one for one in wanted if not any(name.startswith(one) for name in found)]
    if absent:
        raise SystemExit(f"{', '.join(absent)}: not in {HERE / 'modules.toml'}")
    return {name: tests for name, tests in found.items() if name.startswith(tuple(wanted))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="paths or their beginnings; default: all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants tried at a time")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "mutation", help="folder of the work and results")
    parser.add_argument("--keep-killed", action="store_true", help="after a change, repeat the survivors only")
    options = parser.parse_args()

    accepted = read_accepted(HERE / "survivors.toml")
    work = options.work.resolve()
    scores, wrong = [], []
    for module, tests in modules(options.modules).items():
        place = Workplace(module=module, tests=tests, work=work / "modules", jobs=options.jobs)
        try:
            scores.append(Score(module, place.run(keep_killed=options.keep_killed)))
        except RuntimeError as error:
            print(error, flush=True)
            wrong.append(str(error))
            continue
        text = report(scores[-1], accepted)
        print(text + table(scores[-1:]).splitlines()[-1], flush=True)
        (work / f"{place.folder.name}.survivors.txt").write_text(text, encoding="utf-8")
        (work / "scores.md").write_text(table(scores) + "\n", encoding="utf-8")

    print(f"\n{table(scores)}\n\nNot mutated: docstrings, annotations, lines that match {', '.join(NOT_MUTATED)}.")
    print("Not counted where they survive:", *RULES, sep="\n- ")
    print("", *stale(scores, accepted), sep="\n")
    wrong += [line for score in scores for line in faults(score, accepted)]
    if wrong:
        print(*wrong, sep="\n")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
