"""Trains the two models of this example, both on scikit-learn's diabetes data."""

from pathlib import Path

import joblib
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso, Ridge

X, y = load_diabetes(return_X_y=True)
for name, model in {"ridge": Ridge(alpha=0.1), "lasso": Lasso(alpha=0.1)}.items():
    folder = Path(__file__).parent / "models" / name
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(model.fit(X, y), folder / "model.pkl")
    (folder / "about.json").write_text(f'{{"name": "{name}", "alpha": {model.alpha}}}\n')
