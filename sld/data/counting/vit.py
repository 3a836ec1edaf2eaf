"""Vision transformers: an image is a sequence of patches and one more token (arXiv:2010.11929, section 3.1)."""

from __future__ import annotations

from sld.core.errors import DataError
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally


def vit(config: Config) -> Model:
    """Count ViT: the classifier, or the bare model with its pooler."""
    width, layers = config.whole("hidden_size"), config.layers("num_hidden_layers")
    heads, tally = config.whole("num_attention_heads"), Tally()
    image, patch = config.whole("image_size", default=224), config.whole("patch_size", default=16)
    if image < patch:
        raise DataError(f"{config.where}: patches of {patch} pixels do not fit an image of {image}")
    patches = (image // patch) ** 2
    tally.table("class token", 1, width, lookup=False)
    tally.table("position embedding", patches + 1, width, lookup=False)
    pixels = config.whole("num_channels", default=3) * patch**2  # numbers of one patch
    tally.once("patch embedding", "layers", pixels, width, times=patches)
    tally.matrix("attention", width, width, times=3 * layers, bias=config.flag("qkv_bias", True))
    tally.matrix("attention", width, width, times=layers, bias=True)
    hidden = config.whole("intermediate_size")
    tally.matrix("MLP", width, hidden, times=layers, bias=True)
    tally.matrix("MLP", hidden, width, times=layers, bias=True)
    tally.norm("norms", width, times=2 * layers + 1, bias=True)
    tally.attend(layers, heads, config.shared_out(width, heads))
    _end(tally, config, width)
    return tally.model(fixed_length=patches + 1, unit="patch (the class token is one more)")


def _end(tally: Tally, config: Config, width: int) -> None:
    name = config.architecture or "ViTForImageClassification"
    if name == "ViTForImageClassification":
        tally.once("classifier", "head", width, config.labels())
    elif name == "ViTModel":
        tally.once("pooler", "layers", width, config.whole("pooler_output_size", default=width))
    else:
        known = "ViTForImageClassification and ViTModel"
        raise DataError(f"{config.where}: {name!r} has a head that is not counted; known are {known}")
