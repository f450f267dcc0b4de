"""AutoGluon MultiModal: its few-shot classifier (embedding and SVM), or `fit` with a time limit.

    python benchmarks/peers/autogluon_predictor.py TRAIN TEST OUT.json few_shot|time_limit

`few_shot`: problem type "few_shot_classification", whose preset is a CLIP of 428 million parameters; `time_limit`: ten
minutes of its usual training. For both the network is set by hand, so that everyone has the same tensors; everything
else is AutoGluon's choice. The weights come from a local hub cache (weights.py).
"""

import sys
import tempfile

WAYS = {"few_shot": ("few_shot_classification", None), "time_limit": (None, 600)}

if __name__ == "__main__":
    kind, limit = WAYS[sys.argv[4]]
    scratch = tempfile.mkdtemp()
    # --- the user's lines
    from pathlib import Path

    import pandas as pd
    from autogluon.multimodal import MultiModalPredictor

    train, test = (
        pd.DataFrame([(str(p), p.parent.name) for p in sorted(Path(folder).glob("*/*"))], columns=["image", "label"])
        for folder in sys.argv[1:3]
    )
    network = {"model.names": ["timm_image"], "model.timm_image.checkpoint_name": "tf_efficientnet_lite0.in1k"}
    predictor = MultiModalPredictor(label="label", problem_type=kind, hyperparameters=network, path=scratch)
    predictor.fit(train, time_limit=limit)
    predicted = predictor.predict(test.drop(columns="label"))
    # --- end of the user's lines
    import answers

    answers.write(sys.argv[3], sys.argv[2], zip(test["image"], predicted, strict=True))
