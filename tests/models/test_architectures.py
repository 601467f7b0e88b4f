"""The three networks are the published ones, to the parameter."""

import copy

import pytest
import timm
import torch

from pcos_utils.models import architectures
from studies import plain_training


@pytest.mark.parametrize(
    ("name", "total", "trainable"),
    [("densenet201", 18_088_577, 1_921), ("densenet121d", 6_973_537, 6_973_537), ("iustnet", 197_191, 197_191)],
)
def test_parameter_counts(name, total, trainable):
    assert architectures.count_parameters(architectures.build(name)) == (total, trainable)


def test_densenet121d_is_timms():
    ours = architectures.densenet121d().eval()
    theirs = timm.create_model("densenet121", stem_type="deep", in_chans=1, num_classes=1).eval()
    assert len(ours.state_dict()) == 739
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(2, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


def test_iustnet_says_that_its_head_changed_and_refuses_another_size():
    network = architectures.IustNet(96)
    assert "96 x 96" in network.note and not architectures.IustNet().note
    with pytest.raises(ValueError, match="96 x 96"):
        network(torch.zeros(1, 3, 64, 64))


def test_grey_comes_after_normalising():
    images = torch.tensor([[[[255, 0, 0]]]], dtype=torch.uint8)
    expected = 0.299 * (1 - 0.485) / 0.229 + 0.587 * (0 - 0.456) / 0.224 + 0.114 * (0 - 0.406) / 0.225
    assert architectures.prepare("densenet121d", images).item() == pytest.approx(expected, abs=1e-6)
    assert architectures.prepare("iustnet", images).flatten().tolist() == [1, 0, 0]


def answers(network: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Return the logits and the gradient of every parameter."""
    logits = network.train()(x)
    logits.square().sum().backward()
    return [logits.detach(), *(parameter.grad for parameter in network.parameters())]


def test_iustnets_order_of_pooling_changes_no_bit():
    torch.manual_seed(0)
    ours = architectures.IustNet(32)
    as_published = plain_training.as_published(copy.deepcopy(ours))
    assert [type(part).__name__ for part in as_published.block_2][-2:] == ["ReLU", "MaxPool2d"]
    x = torch.rand(4, 3, 32, 32)
    assert all(map(torch.equal, answers(ours, x), answers(as_published, x)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["densenet201", "densenet121d"])
def test_the_densenets_order_of_pooling_changes_rounding_alone(name):
    torch.manual_seed(0)
    ours = architectures.build(name, 64).double().requires_grad_(True)
    as_published = plain_training.as_published(copy.deepcopy(ours))
    for network, steps in ((ours, ["norm", "relu", "pool", "conv"]), (as_published, ["norm", "relu", "conv", "pool"])):
        assert all(list(dict(getattr(network.features, f"transition{n}").named_children())) == steps for n in (1, 2, 3))
    assert list(as_published.state_dict()) == list(ours.state_dict())
    x = torch.rand(3, 1, 64, 64).double()
    for first, second in zip(answers(ours, x), answers(as_published, x), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-11)
