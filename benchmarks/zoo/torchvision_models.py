"""Models of torchvision: classification, segmentation, detection, video and optical flow."""

from __future__ import annotations

from functools import partial
from importlib import import_module

import torch
from torch import nn

from benchmarks.zoo.entry import Entry, entry

# Detectors keep few candidates, whatever they score: with random weights a threshold would leave nothing to compare.
_SINGLE_STAGE = {"score_thresh": 0.0, "topk_candidates": 20, "detections_per_img": 10}
_TWO_STAGE = {
    "rpn_pre_nms_top_n_test": 50,
    "rpn_post_nms_top_n_test": 10,
    "rpn_score_thresh": 0.0,
    "box_score_thresh": 0.0,
    "box_detections_per_img": 5,
}
_RESIZE = {"min_size": 96, "max_size": 96}


def _construct(path: str, **options) -> nn.Module:
    """Call the constructor at ``path`` below ``torchvision.models``."""
    import benchmarks.torchvision_ops  # noqa: F401  (first: it makes torchvision importable)

    module, name = f"torchvision.models.{path}".rsplit(".", 1)
    return getattr(import_module(module), name)(**options)


def _images(*size: int) -> tuple:
    """One batch of two images, or videos, of the given (channels, ..., height, width)."""
    return (torch.randn(2, *size),)


def _image_list(*size: int) -> tuple:
    """A list of two images, as detectors take them."""
    return ([torch.rand(size), torch.rand(size)],)


def _image_pair(*size: int) -> dict:
    """Two batches of images, as optical flow takes them; its recurrence is kept short, as float32 errors grow in it."""
    return {"image1": torch.rand(2, *size), "image2": torch.rand(2, *size), "num_flow_updates": 2}


def _rows(kind, size: tuple, table: dict[str, dict], **common) -> list[Entry]:
    """Make an entry of each ``name: options``; ``path`` among the options says where a constructor is."""
    return [
        entry(name, "torchvision", partial(_construct, **{"path": name, **common, **options}), partial(kind, *size))
        for name, options in table.items()
    ]


def _section(module: str, table: dict[str, dict]) -> dict[str, dict]:
    """Say that the constructors of ``table`` are in ``module``."""
    return {name: {"path": f"{module}.{name}", **options} for name, options in table.items()}


ENTRIES: list[Entry] = [
    *_rows(
        _images,
        (3, 64, 64),
        {
            "alexnet": {},
            "vgg11_bn": {"init_weights": False},
            "squeezenet1_1": {},
            "resnet18": {},
            "resnet50": {},
            "resnext50_32x4d": {},
            "wide_resnet50_2": {},
            "densenet121": {},
            "googlenet": {"aux_logits": False, "init_weights": False},
            "mobilenet_v2": {},
            "mobilenet_v3_small": {},
            "mobilenet_v3_large": {},
            "mnasnet0_5": {},
            "shufflenet_v2_x0_5": {},
            "efficientnet_b0": {},
            "efficientnet_v2_s": {},
            "regnet_x_400mf": {},
            "regnet_y_400mf": {},
            "convnext_tiny": {},
            "swin_t": {},
            "swin_v2_t": {},
            "vit_small": {
                "path": "vision_transformer.VisionTransformer",
                "image_size": 64,
                "patch_size": 16,
                "num_layers": 3,
                "num_heads": 4,
                "hidden_dim": 64,
                "mlp_dim": 128,
            },
            "maxvit_small": {
                "path": "maxvit.MaxVit",
                "input_size": (64, 64),
                "stem_channels": 16,
                "partition_size": 2,
                "block_channels": [16, 32, 64, 128],
                "block_layers": [1, 1, 2, 1],
                "head_dim": 16,
                "stochastic_depth_prob": 0.0,
            },
        },
        num_classes=10,
    ),
    *_rows(_images, (3, 96, 96), {"inception_v3": {"aux_logits": False, "init_weights": False}}, num_classes=10),
    *_rows(
        _images,
        (3, 64, 64),
        _section(
            "segmentation",
            {
                "fcn_resnet50": {"aux_loss": True},
                "deeplabv3_resnet50": {},
                "deeplabv3_mobilenet_v3_large": {},
                "lraspp_mobilenet_v3_large": {},
            },
        ),
        num_classes=5,
        weights_backbone=None,
    ),
    *_rows(
        _image_list,
        (3, 96, 96),
        _section(
            "detection",
            {
                "retinanet_resnet50_fpn": {**_SINGLE_STAGE, **_RESIZE},
                "fcos_resnet50_fpn": {**_SINGLE_STAGE, **_RESIZE},
                "ssd300_vgg16": _SINGLE_STAGE,
                "ssdlite320_mobilenet_v3_large": _SINGLE_STAGE,
                "fasterrcnn_mobilenet_v3_large_320_fpn": {**_TWO_STAGE, **_RESIZE},
                "fasterrcnn_resnet50_fpn": {**_TWO_STAGE, **_RESIZE},
                "maskrcnn_resnet50_fpn": {**_TWO_STAGE, **_RESIZE},
                "keypointrcnn_resnet50_fpn": {**_TWO_STAGE, **_RESIZE},
            },
        ),
        num_classes=5,
        weights_backbone=None,
    ),
    *_rows(
        _images,
        (3, 8, 32, 32),
        _section("video", {"r3d_18": {}, "r2plus1d_18": {}, "swin3d_t": {}}),
        num_classes=10,
    ),
    *_rows(_image_pair, (3, 128, 128), _section("optical_flow", {"raft_small": {}})),
]
