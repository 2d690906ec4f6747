"""The processes of the pydensecrf backend."""

import os

import pytest

from seedbed.crf.dense import refine_many
from seedbed.crf.densecrf import _pool
from seedbed.errors import UserError
from seedbed.params import CrfParams


class Fatal:
    """Ends the process that receives it, as the kernel ends one that takes too much memory."""

    def __reduce__(self):
        return os._exit, (9,)


def test_a_killed_process_is_a_clear_error_and_the_next_call_works(image, labels):
    with pytest.raises(UserError, match="one of 2 CRF processes was killed"):
        list(refine_many([(Fatal(), labels, [0, 7])], CrfParams(), 2, "pydensecrf"))
    assert len(list(refine_many([(image, labels, [0, 7])] * 3, CrfParams(), 2, "pydensecrf"))) == 3


def test_a_process_is_one_thread():
    assert _pool(2).submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
    assert _pool(2).submit(os.getenv, "OPENBLAS_NUM_THREADS").result() == "1"
