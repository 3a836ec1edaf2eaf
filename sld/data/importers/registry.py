"""Which sources there are: a row a reader, in the order in which they are asked.

The first group knows its files surely, by folders and names of a tool. The second are files that a project may have for
other reasons too (a CSV, a log): they are looked at where the first found nothing, or where the file itself was named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sld.data.importers import (
    csv_logs,
    lightning,
    lm_eval,
    mlflow,
    optuna,
    tables,
    tensorboard,
    text_logs,
    trackio,
    trainer,
    wandb,
    wandb_api,
    wandb_export,
)
from sld.data.importers.attempt import Attempt, Folder, Unit


@dataclass(frozen=True)
class Reader:
    """A source.

    Attributes:
        name: As `--as` takes it.
        title: What it is, for people.
        claims: Returns what it knows of a folder.
        read: Returns the attempts in a unit; raises DataError.
        sure: Its files are nothing else.
        version: Raised when it reads the same files differently, so that nothing old is taken from a cache.
        listed: Returns what there is at an address, for a source that is no file; raises SldError.
        scheme: How such an address begins. Nothing else makes a reader leave this machine.
    """

    name: str
    title: str
    claims: Callable[[Folder], list[Unit]]
    read: Callable[[Unit], list[Attempt]]
    sure: bool = True
    version: int = 1
    listed: Callable[[str], list[Unit]] | None = None
    scheme: str = ""


READERS: tuple[Reader, ...] = (
    Reader(wandb.NAME, "W&B run folders (.wandb)", wandb.claims, wandb.read),
    Reader(
        wandb_api.NAME,
        "W&B over its API",
        wandb_api.claims,
        wandb_api.read,
        listed=wandb_api.listed,
        scheme=wandb_api.SCHEME,
    ),
    Reader(mlflow.NAME, "MLflow (mlruns/ or a database)", mlflow.claims, mlflow.read),
    Reader(trainer.NAME, "Hugging Face Trainer (trainer_state.json)", trainer.claims, trainer.read),
    Reader(lm_eval.NAME, "lm-evaluation-harness (results_*.json)", lm_eval.claims, lm_eval.read),
    Reader(lightning.NAME, "Lightning CSV logs", lightning.claims, lightning.read),
    Reader(tensorboard.NAME, "TensorBoard event files", tensorboard.claims, tensorboard.read),
    Reader(optuna.NAME, "Optuna (a database)", optuna.claims, optuna.read),
    Reader(trackio.NAME, "trackio (a database)", trackio.claims, trackio.read),
    Reader(
        wandb_export.NAME, "CSV exported from W&B (runs, charts)", wandb_export.claims, wandb_export.read, sure=False
    ),
    *(
        Reader(name, f"{title} logs (text)", partial(text_logs.claims_of, name), text_logs.read, sure=False)
        for name, title in (
            (text_logs.MEGATRON, "Megatron-LM"),
            (text_logs.NANOCHAT, "nanochat"),
            (text_logs.LITGPT, "litgpt"),
            (text_logs.OLMO, "OLMo"),
            (text_logs.NANOGPT, "nanoGPT"),
        )
    ),
    Reader(csv_logs.FASTAI, "fastai CSV logs", partial(csv_logs.claims_of, csv_logs.FASTAI), csv_logs.read, sure=False),
    Reader(csv_logs.KERAS, "Keras CSV logs", partial(csv_logs.claims_of, csv_logs.KERAS), csv_logs.read, sure=False),
    *(
        Reader(name, title, partial(tables.claims_of, name), tables.read, sure=False)
        for name, title in (
            (tables.JSONL, "JSON lines"),
            (tables.CSV, "CSV and TSV"),
            (tables.PARQUET, "Parquet"),
            (tables.JSON, "JSON"),
        )
    ),
)
BY_NAME = {reader.name: reader for reader in READERS}
