"""What all tests share: failing assertions of the rig say what they compared."""

import pytest

pytest.register_assert_rewrite("tests.rig")
