"""The folder in which mutmut works on one module: the package under its import name, and the tests."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.utils.file_utils import change_cwd
from outcomes import Mutant, changed_lines, function_of, verdict

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ROOMS = ("harness", "results", "selectors", "tasks")
PACKAGE = "ltrp_bench"
NOT_MUTATED = (r"^\s*raise\b", r"\bwarnings\.warn\(", r"\blog\.\w+\(")
"""Lines whose expressions mutmut leaves alone: what messages and log lines say."""
TIMEOUT = {"timeout_multiplier": 10.0, "timeout_constant": 1.0}
"""A mutant may take ten times (the tests' time + 1 s)."""

PYTEST = (
    *("-p", "forked_tests", "--hypothesis-profile=mutation"),
    *("-p", "no:cacheprovider"),
    # They collect garbage several times at the end, which takes longer than most tests.
    *("-p", "no:unraisableexception", "-p", "no:threadexception"),
)


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """A module's own folder below `work`; it is used again as long as sources and tests stay the same."""

    module: str
    """Path of the module in the repository, "selectors/topk.py"."""
    tests: tuple[str, ...]
    """Arguments of pytest."""
    work: Path
    jobs: int = 1
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def folder(self) -> Path:
        return self.work / self.module.removesuffix(".py").replace("/", ".")

    @property
    def _source(self) -> str:
        """Path of the module as mutmut sees it."""
        return f"{PACKAGE}/{self.module}"

    def run(self, *, keep_killed: bool = False) -> list[Mutant]:
        """All mutants of the module with their fate.

        Args:
            keep_killed: after a change of sources or tests, do not repeat the mutants that were killed before.

        Raises:
            RuntimeError: mutmut failed, for instance because the tests fail without a mutation.
        """
        inputs = self._inputs()
        known = self.folder / "inputs"
        mutants = None
        if known.is_file() and known.read_text() == inputs:
            mutants = self._mutants()
        else:
            if not keep_killed:
                shutil.rmtree(self.folder, ignore_errors=True)
            self._prepare()
            self._forget_survivors()
            known.write_text(inputs)
        if mutants is None:
            self._mutmut()
            mutants = self._mutants()
        if mutants is None:
            raise RuntimeError(f"{self.module}: mutmut did not finish; see {self.folder / 'mutmut.log'}")
        return mutants

    def _inputs(self) -> str:
        """Hash of everything that decides the fate of a mutant."""
        files = [file for room in ROOMS for file in (ROOT / room).rglob("*.py")]
        files += [ROOT / "tests" / "conftest.py", *(ROOT / "tests" / "helpers").glob("*.py")]
        for argument in self.tests:
            path = ROOT / argument.partition("::")[0]
            if not argument.startswith("-"):
                files += [path] if path.is_file() else list(path.rglob("*.py"))
        digest = hashlib.sha256(repr((self.tests, NOT_MUTATED, TIMEOUT, PYTEST, version("mutmut"))).encode())
        for file in sorted(files):
            digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
        return digest.hexdigest()

    def _prepare(self) -> None:
        """Lay out the package as mutmut needs it: every file a link but the module itself, which mutmut rewrites."""
        original = self.folder / self._source
        original.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / self.module, original)
        mutated = self.folder / "mutants" / self._source
        kept = {file.name: file.read_bytes() for file in mutated.parent.glob(f"{mutated.name}.meta")}
        shutil.rmtree(self.folder / "mutants", ignore_errors=True)
        for room in ROOMS:
            for file in (ROOT / room).rglob("*"):
                if file.is_file() and file.suffix != ".pyc" and file != ROOT / self.module:
                    link = self.folder / "mutants" / PACKAGE / file.relative_to(ROOT)
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(file)
        for name in ("docs", "tests", "tools"):
            (self.folder / "mutants" / name).symlink_to(ROOT / name)
        for name, data in kept.items():
            (mutated.parent / name).write_bytes(data)
        (self.folder / "pyproject.toml").write_text(
            (ROOT / "pyproject.toml").read_text(encoding="utf-8") + self._settings(), encoding="utf-8"
        )

    def _settings(self) -> str:
        """The section of pyproject.toml that mutmut reads."""
        settings = {
            "source_paths": [self._source],
            "do_not_mutate_patterns": list(NOT_MUTATED),
            "pytest_add_cli_args": list(PYTEST),
            "pytest_add_cli_args_test_selection": list(self.tests),
            "process_isolation": "forkserver",
            "use_git_change_detection": False,
            "use_setproctitle": False,
            **TIMEOUT,
        }
        return "\n[tool.mutmut]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())

    def _results(self) -> SourceFileMutationData:
        """mutmut's exit codes; call it in the module's folder."""
        data = SourceFileMutationData(path=self._source)
        data.load()
        return data

    def _forget_survivors(self) -> None:
        with change_cwd(self.folder):
            data = self._results()
            for name, code in data.exit_code_by_key.items():
                if verdict(code) in ("survived", "no tests"):
                    data.exit_code_by_key[name] = None
            if data.exit_code_by_key:
                data.save()

    def _mutants(self) -> list[Mutant] | None:
        """The mutants with their fate; None while some of them have none."""
        with change_cwd(self.folder):
            codes = self._results().exit_code_by_key
            fates = {name: verdict(code) for name, code in codes.items()}
            if not fates or None in fates.values():
                return None
            return [
                Mutant(
                    function=function_of(name),
                    change=changed_lines(get_diff_for_mutant(name, path=self._source)),
                    verdict=fate,
                )
                for name, fate in fates.items()
                if fate is not None
            ]

    def _mutmut(self) -> None:
        paths = [str(self.folder / "mutants"), str(HERE), self.environment.get("PYTHONPATH", "")]
        settings = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
        command = [
            sys.executable,
            "-c",
            "from mutmut.__main__ import cli; cli()",
            "run",
            "--max-children",
            f"{self.jobs}",
        ]
        with (self.folder / "mutmut.log").open("w") as log:
            done = subprocess.run(
                command, cwd=self.folder, env={**self.environment, **settings}, stdout=log, stderr=subprocess.STDOUT
            )
        if done.returncode:
            raise RuntimeError(f"{self.module}: mutmut failed; see {self.folder / 'mutmut.log'}")
