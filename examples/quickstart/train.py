"""Trains the model of this example: ridge regression on scikit-learn's diabetes data (442 patients, 10 numbers each).

Run it again with another penalty to make a new version; `next/` holds one made with 0.3:
`python train.py 0.3 next/diabetes-ridge.pkl`.
"""

import sys
from pathlib import Path

import joblib
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

alpha = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
path = Path(__file__).parent / (sys.argv[2] if len(sys.argv) > 2 else "models/diabetes-ridge.pkl")
X, y = load_diabetes(return_X_y=True)
joblib.dump(Ridge(alpha=alpha).fit(X, y), path)
