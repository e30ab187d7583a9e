"""Models of timm: mostly the smallest member of each family, at the smallest image it takes."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from benchmarks.zoo.entry import Entry, entry


def _construct(name: str, options: dict) -> nn.Module:
    """Create the timm model with random weights."""
    import benchmarks.torchvision_ops  # noqa: F401, I001  (first: timm imports torchvision)
    import timm

    return timm.create_model(name, pretrained=False, num_classes=10, **options)


def _images(size: int) -> tuple:
    """One batch of two square images."""
    return (torch.randn(2, 3, size, size),)


# (image size, options); a model whose grid is fixed when it is built is told the size as well.
_CONVOLUTIONAL = {
    "resnet10t": (64, {}),
    "ecaresnet26t": (64, {}),
    "resnet50_gn": (64, {}),
    "skresnet18": (64, {}),
    "res2net50_14w_8s": (64, {}),
    "resnest14d": (64, {}),
    "rexnet_100": (64, {}),
    "convnext_atto": (64, {}),
    "convnextv2_atto": (64, {}),
    "inception_next_atto": (64, {}),
    "ghostnet_050": (64, {}),
    "hrnet_w18_small": (64, {}),
    "nf_resnet26": (64, {}),
    "dm_nfnet_f0": (64, {}),
    "dla46_c": (64, {}),
    "dpn48b": (64, {}),
    "ese_vovnet19b_slim": (64, {}),
    "selecsls42b": (64, {}),
    "repvgg_a0": (64, {}),
    "mobileone_s0": (64, {}),
    "tinynet_e": (64, {}),
    "mnasnet_small": (64, {}),
    "mixnet_s": (64, {}),
    "mobilenetv4_conv_small": (64, {}),
    "darknet17": (64, {}),
    "cspresnet50": (64, {}),
    "convmixer_768_32": (64, {}),
    "mambaout_femto": (64, {}),
}
_ATTENTION = {
    "vit_tiny_patch16_224": (64, {"img_size": 64}),
    "deit_tiny_distilled_patch16_224": (64, {"img_size": 64}),
    "beit_base_patch16_224": (64, {"img_size": 64, "depth": 3, "embed_dim": 192, "num_heads": 3}),
    "eva02_tiny_patch14_224": (56, {"img_size": 56}),
    "swin_tiny_patch4_window7_224": (64, {"img_size": 64, "window_size": 4}),
    "swinv2_tiny_window8_256": (64, {"img_size": 64, "window_size": 4}),
    "levit_128s": (64, {"img_size": 64}),
    "coat_tiny": (64, {"img_size": 64}),
    "cait_xxs24_224": (64, {"img_size": 64}),
    "xcit_nano_12_p16_224": (64, {"img_size": 64}),
    "hiera_tiny_224": (64, {"img_size": 64}),
    "fastvit_t8": (64, {}),
    "mobilevit_xxs": (64, {}),
    "mobilevitv2_050": (64, {}),
    "efficientvit_b0": (64, {}),
    "efficientvit_m0": (128, {"img_size": 128}),
    "edgenext_xx_small": (64, {}),
    "focalnet_tiny_srf": (64, {}),
    "caformer_s18": (64, {}),
    "poolformer_s12": (64, {}),
    "pit_ti_224": (64, {"img_size": 64}),
    "twins_svt_small": (64, {"img_size": 64}),
    "crossvit_tiny_240": (120, {"img_size": 120}),
    "davit_tiny": (64, {}),
    "gcvit_xxtiny": (64, {"img_size": 64}),
    "tnt_s_patch16_224": (64, {"img_size": 64}),
    "volo_d1_224": (64, {"img_size": 64}),
    "pvt_v2_b0": (64, {}),
    "mvitv2_tiny": (64, {"img_size": 64}),
    "convit_tiny": (64, {"img_size": 64}),
    "tiny_vit_5m_224": (224, {}),
    "coatnet_pico_rw_224": (64, {"img_size": 64}),
    "lambda_resnet26t": (64, {}),
    "botnet26t_256": (256, {}),
}
_MIXING = {
    "mixer_s32_224": (64, {"img_size": 64}),
    "gmlp_ti16_224": (64, {"img_size": 64}),
    "resmlp_12_224": (64, {"img_size": 64}),
    "sequencer2d_s": (64, {"img_size": 64}),
}

ENTRIES: list[Entry] = [
    entry(name, "timm", partial(_construct, name, options), partial(_images, size))
    for name, (size, options) in {**_CONVOLUTIONAL, **_ATTENTION, **_MIXING}.items()
]
