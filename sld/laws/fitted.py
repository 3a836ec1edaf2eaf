"""What the parts of a law's uncertainty need to know of it; `law.Law` has all of this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from sld.data.card import Target, Variable
from sld.formula.expression import Expression
from sld.laws.ensemble import Ensemble


class Fitted(Protocol):
    """Formulas with constants, and what their intervals are made from."""

    @property
    def expressions(self) -> Mapping[str, Expression]:
        """Target column to formula."""

    @property
    def constants(self) -> Mapping[str, Mapping[str, Mapping[str, float]]]:
        """Target column to group to constant to value."""

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The inputs."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """The outputs."""

    @property
    def group_column(self) -> str | None:
        """Column that holds the groups' names."""

    @property
    def ensembles(self) -> Mapping[str, Ensemble]:
        """Target column to what predicts it beside its formula."""

    @property
    def intervals(self) -> Mapping[str, Any] | None:
        """What intervals are made from."""
