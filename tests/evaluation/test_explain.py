"""Each map finds what a network was built to look at, and names the class it explains."""

import numpy as np
import pandas as pd
import pytest
import torch

from pcos_utils.data import splits
from pcos_utils.evaluation import explain
from pcos_utils.models import architectures, features, sweep

METHODS = list(explain.METHODS)


def bright_corner_network(sign: float = 1) -> architectures.IustNet:
    """An IustNet whose logit is the brightness of the upper fourth of the picture, or the lack of it."""
    network = architectures.IustNet(32)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for block in (network.block_1, network.block_2):
            for layer in (block[0], block[2]):
                layer.weight[0, 0, 1, 1] = 1
        network.classifier[1].weight[0, :64] = sign
    return network


def corner(inside: int, outside: int) -> np.ndarray:
    """One picture whose upper left corner has another grey level."""
    pixels = np.full((1, 32, 32, 3), outside, np.uint8)
    pixels[:, :8, :8] = inside
    return pixels


def test_grad_cam_lies_on_the_bright_corner_and_only_for_the_class_it_speaks_for():
    pixels = np.repeat(corner(255, 0), 2, axis=0)
    maps = explain.saliency("grad_cam", "iustnet", bright_corner_network(), pixels, np.array([1, 0]))
    assert maps[0][:8, :8].mean() > 0.8 and maps[0][16:, 16:].max() == 0
    assert maps[1].max() == 0  # brightness speaks against "normal", so nothing is marked


@pytest.mark.parametrize("method", METHODS[1:])
def test_what_a_network_counts_as_evidence_is_marked_even_where_it_is_black(method):
    # A black corner on grey that speaks for polycystic, as a follicle does: seen from a black picture it is nothing.
    maps = explain.saliency(method, "iustnet", bright_corner_network(-1), corner(0, 200), np.array([1]))[0]
    assert maps[:12, :12].sum() / maps.sum() > 0.8 and maps.max() == 1
    speaks = explain.saliency(method, "iustnet", bright_corner_network(), corner(255, 0), np.array([1]))[0]
    assert speaks[:12, :12].sum() / speaks.sum() > 0.8


def test_integrated_gradients_add_up_to_what_the_blur_takes_away():
    network, pixels = bright_corner_network(), corner(255, 0)
    x, without = (
        architectures.prepare("iustnet", torch.from_numpy(part)) for part in (pixels, explain.blurred(pixels))
    )
    logit = lambda x, sign: network(x).squeeze(1) * sign  # noqa: E731
    parts = explain.METHODS["integrated_gradients"](logit, network.block_2, x, without, torch.ones(1))
    with torch.no_grad():
        assert parts.sum().item() == pytest.approx((network(x) - network(without)).item(), rel=0.02)  # of 8 steps


@pytest.mark.parametrize("method", METHODS)
def test_maps_do_not_depend_on_the_company_of_an_image(method):
    torch.manual_seed(0)
    network = architectures.IustNet(32)
    pixels = np.random.default_rng(0).integers(0, 255, (explain.BATCH + 1, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(len(pixels)) % 2
    together = explain.saliency(method, "iustnet", network, pixels, labels)
    for row in (0, len(pixels) - 1):
        alone = explain.saliency(method, "iustnet", network, pixels[[row]], labels[[row]])
        np.testing.assert_allclose(together[row], alone[0], atol=1e-4)


def test_densenets_are_explained_although_their_features_are_frozen():
    pixels = np.random.default_rng(0).integers(0, 255, (1, 96, 96, 3), dtype=np.uint8)
    for label in (0, 1):
        maps = explain.saliency("grad_cam", "densenet201", architectures.densenet201(), pixels, np.array([label]))
        assert maps.shape == (1, 96, 96) and maps.min() >= 0 and maps.max() <= 1


def test_an_untrained_network_has_the_seeds_weights_and_these_pictures_statistics():
    pixels = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), dtype=np.uint8)
    first, same, other = (explain.untrained("densenet121d", pixels, seed) for seed in (0, 0, 1))
    weight = [network.features.conv0.weight for network in (first, same, other)]
    assert torch.equal(weight[0], weight[1]) and not torch.equal(weight[0], weight[2])
    norm = first.features.norm0
    assert not torch.allclose(norm.running_var, torch.ones_like(norm.running_var)) and not first.training


def test_dealt_labels_keep_sources_whole_and_classes_as_large():
    rows = pd.DataFrame({"source": np.repeat([f"s{i:02d}" for i in range(40)], 2), "label": np.repeat([0, 1], 40)})
    dealt = explain.deal(rows, 0)
    assert dealt.groupby("source").label.nunique().eq(1).all() and dealt.label.sum() == rows.label.sum()
    changed = (dealt.label != rows.label).mean()
    assert 0.2 < changed < 0.8 and explain.deal(rows, 0).equals(dealt) and not explain.deal(rows, 1).equals(dealt)


def test_a_network_on_dealt_labels_is_another_and_never_sees_a_test_source(small, monkeypatch):
    study, table, place = small
    monkeypatch.setenv("PCOS_HOME", str(place))
    sweep.run("iustnet", study)
    roles = splits.roles(table, "grouped", 0, 0, study.seed)
    network = explain.on_dealt_labels("iustnet", study, roles)
    folder = study.run_dir("iustnet", next(sweep.plan("iustnet", study).query("protocol == 'grouped'").itertuples()))
    pixels = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    maps = [
        explain.saliency("grad_cam", "iustnet", one, pixels, np.ones(2))
        for one in (network, features.trained("iustnet", study, folder))
    ]
    assert maps[0].shape == maps[1].shape and not np.allclose(*maps)
    gone = roles.assign(path=roles.path.where(roles.role != "test", "nowhere.png"))
    again = explain.on_dealt_labels("iustnet", study, gone)
    assert torch.equal(again.classifier[1].weight, network.classifier[1].weight)


def test_outcomes_are_named_rightly_and_one_image_a_source():
    table = pd.DataFrame(
        {
            "image": list("abcde"),
            "source": list("abcdd"),
            "label": [1, 1, 0, 0, 0],
            "role": "test",
            "logit": [2.0, -1, 1, -3, -4],
        }
    )
    table["probability"] = 1 / (1 + np.exp(-table.logit))
    named = explain.outcomes(table).set_index("image").outcome.to_dict()
    assert named == {"a": "true positive", "b": "false negative", "c": "false positive", "d": "true negative"}
