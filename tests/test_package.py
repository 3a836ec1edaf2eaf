"""What `import sld` gives."""

import subprocess
import sys
from pathlib import Path

import pytest
from pace import pace

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("before", ["import sld.fit.fitter", "from sld.fit import fitter", "import sld; sld.fit"])
def test_sld_fit_is_the_verb_whatever_was_imported_before(before: str) -> None:
    code = f"{before}\nimport sld, sld.fit.tape\nfrom sld import fit\nassert sld.fit is fit is sld.api.fit, sld.fit"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_a_cold_import_takes_a_quarter_of_a_second_at_most() -> None:
    """Processor time, so that a busy machine does not decide; the fastest of three, so that a cold disk does not."""
    code = "import time; a = time.process_time(); import sld; print(time.process_time() - a)"
    runs = (
        subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, capture_output=True, text=True)
        for _ in range(3)
    )
    assert min(float(run.stdout) for run in runs) <= 0.25 * pace()
