"""How the solar cells are divided: 75/25, stratified by defect probability and cell type together."""

import numpy as np
from sklearn.model_selection import train_test_split


def read_rows(text):
    """`labels.csv` of the package: one (file, probability, cell type) a line, in the order of the modules."""
    return [tuple(line.split()) for line in text.splitlines() if line.strip()]


def class_name(row):
    """The two classes of this set: a cell counts as defective when its defect probability is above one half."""
    return "defective" if float(row[1]) > 0.5 else "functional"


def train_and_test(rows, seed=0):
    """Indices of the training and of the test rows. Seed 0 is the set that make_elpv.py writes."""
    strata = [f"{float(row[1]):.2f}{row[2]}" for row in rows]
    return train_test_split(np.arange(len(rows)), test_size=0.25, stratify=strata, random_state=seed)
