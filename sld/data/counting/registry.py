"""Which family counts which `model_type`: one row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sld.core.errors import DataError, suggest
from sld.data.counting.bert import bert, distilbert, roberta
from sld.data.counting.bloom import bloom
from sld.data.counting.cohere import cohere
from sld.data.counting.config import Config
from sld.data.counting.deepseek import deepseek_v2, deepseek_v3
from sld.data.counting.falcon import falcon
from sld.data.counting.gemma import gemma, gemma2, gemma3
from sld.data.counting.glm import glm4_moe
from sld.data.counting.gpt2 import gpt2
from sld.data.counting.gpt_neox import gpt_neox
from sld.data.counting.gpt_oss import gpt_oss
from sld.data.counting.gptj import gpt_neo, gptj
from sld.data.counting.llama import granite, llama, mistral, phi3, smollm3
from sld.data.counting.mamba import mamba
from sld.data.counting.mixtral import mixtral
from sld.data.counting.olmo import olmo, olmo2, olmo3, olmoe
from sld.data.counting.opt import opt
from sld.data.counting.parts import Model
from sld.data.counting.phi import phi
from sld.data.counting.qwen import qwen2, qwen2_moe, qwen3, qwen3_moe
from sld.data.counting.stablelm import stablelm
from sld.data.counting.starcoder import gpt_bigcode, starcoder2
from sld.data.counting.t5 import mt5, t5
from sld.data.counting.vit import vit

FAMILIES: Mapping[str, Callable[[Config], Model]] = {
    "bert": bert,
    "bloom": bloom,
    "cohere": cohere,
    "deepseek_v2": deepseek_v2,
    "deepseek_v3": deepseek_v3,
    "distilbert": distilbert,
    "falcon": falcon,
    "gemma": gemma,
    "gemma2": gemma2,
    "gemma3_text": gemma3,
    "glm4_moe": glm4_moe,
    "gpt2": gpt2,
    "gpt_bigcode": gpt_bigcode,
    "gpt_neo": gpt_neo,
    "gpt_neox": gpt_neox,
    "gpt_oss": gpt_oss,
    "gptj": gptj,
    "granite": granite,
    "llama": llama,
    "mamba": mamba,
    "mistral": mistral,
    "mixtral": mixtral,
    "mt5": mt5,
    "olmo": olmo,
    "olmo2": olmo2,
    "olmo3": olmo3,
    "olmoe": olmoe,
    "opt": opt,
    "phi": phi,
    "phi3": phi3,
    "qwen2": qwen2,
    "qwen2_moe": qwen2_moe,
    "qwen3": qwen3,
    "qwen3_moe": qwen3_moe,
    "roberta": roberta,
    "smollm3": smollm3,
    "stablelm": stablelm,
    "starcoder2": starcoder2,
    "t5": t5,
    "vit": vit,
}
_TEXT = "text_config"  # where a model of several senses keeps the sizes of its language model


def described(config: Config, *, approximate: bool = False) -> tuple[Model, tuple[str, ...]]:
    """Return what the family of a configuration says of it, and what is only approximate, in sentences.

    Args:
        config: The configuration.
        approximate: Count a family that is not known as a Llama of the same sizes, and of a model of several senses
            the text model alone.

    Raises:
        DataError: The family is not known, or a key is missing or odd.
    """
    kind = config.model_type
    if kind in FAMILIES:
        return FAMILIES[kind](config), ()
    if config.has(_TEXT):
        inner = config.part(_TEXT)
        if not approximate:
            way_out = f"--approximate counts the text model ({inner.model_type or 'unnamed'}) alone"
            raise DataError(f"{config.where}: {kind!r} has more than a text model, and only that is counted; {way_out}")
        model, notes = described(inner, approximate=True)
        return model, (f"only the text model of {kind!r} is counted", *notes)
    if approximate:
        what = f"{kind!r} is not known" if kind else "the configuration names no 'model_type'"
        return llama(config), (f"{what}: counted as a Llama of the same sizes, which is a guess",)
    way_out = "--approximate counts it as a Llama of the same sizes"
    if not kind:
        raise DataError(f"{config.where} names no 'model_type', so the model is not known; {way_out}")
    raise DataError(f"{config.where}: {suggest(kind, FAMILIES, kind='rule to count model_type', listing=way_out)}")
