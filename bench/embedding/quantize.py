"""Writes a checkpoint's int8 export, as sentence-transformers and infinity-emb run it.

    PYTHON quantize.py FOLDER OUT

Dynamic quantization for AVX-512 VNNI by `export_dynamic_quantized_onnx_model`,
as sentence-transformers' documentation has it for CPUs, into
`OUT/onnx/model_quantized.onnx`, the name that infinity-emb looks for.
"""

import functools
import sys
from pathlib import Path

import torch

# Optimum knows the older of PyTorch's two exporters.
torch.onnx.export = functools.partial(torch.onnx.export, dynamo=False)

from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

folder, out = sys.argv[1], Path(sys.argv[2])
if not (out / "onnx" / "model_quantized.onnx").exists():
    model = SentenceTransformer(
        folder, backend="onnx", device="cpu", model_kwargs={"provider": "CPUExecutionProvider", "export": True}
    )
    model.save_pretrained(str(out))
    export_dynamic_quantized_onnx_model(model, "avx512_vnni", str(out), file_suffix="quantized")
    print(out)
