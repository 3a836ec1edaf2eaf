"""Files that start a cluster: what they say is checked before anything starts, and one line says what is wrong."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from cli_runs import COLUMNS, one_line, write_runs
from commands import Run
from many_cases import case

from sld.core.errors import UsageError
from sld.search.judging.launchers import Launch, is_launch_file

GOOD = 'cluster: slurm\njobs: 4\noptions:\n  cores: 32\n  memory: 64GB\n  walltime: "02:00:00"\n'
LOCAL = "cluster: local\noptions: {cores: 2, memory: 2GB}\n"
without_yaml = pytest.mark.skipif(find_spec("yaml") is None, reason="no YAML is read (pip install 'sld[dask]')")
without_jobs = pytest.mark.skipif(
    find_spec("dask_jobqueue") is None, reason="no queue of jobs (pip install dask-jobqueue)"
)


def refused(path: Path, text: str | bytes | None) -> str:
    """Return what is said of a file with this text."""
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError) as caught:
        Launch.read(path)
    said = str(caught.value)
    assert path.name in said and "\n" not in said and len(said) < 500, said
    return said


@without_yaml
def test_files_that_say_something_else_are_refused_with_the_way_out(tmp_path: Path) -> None:
    cases: dict[str, tuple[str | bytes, str]] = {
        "nothing": ("", "the name of a launcher: slurm, pbs"),
        "no mapping": ("- slurm\n", "wanted a table of keys, got a list"),
        "no YAML": ("cluster: [slurm\n", "is not YAML"),
        "a tag": ("cluster: !!python/name:os.system\n", "is not YAML"),
        "a date that is none": ("cluster: 2020-13-45\n", "is not YAML"),
        "too deep": ("[" * 1000, "is not YAML"),
        "no text": (b"\xff\xfe\x00", "could not read"),
        "a key": (GOOD.replace("jobs", "job"), "no key 'job'; did you mean 'jobs'?"),
        "a launcher": (GOOD.replace("slurm", "slrum"), "did you mean 'slurm'?"),
        "a class": (GOOD.replace("slurm", "os.system"), "'slurm' or 'pbs'"),
        "jobs": (GOOD.replace("jobs: 4", "jobs: none"), "'jobs' must be a whole number of at least 1"),
        "no options": ("cluster: slurm\n", "'cores' must be how many cores a job has, got nothing"),
        "a name": (GOOD + "  7: 8\n", "options: wanted names, got 7"),
        "threads": (GOOD + "  processes: 8\n", "as many as cores, 32, or left out (sld fits one thread per process)"),
        "base 60": (GOOD.replace('"02:00:00"', "12:00:00"), "'walltime' must be text, in quotes"),
        "code": (GOOD + "  scheduler_options: {preload: [x.py]}\n", "cannot preload"),
    }
    for name, (text, said) in cases.items():
        with case(name):
            assert said in refused(tmp_path / "dask.yaml", text)
    assert refused(tmp_path / "absent.yaml", None) == f"--executor: no file {tmp_path / 'absent.yaml'}"
    (tmp_path / "folder.yaml").mkdir()
    assert "could not read" in refused(tmp_path / "folder.yaml", None)
    assert "is not TOML" in refused(tmp_path / "dask.toml", GOOD)


def test_an_absent_package_is_named_with_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    monkeypatch.setitem(sys.modules, "dask_jobqueue.slurm", None)
    text = 'cluster = "slurm"\n[options]\ncores = 2\n'
    assert "dask-jobqueue; pip install 'sld[dask]'" in refused(tmp_path / "dask.toml", text)
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert "PyYAML; pip install 'sld[dask]', or write it as TOML" in refused(tmp_path / "dask.yaml", GOOD)


@without_yaml
@without_jobs
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of Dask's own doing
def test_options_are_those_of_the_launcher_less_what_would_import_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    file = tmp_path / "dask.yaml"
    assert "sbatch is not found on this machine" in refused(file, GOOD)
    assert "no option of slurm 'queues'; did you mean 'queue'?" in refused(file, GOOD + "  queues: cpu\n")
    for option in ("scheduler_cls", "job_cls", "worker_command"):
        assert "cannot be set in a file" in refused(file, GOOD + f"  {option}: os.system\n")
    file.write_text(LOCAL, encoding="utf-8")
    read = Launch.read(file)
    assert (read.jobs, read.wait_s) == (1, 3600.0)
    assert read.options == {"cores": 2, "processes": 2, "memory": "2GB"}
    assert read.sentence == "asking local for 1 job of 2 workers; waiting up to 60 minutes for the first"
    (tmp_path / "dask.toml").write_text('cluster = "local"\n[options]\ncores = 2\nmemory = "2GB"\n', encoding="utf-8")
    assert Launch.read(tmp_path / "dask.toml").options == read.options
    # the launcher's own word
    file.write_text("cluster: local\noptions: {cores: 2}\n", encoding="utf-8")
    with pytest.raises(UsageError, match="local refuses the options: You must specify how much cores and memory"):
        Launch.read(file).start()


def test_commands_take_the_name_of_a_file_for_an_address(sld: Run, tmp_path: Path) -> None:
    assert all(is_launch_file(name) for name in ("a.yaml", "b/c.YML", "d.toml"))
    assert not any(is_launch_file(name) for name in ("dask", "dask://h:1", "dask://x.yaml", "x"))
    pytest.importorskip("distributed", reason="Dask is not installed (pip install 'sld[dask]')")
    runs = write_runs(tmp_path / "runs.csv")
    for words in (("discover", runs, *COLUMNS), ("discover", runs, runs, *COLUMNS), ("bench", "bundled")):
        with case(words[0]):
            one_line(sld(*words, "--executor", "absent.yaml"), "--executor: no file absent.yaml")
