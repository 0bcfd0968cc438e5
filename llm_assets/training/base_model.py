"""The base model as training needs it: dequantized weights and the tokenizer in one folder."""

import os
import shutil
import tempfile
from pathlib import Path

from llm_assets.base_model import BaseModelFile
from llm_assets.errors import UserError


def prepare_hf(base: BaseModelFile, cache: Path) -> Path:
    """Return a Hugging Face directory of a base model in float32, made on the first call.

    Making it costs about 25 CPU seconds and four bytes a weight on disk for a model of 135 million
    weights. It is made aside and renamed, so a process that is killed leaves no half-made folder
    behind, and two processes that make it at once both end with a whole one.

    Args:
        base: the GGUF file.
        cache: the folder of all prepared base models; each has a subfolder named by its hash.

    Raises:
        UserError: the file is no GGUF, or its architecture is not known to transformers.
    """
    folder = cache / base.sha256[:12] / "hf"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".hf."))
    try:
        _dequantize(base.path, temporary)
        temporary.chmod(0o755)
        try:
            temporary.replace(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster, with the same result
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _dequantize(source: Path, folder: Path) -> None:
    with source.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise UserError(f"base_model.file: {source} is not a GGUF file")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    try:
        tokenizer = AutoTokenizer.from_pretrained(**place)
        model = AutoModelForCausalLM.from_pretrained(
            **place, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
    except (ValueError, NotImplementedError, KeyError) as error:
        raise UserError(f"base_model.file: {source}: {error}") from error
    model.config.name_or_path = source.name  # not where it lies on this machine
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
