from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from throughput.errors import UnknownNameError
from throughput.models.small import SmallModels


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [32, 75, 224])
@pytest.mark.parametrize("num_classes", [2, 16])
def test_logits_for_any_size_and_channels(channels: int, size: int, num_classes: int) -> None:
    model = SmallModels().build("cnn_small", num_classes, channels).to(memory_format=torch.channels_last)
    images = torch.randn(2, channels, size, size).contiguous(memory_format=torch.channels_last)
    logits = model(images)
    assert logits.shape == (2, num_classes)
    assert logits.dtype == torch.float32


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small convolutions are slower on several threads of a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_it_learns_to_tell_bands_apart_in_a_few_steps() -> None:
    torch.manual_seed(0)
    model = SmallModels().build("cnn_small", 2, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        wave = torch.sin(torch.arange(64) * 0.6 + 6 * torch.rand(32, 1))[:, None, None, :].expand(
            32, 1, 64, 64
        )
        labels = torch.randint(0, 2, (32,))
        turned = torch.where(labels[:, None, None, None] == 0, wave, wave.transpose(2, 3))
        return turned + 0.5 * torch.randn(32, 1, 64, 64), labels

    for _ in range(20):
        images, labels = batch()
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(model(images), labels))
        optimizer.step()
    images, labels = batch()
    model.eval()
    # In eval mode, so that the running statistics are what is tested.
    assert (model(images).argmax(1) == labels).float().mean() > 0.9


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="cnn_small"):
        SmallModels().build("cnn_large", 10, 3)


def test_names_need_no_torch() -> None:
    code = (
        "import sys; from throughput.models.small import SmallModels\n"
        "assert SmallModels().names() == ('cnn_small',); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
