"""The head of the wide model reads its hidden states as the head of SmolLM2 reads the narrow ones."""

from __future__ import annotations

import numpy as np
import widen_head

from etesian.decode.drafters.head.folder import read_head
from etesian.decode.drafters.head.recognition import HEADS


def test_the_wide_head_computes_the_same_states(tmp_path):
    widen_head.main([str(HEADS / "smollm2"), str(tmp_path), "--times", "2", "--layers", "50"])
    small, wide = read_head(HEADS / "smollm2"), read_head(tmp_path)
    assert wide.config.feature_layers == (10, 20, 50)
    first, second, last = np.random.default_rng(0).normal(size=(3, small.config.feature_width)).astype(np.float32)
    seen = np.concatenate([first, first, second, second, last / 2, last / 2])
    np.testing.assert_allclose(wide.fuse @ seen, small.fuse @ np.concatenate([first, second, last]), atol=2e-2)
    np.testing.assert_array_equal(wide.output, wide.embedding[wide.output_tokens])
