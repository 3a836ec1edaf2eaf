"""Typed access to a model's `config.json`: what is absent gets the model class's default, what is odd is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sld.core.errors import DataError, UsageError
from sld.core.toml import kind_of

CONFIG_FILE = "config.json"
_MOST = 2**40  # of any size in a configuration: a number beyond is a slip, and products of two stay readable
_MOST_LAYERS = 100_000  # layers are gone through one by one
_MOST_BYTES = 50_000_000  # of a configuration: the largest are a megabyte, labels of a classifier included


class Config:
    """The keys of one configuration."""

    def __init__(self, data: Mapping[str, Any], where: str) -> None:
        """Keep the keys that have a value; of the others only that they are there: null may mean none at all."""
        self.where = where
        self._null = frozenset(str(key) for key, value in data.items() if value is None)
        self.data = {str(key): value for key, value in data.items() if value is not None}

    @property
    def model_type(self) -> str:
        """The family's name, e.g. "llama"; empty when the configuration names none."""
        value = self.data.get("model_type", "")
        return value if isinstance(value, str) else ""

    @property
    def architecture(self) -> str:
        """The model class, e.g. "LlamaForCausalLM"; empty when the configuration names none."""
        listed = self.data.get("architectures")
        first = listed[0] if isinstance(listed, list | tuple) and listed else None
        return first if isinstance(first, str) else ""

    def has(self, name: str) -> bool:
        """Whether a key has a value."""
        return name in self.data

    def whole(self, *names: str, default: int | None = None, least: int = 1) -> int:
        """Return the whole number under the first of `names` that is there, or the default.

        Raises:
            DataError: None is there and there is no default, or it is no whole number of at least `least`.
        """
        for name in names:
            if name not in self.data:
                continue
            value = self.data[name]
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value < _MOST:
                raise self._wrong(name, f"a whole number of at least {least}")
            return value
        if default is None:
            kind = f"a {self.model_type} model" if self.model_type else "the model"
            raise DataError(f"{self.where}: {kind} needs {names[0]!r}, a whole number; the configuration has none")
        return default

    def optional(self, name: str, default: int | None = None) -> int | None:
        """Return a whole number, None for null, the default when absent."""
        if name in self.data:
            return self.whole(name)
        return None if name in self._null else default

    def layers(self, *names: str, default: int | None = None) -> int:
        """Return a number of layers."""
        found = self.whole(*names, default=default)
        if found > _MOST_LAYERS:
            raise DataError(f"{self.where}: {names[0]!r} is {found}, more layers than are counted ({_MOST_LAYERS})")
        return found

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false."""
        value = self.data.get(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def text(self, name: str, default: str) -> str:
        """Return a text."""
        value = self.data.get(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, "a text")
        return value

    def number(self, name: str, default: float) -> float:
        """Return a number above 0."""
        value = self.data.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _MOST:
            raise self._wrong(name, "a number above 0")
        return float(value)

    def texts(self, name: str, length: int) -> list[str] | None:
        """Return a list of one text per layer, or None when absent."""
        value = self.data.get(name)
        if value is None:
            return None
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise self._wrong(name, "a list of texts")
        if len(value) != length:
            raise DataError(f"{self.where}: {name!r} has {len(value)} entries, but there are {length} layers")
        return list(value)

    def wholes(self, name: str) -> list[int]:
        """Return a list of whole numbers of at least 0; empty when absent."""
        value = self.data.get(name, [])
        if not isinstance(value, list | tuple) or not all(
            isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in value
        ):
            raise self._wrong(name, "a list of whole numbers")
        return list(value)

    def part(self, name: str) -> Config:
        """Return a configuration inside this one, e.g. `text_config`."""
        value = self.data.get(name)
        if not isinstance(value, Mapping):
            raise self._wrong(name, "a configuration of its own")
        return Config(value, f"{self.where}: {name}")

    def refuse(self, name: str, why: str) -> None:
        """Refuse a switch that changes the model in a way that is not counted."""
        if self.data.get(name):
            raise DataError(f"{self.where}: {name!r} is on, and {why}, which is not counted")

    def shared_out(self, width: int, heads: int) -> int:
        """Return the size of one head where heads share the width; raises DataError when they cannot."""
        if width % heads:
            raise DataError(f"{self.where}: a width of {width} cannot be shared by {heads} attention heads")
        return width // heads

    def labels(self) -> int:
        """Return how many classes a classifier tells apart."""
        named = self.data.get("id2label")
        if isinstance(named, Mapping) and named:
            return len(named)
        return self.whole("num_labels", default=2)  # what the model classes take

    def _wrong(self, name: str, wanted: str) -> DataError:
        got = kind_of(self.data[name]) if name in self.data else "nothing"
        return DataError(f"{self.where}: {name!r} must be {wanted}, got {got}")


def read_config(config: object) -> Config:
    """Read a configuration: a file, a folder that holds `config.json`, JSON bytes, a mapping, or what has `to_dict`.

    Raises:
        UsageError: There is no such file.
        DataError: It is not JSON, or not a table of keys.
    """
    if isinstance(config, Config):
        return config
    if isinstance(config, bytes):
        return _config(_parsed(config, "standard input"), "standard input")
    if isinstance(config, str | Path):
        path = Path(config)
        try:
            path = path / CONFIG_FILE if path.is_dir() else path
            if path.stat().st_size > _MOST_BYTES:
                raise DataError(f"{path.name} has more than {_MOST_BYTES // 1_000_000} MB: that is no configuration")
            data = path.read_bytes()
        except FileNotFoundError:
            raise UsageError(
                f"no file {str(path)!r}; wanted a model's config.json, or the folder that holds it"
            ) from None
        except OSError as error:
            raise UsageError(f"could not read {path}: {error.strerror or error}") from None
        except ValueError as error:  # a path with a null byte
            raise UsageError(f"could not read {str(path)!r}: {error}") from None
        return _config(_parsed(data, path.name), path.name)
    as_dict = getattr(config, "to_dict", None)
    if not isinstance(config, Mapping) and callable(as_dict):
        config = as_dict()
    return _config(config, "the configuration")


def _parsed(data: bytes, where: str) -> object:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 text (byte {error.start}); wanted a model's config.json") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not valid JSON ({error}); wanted a model's config.json") from None


def _config(data: object, where: str) -> Config:
    if not isinstance(data, Mapping):
        raise DataError(f"{where}: wanted a table of keys, as config.json of a model has them, got {kind_of(data)}")
    return Config(data, where)
