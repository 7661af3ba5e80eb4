"""The applications beside their manifests are equal, but for the differences that are meant."""

import pytest

from tests.applications.test_applications import FOLDER, NAMES
from tests.assembler.adopt.equality.compared import compared, explained, unexplained

# What an exception by force interrupts may leave a stream open, in older versions of Starlette.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

MEANT = {
    "accounts": {"control-characters", "error-answers"},
    "board": {"control-characters", "error-answers", "layer-exceptions", "mount-slash"},
    "bookings": {"control-characters", "error-answers", "layer-exceptions"},
    "notes": {"control-characters", "error-answers", "layer-exceptions"},
    "reports": {"control-characters", "error-answers", "manifest-jobs"},
    "storefront": {
        *("control-characters", "error-answers", "layer-exceptions"),
        *("mount-slash", "mounted-lifespans", "mounted-manifests"),
    },
}


@pytest.mark.parametrize("name", NAMES)
def test_an_application_is_equal_to_its_manifest(name: str) -> None:
    found = compared(FOLDER / name, lifespan=True, replay_writes=True)
    assert unexplained(found) == []
    assert explained(found) == MEANT[name]
    assert found.counts["requests"] > 50
