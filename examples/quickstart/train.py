"""Trains the model of this example: ridge regression on scikit-learn's diabetes data (442 patients, 10 numbers each).

Run it again with another alpha to make a new version: `python train.py 0.5`.
"""

import sys
from pathlib import Path

import joblib
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

alpha = float(sys.argv[1]) if len(sys.argv) > 1 else 0.03
X, y = load_diabetes(return_X_y=True)
joblib.dump(Ridge(alpha=alpha).fit(X, y), Path(__file__).parent / "models" / "diabetes-ridge.pkl")
