"""Keras 3's guide "Image classification via fine-tuning with EfficientNet": seconds per epoch of its first step.

    python benchmarks/peers/keras_guide.py TRAIN TEST OUT.json

Keras' own weights are downloaded at run time and cannot be had on a machine without them, and its EfficientNetB0 has
other layers than EfficientNet-Lite0 (about the same operations). So the weights are random, no accuracy is told, and
two of the guide's 25 epochs are timed: frozen network, new top, batches of 64. In favour of Keras: without the guide's
augmentation, and pictures are resized once, by Pillow. The backend is torch, the one that is shared.
"""

import os
import sys
import time

EPOCHS = 25  # of the guide

if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = "torch"
    # --- the user's lines
    from pathlib import Path

    import keras
    import numpy as np
    from keras import layers
    from PIL import Image

    def load(folder):
        files = sorted(Path(folder).glob("*/*"))
        names = sorted({p.parent.name for p in files})
        pictures = np.stack([Image.open(p).convert("RGB").resize((224, 224)) for p in files])
        return pictures, keras.utils.to_categorical([names.index(p.parent.name) for p in files]), names

    pictures, labels, names = load(sys.argv[1])
    base = keras.applications.EfficientNetB0(include_top=False, input_shape=(224, 224, 3), weights=None)
    base.trainable = False
    x = layers.GlobalAveragePooling2D()(base.output)
    x = layers.Dropout(0.2)(layers.BatchNormalization()(x))
    outputs = layers.Dense(len(names), activation="softmax")(x)
    model = keras.Model(base.input, outputs)
    model.compile(keras.optimizers.Adam(1e-2), "categorical_crossentropy", metrics=["accuracy"])
    # --- (not counted) one epoch after the other, to time them
    seconds = []
    for _ in range(2):
        start = time.monotonic()
        # --- the user's lines go on
        model.fit(pictures, labels, batch_size=64)
        # --- end of the user's lines
        seconds.append(time.monotonic() - start)
    import answers

    answers.write(sys.argv[3], sys.argv[2], [], epoch_seconds=seconds, epochs=EPOCHS)
