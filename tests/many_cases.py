"""Many small cases in one test: as tests of their own they would take longer to hand out than to run.

for law in LAWS:
    with case(law.id):
        assert law.paper.title      # what fails here ends with the note: in the case 'chinchilla'

@each("text", ["1/x", "-x"])        # written as pytest.mark.parametrize is; the cases are one test
def test_it_is_read(text: str) -> None: ...
"""

import functools
import inspect
import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def case(name: object) -> Iterator[None]:
    """Name the case in whatever goes wrong in it."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"in the case {name!r}")
        raise


def each(names: str | Sequence[str], cases: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test with one case after another, and name the one that fails.

    Fixtures are made once for all cases, so the test leaves nothing behind, and skips no case.

    Args:
        names: The parameters that a case gives, separated by commas, or a sequence.
        cases: The values of the one parameter, or a tuple for each case.
    """
    given = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    listed = [tuple(values) if len(given) > 1 else (values,) for values in cases]
    assert not any(hasattr(value, "marks") for values in listed for value in values), "a case has no marks of its own"

    def decorated(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def every(**fixtures: Any) -> None:
            assert listed, "no case at all"
            for values in listed:
                of_case = dict(zip(given, values, strict=True))
                try:
                    test(**fixtures, **of_case)
                except BaseException as error:
                    told = ", ".join(f"{name}={reprlib.repr(value)}" for name, value in of_case.items())
                    error.add_note(f"in the case {told}")
                    raise

        signature = inspect.signature(test)
        kept = [parameter for name, parameter in signature.parameters.items() if name not in given]
        every.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]  # pytest asks for these
        return every

    return decorated
