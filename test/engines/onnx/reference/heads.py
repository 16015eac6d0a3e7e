"""
Makes the heads of bge-m3 for the checkpoint of XLM-RoBERTa that make.py has
made, and what they make of the texts: weights of tokens, and a vector of each.

    python test/engines/onnx/reference/heads.py     # after make.py

The computation is FlagEmbedding's (BGEM3Model, `_process_token_weights` and
`_process_colbert_vecs`), with torch and transformers alone.
"""
import base64
import json
import shutil

import torch
from make import CONTEXT, HIDDEN, OUT, randomize
from safetensors.torch import save_file
from transformers import AutoModel, AutoTokenizer

ENCODER = OUT / "xlm-roberta"
TOKEN_WIDTH = 8
STEP = 4


def weights_of(ids, weights, unused):
    """The largest weight of each token, where it is above 0."""
    result = {}
    for token, weight in zip(ids, weights):
        if token not in unused and weight > result.get(token, 0):
            result[token] = weight
    return sorted(result.items())


def main():
    torch.set_num_threads(1)
    folder = OUT / "heads"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "pt").mkdir(parents=True)
    (folder / "safetensors").mkdir()
    sparse = torch.nn.Linear(HIDDEN, 1)
    colbert = torch.nn.Linear(HIDDEN, TOKEN_WIDTH)
    randomize(sparse, 31)
    randomize(colbert, 32)
    for name, layer in (("sparse_linear", sparse.half()), ("colbert_linear", colbert.half())):
        torch.save(layer.state_dict(), folder / "pt" / f"{name}.pt")
        save_file(layer.state_dict(), folder / "safetensors" / f"{name}.safetensors")
    sparse.float(), colbert.float()

    tokenizer = AutoTokenizer.from_pretrained(ENCODER)
    encoder = AutoModel.from_pretrained(ENCODER, dtype=torch.float32, add_pooling_layer=False).eval()
    unused = {tokenizer.cls_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id}
    references = []
    for text in json.loads((OUT / "texts.json").read_text())[::STEP]:
        batch = tokenizer(text, return_tensors="pt", truncation=True, max_length=CONTEXT)
        with torch.no_grad():
            hidden = encoder(**batch).last_hidden_state[0]
            weights = torch.relu(sparse(hidden)).squeeze(-1)
            vectors = torch.nn.functional.normalize(colbert(hidden[1:]), dim=-1)
        found = weights_of(batch["input_ids"][0].tolist(), weights.tolist(), unused)
        references.append({
            "sparse": [[token, round(weight, 6)] for token, weight in found],
            "multivector": base64.b64encode(vectors.numpy().astype("<f4").tobytes()).decode(),
        })
    reference = {"step": STEP, "width": TOKEN_WIDTH, "texts": references}
    (folder / "reference.json").write_text(json.dumps(reference) + "\n")


if __name__ == "__main__":
    main()
