"""Exports checkpoints that make.py has made as `.onnx` files.

From the root of the repository, in an environment as make.py wants it, with
onnx 1.23.2 besides:

    python test/engines/onnx/reference/export.py [NAME...]

It writes test/engines/onnx/fixtures/exports/NAME/, with names those only. The vectors that have to come
out are those of the checkpoint's own reference.json, layout `mean`; of a reranker
the scores.
"""

import shutil
import sys
from pathlib import Path

import onnx
import torch
from transformers import AutoModel, AutoModelForSequenceClassification

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
OUT = FIXTURES / "exports"


class Bert(torch.nn.Module):
    """All inputs that there are."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids, position_ids):
        return self.model(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids, position_ids=position_ids
        ).last_hidden_state


class XlmRoberta(torch.nn.Module):
    """The two inputs that all have, as 32-bit integers."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


class MPNet(torch.nn.Module):
    """With its pooling: only the vector comes out."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * mask).sum(1) / mask.sum(1)


class Reranker(torch.nn.Module):
    """A classifier with the inputs that Optimum gives it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).logits


def export(name, module, output, dtype=torch.int64, of=AutoModel, weights=torch.float32, to=None):
    model = of.from_pretrained(FIXTURES / name, dtype=weights, attn_implementation="eager").eval()
    wrapped = module(model).eval()
    code = module.forward.__code__
    names = list(code.co_varnames[1 : code.co_argcount])
    # Two rows of different lengths: what stays the same would become a constant.
    samples = {
        "input_ids": torch.tensor([[2, 7, 9, 3, 1], [2, 8, 11, 12, 3]], dtype=dtype),
        "attention_mask": torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]], dtype=dtype),
        "token_type_ids": torch.zeros(2, 5, dtype=dtype),
        "position_ids": torch.arange(5, dtype=dtype).repeat(2, 1),
    }
    axes = {key: {0: "batch_size", 1: "sequence_length"} for key in (*names, output)}
    if output in ("sentence_embedding", "logits"):
        axes[output] = {0: "batch_size"}
    folder = OUT / (to or name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    torch.onnx.export(
        wrapped, tuple(samples[key] for key in names), str(folder / "model.onnx"), input_names=names,
        output_names=[output], dynamic_axes=axes, opset_version=17, dynamo=False,
    )
    return folder / "model.onnx"


def xlm_roberta():
    path = export("xlm-roberta", XlmRoberta, "token_embeddings", torch.int32)
    onnx.save(
        onnx.load(path), path, save_as_external_data=True, all_tensors_to_one_file=True, location="model.onnx_data",
        size_threshold=256,
    )


EXPORTS = {
    "bert": lambda: export("bert", Bert, "last_hidden_state"),
    "xlm-roberta": xlm_roberta,
    "mpnet": lambda: export("mpnet", MPNet, "sentence_embedding"),
    "rerankers/bert": lambda: export("rerankers/bert", Reranker, "logits", of=AutoModelForSequenceClassification),
    # Weights and outputs of float16, as Optimum's --dtype fp16 has them.
    "bert-float16": lambda: export("bert", Bert, "last_hidden_state", weights=torch.float16, to="bert-float16"),
    "rerankers/bert-float16": lambda: export(
        "rerankers/bert", Reranker, "logits", of=AutoModelForSequenceClassification, weights=torch.float16,
        to="rerankers/bert-float16",
    ),
}

for name in sys.argv[1:] or EXPORTS:
    EXPORTS[name]()
