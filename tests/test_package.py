"""What `import sld` gives."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("before", ["import sld.fit.fitter", "from sld.fit import fitter", "import sld; sld.fit"])
def test_sld_fit_is_the_verb_whatever_was_imported_before(before: str) -> None:
    code = f"{before}\nimport sld, sld.fit.tape\nfrom sld import fit\nassert sld.fit is fit is sld.api.fit, sld.fit"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
