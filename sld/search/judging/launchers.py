"""A file that says which launcher of dask-jobqueue asks a queue of jobs for workers, and how.

The file is read and checked before anything starts. The launchers are those of a fixed table: a file can neither name
another class nor another module, and what it says about a job goes to the launcher as it stands.
"""

from __future__ import annotations

import inspect
import shlex
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from sld.core.errors import UsageError, suggest
from sld.core.toml import Keys, kind_of

SUFFIXES = (".yaml", ".yml", ".toml")  # of a file, where the address of a scheduler could stand as well
# name in the file to the module and the class of dask-jobqueue; local runs job scripts as processes of this machine
_LAUNCHERS = {
    "slurm": ("dask_jobqueue.slurm", "SLURMCluster"),
    "pbs": ("dask_jobqueue.pbs", "PBSCluster"),
    "sge": ("dask_jobqueue.sge", "SGECluster"),
    "lsf": ("dask_jobqueue.lsf", "LSFCluster"),
    "htcondor": ("dask_jobqueue.htcondor", "HTCondorCluster"),
    "oar": ("dask_jobqueue.oar", "OARCluster"),
    "moab": ("dask_jobqueue.moab", "MoabCluster"),
    "local": ("dask_jobqueue.local", "LocalCluster"),
}
_KEYS = ("cluster", "jobs", "wait_minutes", "options")
_WAIT_MINUTES = 60  # for the first worker: jobs stand in a queue, and Ctrl-C ends the wait
# what sld says itself, and what would import a name that the file gives
_NOT_FOR_A_FILE = ("asynchronous", "job_cls", "loop", "n_workers", "scheduler_cls", "worker_command")
_MESSAGE = 300  # characters of somebody else's message


@dataclass(frozen=True)
class Launch:
    """What a file says.

    Attributes:
        path: The file.
        cluster: Name of the launcher.
        jobs: How many jobs are submitted.
        wait_s: How long the first worker may take, in seconds.
        options: Keywords of the launcher.
        launcher: Its class.
    """

    path: Path
    cluster: str
    jobs: int
    wait_s: float
    options: Mapping[str, Any]
    launcher: Any

    @staticmethod
    def read(path: Path) -> Launch:
        """Read a file, and find the launcher that it names.

        Args:
            path: YAML or TOML with `cluster`, `jobs` (1 if not given), `wait_minutes` (60), and `options`.

        Raises:
            UsageError: There is no such file, it says something else, or what it asks for is not on this machine.
        """
        keys = Keys(_data(path), str(path), _KEYS)
        cluster = keys.choice("cluster", tuple(_LAUNCHERS))
        if cluster is None:
            raise keys.wrong("cluster", "the name of a launcher: " + ", ".join(_LAUNCHERS))
        jobs, wait_s = keys.whole("jobs", 1), 60.0 * keys.whole("wait_minutes", _WAIT_MINUTES)
        options = _one_thread_each(keys)
        module, name = _LAUNCHERS[cluster]
        try:
            launcher = getattr(import_module(module), name)
        except ModuleNotFoundError:
            raise UsageError(f"{path} needs the package dask-jobqueue; pip install 'sld[dask]'") from None
        known = _keywords(launcher)
        for option in options:
            if option in _NOT_FOR_A_FILE:
                raise UsageError(f"{path}: the option {option!r} cannot be set in a file")
            if option not in known:
                raise UsageError(f"{path}: {suggest(option, sorted(known), kind=f'option of {cluster}')}")
        _check_submits(launcher, path)
        return Launch(path, cluster, jobs, wait_s, options, launcher)

    @property
    def sentence(self) -> str:
        """What is asked for, for who waits."""
        jobs = "1 job" if self.jobs == 1 else f"{self.jobs} jobs"
        cores = self.options["cores"]
        workers = "1 worker" if cores == 1 else f"{cores} workers"
        each = " each" if self.jobs > 1 else ""
        return f"asking {self.cluster} for {jobs} of {workers}{each}; waiting up to {self._minutes} for the first"

    @property
    def too_late(self) -> str:
        """What is said when no worker came."""
        why = "is the queue full, or does a job end at once (what it printed is where the queue puts it)?"
        return f"{self.path}: {self.cluster} started no worker within {self._minutes}; its jobs are cancelled; {why}"

    @property
    def _minutes(self) -> str:
        n = round(self.wait_s / 60)
        return "1 minute" if n == 1 else f"{n} minutes"

    def start(self) -> Any:
        """Start the scheduler, and return it with what will submit jobs; none is yet.

        Raises:
            UsageError: The launcher refuses its options, or the scheduler does not start.
        """
        config = import_module("dask").config
        section = self.options.get("config_name", self.launcher.job_cls.config_name)
        # a port that is free: two searches may run on one machine
        scheduler = {"dashboard_address": ":0", **(config.get(f"jobqueue.{section}.scheduler-options", None) or {})}
        given = dict(self.options)
        given["scheduler_options"] = scheduler | given.get("scheduler_options", {})
        try:
            return self.launcher(**given)
        except (TypeError, ValueError, KeyError, AttributeError, ImportError, RuntimeError, OSError) as error:
            raise UsageError(f"{self.path}: {self.cluster} refuses the options: {_line(error)}") from None

    def submit(self, started: Any) -> None:
        """Submit the jobs.

        Raises:
            UsageError: The queue takes none of them, or not all.
        """

        async def there() -> None:
            await started

        # not by `scale`: it leaves a job that is refused to the loop, which prints it, and one waits for ever
        for _ in range(self.jobs):
            started.worker_spec.update(started.new_worker_spec())
        try:
            started.sync(there)
        except Exception as error:  # noqa: BLE001 - whatever a launcher raises while it submits; some raise Exception
            # what is not running fails a check of Dask's while it closes; the jobs are cancelled all the same
            failed = import_module("distributed.core").Status.failed
            for job in started.workers.values():
                job.status = failed
            raise UsageError(f"{self.path}: {self.cluster} takes no job: {_line(error)}") from None


def is_launch_file(address: str) -> bool:
    """Tell whether an address is the name of a file that starts a cluster."""
    return "://" not in address and Path(address).suffix.lower() in SUFFIXES


def _data(path: Path) -> Any:
    """Return what a file holds; an empty one holds no keys."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"--executor: no file {path}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"--executor: could not read {path}: {getattr(error, 'strerror', None) or error}") from None
    if path.suffix.lower() == ".toml":
        try:
            return tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise UsageError(f"{path} is not TOML: {_line(error)}") from None
    try:
        yaml = import_module("yaml")
    except ModuleNotFoundError:
        raise UsageError(f"{path} needs the package PyYAML; pip install 'sld[dask]', or write it as TOML") from None
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none
        raise UsageError(f"{path} is not YAML: {_line(error)}") from None
    return {} if found is None else found


def _one_thread_each(keys: Keys) -> dict[str, Any]:
    """Return the options, with a process for each core: sld fits with one thread per process."""
    options = dict(keys.table("options"))
    where = f"{keys.where}: options"
    for option in options:
        if not isinstance(option, str):
            raise UsageError(f"{where}: wanted names, got {kind_of(option)}")
    of_a_job = Keys(options, where, tuple(options))
    if "cores" not in options:
        raise of_a_job.wrong("cores", "how many cores a job has")
    cores = of_a_job.whole("cores", 1)
    if of_a_job.whole("processes", cores) != cores:
        raise of_a_job.wrong("processes", f"as many as cores, {cores}, or left out (sld fits one thread per process)")
    if "walltime" in options and not isinstance(options["walltime"], str):
        # YAML reads 12:00:00 as 43200, which SLURM takes for minutes
        raise of_a_job.wrong("walltime", 'text, in quotes: "02:00:00"')
    of_scheduler = of_a_job.table("scheduler_options")
    if any(str(name).startswith("preload") for name in of_scheduler):  # modules by name, and code
        raise UsageError(f"{where}: scheduler_options cannot preload anything from a file")
    return options | {"processes": cores}


def _keywords(launcher: Any) -> set[str]:
    """Return the keywords that a launcher and its jobs take."""
    classes = (*launcher.__mro__, *launcher.job_cls.__mro__)
    of_ours = [c for c in classes if c.__module__.split(".")[0] == "dask_jobqueue" and "__init__" in vars(c)]
    found = {name: p for c in of_ours for name, p in inspect.signature(c.__init__).parameters.items()}
    kept = {name for name, p in found.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return kept - {"self", "scheduler"}


def _check_submits(launcher: Any, path: Path) -> None:
    for command in (launcher.job_cls.submit_command, launcher.job_cls.cancel_command):
        if command is not None and shutil.which(program := shlex.split(command)[0]) is None:
            raise UsageError(f"{path}: {program} is not found on this machine; run sld where jobs are submitted")


def _line(error: BaseException) -> str:
    """Return a message in one line: of a command that failed, what it printed about it."""
    text = str(error)
    said = text.rpartition("stderr:")[2].strip() if "non-zero exit code" in text else ""
    return " ".join((said or text).split())[:_MESSAGE] or type(error).__name__
