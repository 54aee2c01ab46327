"""Explanations of a net."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest


def test_shap(same, data):
    shap = pytest.importorskip("shap")

    def explained(net):
        net.fit(data.X, data.two)
        made = shap.KernelExplainer(net.predict_proba, data.X[:10], seed=0)
        return made.shap_values(data.X[:4], silent=True)

    same(explained, "classifier", rtol=1e-5)


def test_lime(same, data):
    lime = pytest.importorskip("lime.lime_tabular")

    def explained(net):
        net.fit(data.X, data.two)
        made = lime.LimeTabularExplainer(data.X, random_state=0)
        found = made.explain_instance(data.X[0], net.predict_proba, num_samples=200)
        return [weight for _, weight in sorted(found.local_exp[1])]

    same(explained, "classifier")


def test_dice_ml(same, data):
    dice_ml = pytest.importorskip("dice_ml")
    frame = pd.DataFrame(data.X, columns=list("abcde")).assign(two=data.two)

    def counterfactuals(net):
        net.fit(data.X, data.two)
        of = dice_ml.Data(dataframe=frame, continuous_features=list("abcde"), outcome_name="two")
        made = dice_ml.Dice(of, dice_ml.Model(model=net, backend="sklearn"), method="random")
        asked = frame.drop(columns="two")[:2]
        found = made.generate_counterfactuals(asked, 2, random_seed=0, verbose=False)
        return np.vstack([one.final_cfs_df for one in found.cf_examples_list])

    same(counterfactuals, "classifier")


def test_dalex(same, data):
    dalex = pytest.importorskip("dalex")

    def importance(net):
        frame = pd.DataFrame(data.X, columns=list("abcde"))
        made = dalex.Explainer(net.fit(frame, data.y), frame, data.y, verbose=False)
        return made.model_parts(B=2, random_state=0).result["dropout_loss"]

    same(importance, "regressor")


def test_eli5(same, data):
    sklearn = pytest.importorskip("eli5.sklearn")

    def importance(net):
        made = sklearn.PermutationImportance(net.fit(data.X, data.y), n_iter=2, random_state=0)
        return made.fit(data.X, data.y).feature_importances_

    same(importance, "regressor")


def test_interpret(same, data):
    blackbox = pytest.importorskip("interpret.blackbox")

    def curve(net):
        made = blackbox.PartialDependence(net.fit(data.X, data.y), data.X)
        return made.explain_global().data(0)["scores"]

    same(curve, "regressor")
