"""What is DenseNet's own: the names in torchvision's old files."""

from __future__ import annotations

import numpy as np
from nyala.vision.models import densenet


def test_names_in_old_files() -> None:
    config = {"architecture": "densenet121", "model_args": {"growth_rate": 4, "block_config": [1, 2]}}
    ours = {k: v.numpy() for k, v in densenet.build(config).state_dict().items()}
    old = {k.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): v for k, v in ours.items()}
    assert "features.denseblock2.denselayer1.norm.1.weight" in old and "features.transition1.norm.weight" in old
    keys = densenet.key_map(config, list(old))
    read = keys.to_ours(old)
    assert set(read) == set(ours) and all(np.array_equal(read[k], ours[k]) for k in ours)
    assert set(keys.to_published(read)) == set(ours)  # written as they are called today
