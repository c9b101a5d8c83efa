"""What computing a model's answers yields: by which means, and how far they are those of the model in torch.

Without torch and without onnxruntime.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Engine = Literal["torch", "torch.compile", "onnxruntime"]


@dataclass(frozen=True)
class Runtime:
    """What computed the answers.

    engine: what ran the model. precision: of its weights and of what is computed: fp32, fp16, bf16,
    int8-dynamic or int8-static. provider: of onnxruntime, the one that really ran; None of torch.
    chosen: why that one, in words; None where it was asked for. threads: that one operation may use on a CPU.
    nodes: of the graph as the session took it; fallback_nodes: those of them that another provider took, the
    CPU as a rule; None where they could not be counted. file, bytes: the model's, None of torch.
    host_images_per_second: on a GPU, of batches that lie in the host's memory, with both transfers, one after
    the other, the median of several in the last round; the rate of the phase ``model`` is without them. None
    elsewhere: there is no transfer.
    """

    engine: Engine
    precision: str
    provider: str | None = None
    chosen: str | None = None
    threads: int | None = None
    nodes: int | None = None
    fallback_nodes: int | None = None
    file: str | None = None
    bytes: int | None = None
    host_images_per_second: float | None = None

    @property
    def words(self) -> str:
        """By what means, and where, in one line."""
        told = f"{self.engine}, {self.precision}"
        if self.provider is not None:
            told += f", ran on {self.provider}" + (f" ({self.chosen})" if self.chosen else "")
        if self.threads is not None and self.provider in (None, "cpu"):
            told += f", {self.threads} thread" + ("s" if self.threads > 1 else "")
        if self.provider in (None, "cpu"):
            return told
        if self.fallback_nodes is None:
            return f"{told}; where its nodes ran could not be counted (onnxruntime 1.24 or newer tells)"
        if self.fallback_nodes:
            return f"{told}; {self.fallback_nodes} of {self.nodes} nodes FELL BACK to another provider"
        return f"{told}; all {self.nodes} nodes there"

    def to_json(self) -> dict[str, Any]:
        """The ``runtime`` of a row."""
        return asdict(self)


@dataclass(frozen=True)
class Parity:
    """Answers held against those of the same model elsewhere, in float32, for the same images.

    reference: where: torch, or a file. images: how many. largest, mean: absolute difference of logits.
    relative: the largest difference of an image's logits over the largest magnitude among the reference's for
    it, of the worst image; of numbers that are predicted, over the largest of all images. agreement: share of
    images whose likeliest class is the same, None where there are no classes. constant: whether
    the reference answers the same for every image, as a model does whose last layer begins with zeros: then
    equality shows little. accuracy, reference_accuracy: top-1 of the one and of the reference; None where
    labels are not classes or say nothing, as of a model that was not trained.
    """

    reference: str
    images: int
    largest: float
    mean: float
    relative: float
    agreement: float | None
    constant: bool = False
    accuracy: float | None = None
    reference_accuracy: float | None = None

    @property
    def words(self) -> str:
        """In one line."""
        told = (
            f"logits differ by {self.largest:.2g} at most ({self.relative:.1e} of the largest, "
            f"{self.mean:.1e} in the mean) over {self.images:,} images"
        )
        if self.agreement is not None:
            told += f", top-1 agrees on {100 * self.agreement:.2f} %"
        if self.accuracy is not None and self.reference_accuracy is not None:
            points = 100 * (self.accuracy - self.reference_accuracy)
            told = (
                f"top-1 {100 * self.accuracy:.2f} %, {self.reference}'s "
                f"{100 * self.reference_accuracy:.2f} %, {points:+.2f} points; {told}"
            )
        if self.constant:
            told += f"; {self.reference} answers the same for every image, so this shows little"
        return told

    def to_json(self) -> dict[str, Any]:
        """The ``parity`` of a row."""
        return asdict(self)
