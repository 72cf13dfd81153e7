"""Draft heads with random weights for a vocabulary of 24 tokens."""

from __future__ import annotations

import numpy as np

from etesian.decode.drafters.head.weights import HeadConfig, HeadWeights

VOCABULARY, WIDTH, FEATURES = 24, 32, 24
CONFIG = HeadConfig(
    width=WIDTH, n_heads=4, n_key_heads=2, head_width=8, inner_width=64, feature_width=FEATURES,
    vocabulary_size=VOCABULARY,
)  # fmt: skip
OUTPUTS = np.array([0, 1, 2, 3, 5, 8, 9, 11, 13, 17, 20, 23])
EMBEDDINGS = np.random.default_rng(9).normal(size=(VOCABULARY, WIDTH)).astype(np.float32)
EMBEDDINGS = (EMBEDDINGS.view(np.uint32) & 0xFFFF0000).view(np.float32)  # exact in bfloat16


def random_head(config=CONFIG, *, head_norms=False, seed=0):
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.normal(0, shape[-1] ** -0.5, shape).astype(np.float32)

    def norm(n):
        return rng.uniform(0.5, 1.5, n).astype(np.float32)

    attended, keys = config.n_heads * config.head_width, config.n_key_heads * config.head_width
    return HeadWeights(
        config=config,
        fuse=normal(config.width, config.n_features * config.feature_width),
        embedding_norm=norm(config.width),
        state_norm=norm(config.width),
        inner_norm=norm(config.width),
        final_norm=norm(config.width),
        queries=normal(attended, 2 * config.width),
        keys=normal(keys, 2 * config.width),
        values=normal(keys, 2 * config.width),
        attention_out=normal(config.width, attended),
        gate=normal(config.inner_width, config.width),
        up=normal(config.inner_width, config.width),
        down=normal(config.width, config.inner_width),
        output=normal(len(OUTPUTS), config.width),
        output_tokens=OUTPUTS,
        query_norm=norm(config.head_width) if head_norms else None,
        key_norm=norm(config.head_width) if head_norms else None,
    )
