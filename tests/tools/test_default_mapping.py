"""The default pack's mapping network keeps the bar on animations that nobody trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tools.dataset.make_dataset import Settings, make_dataset
from tools.dataset.pair_dataset import PairDataset
from tools.evaluate.tables import load_mapping
from tools.train.mapping_training import predict
from x2c_edge.controls import INDEX

BAR = 0.02  # mean absolute error in paper units; issue 6


def test_new_animations_are_read_within_the_bar(tmp_path: Path):
    make_dataset(Settings(300, 128, 4711, "portrait", shard_pairs=50), tmp_path / "set", quiet=True)
    loaded = load_mapping(None, "default")
    assert loaded is not None
    trained, degrees = loaded
    errors, moved = [], []
    for side in ("train", "test"):  # nothing of this seed was trained on
        pairs = PairDataset(tmp_path / "set", side)
        found = predict(trained.net, trained.picture, pairs, degrees=degrees)
        errors.append(np.abs(found - pairs.controls))
        moved.append(pairs.controls)
    assert np.concatenate(errors).mean() < BAR
    assert np.concatenate(moved)[:, INDEX["Jaw Pitch"]].std() > 0.05  # and there is something to read
