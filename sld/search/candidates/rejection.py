"""Why a form has no score."""

from __future__ import annotations

from enum import StrEnum

OK = "ok"  # the status of a form that has a score


class Rejection(StrEnum):
    """The reasons, from the cheapest check to the dearest; the value is the status that people and run folders see."""

    NO_CONSTANTS = "no constants"
    OVER_THE_LIMIT = "more constants than the task allows"
    TOO_MANY_CONSTANTS = "more constants than the distinct points can judge"
    TWO_ROLES = "one constant in two roles with different units"
    NOT_COMPILED = "not compiled"  # what went wrong follows behind a colon
    NOT_FINITE_ON_DATA = "not finite on the data"
    BEHIND = "far behind the best"
    EXPLAINS_NOTHING = "explains nothing"
    TOO_LARGE = "constants beyond 1e30 or below 1e-30"
    CANCELS = "terms that cancel to more than three digits"
    EXPLODES = "an explosion just below the smallest sizes"
    NO_VALUE = "no value for some positive sizes"
    NOT_FINITE = "not finite for some sizes"
    SPIKE = "a spike between rungs"
    BELOW_FLOOR = "an irreducible loss below zero"
    NOT_FINITE_ON_FOLDS = "not finite on most folds"
    GROUPS_ALONE = "groups alone are better"  # of one way to share constants, never of a candidate
    NOT_POOLED = "the groups could not be pooled"  # likewise
