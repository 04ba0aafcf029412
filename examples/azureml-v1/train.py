"""Trains the model of this example: ridge regression on scikit-learn's diabetes data."""

from pathlib import Path

import joblib
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

X, y = load_diabetes(return_X_y=True)
joblib.dump(Ridge(alpha=0.03).fit(X, y), Path(__file__).parent / "models" / "sklearn_regression_model.pkl")
