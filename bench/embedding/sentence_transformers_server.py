"""sentence-transformers behind FastAPI and uvicorn, as one writes it in an afternoon.

    PYTHON sentence_transformers_server.py FOLDER PORT THREADS embedding|rerank torch|onnx

`POST /embeddings` as OpenAI's, its vectors lists of numbers; `POST /rerank` as
Jina's, by a CrossEncoder. With `onnx` it is the export of quantize.py that runs. The model runs on one thread of its own: in FastAPI's pool each thread would bring another set of
OpenMP's, which takes six times the CPU time.
"""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import CrossEncoder, SentenceTransformer

folder, port, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
exported = {"provider": "CPUExecutionProvider", "file_name": "onnx/model_quantized.onnx"}
options = {"backend": "onnx", "model_kwargs": exported} if sys.argv[5] == "onnx" else {}
model = (CrossEncoder if sys.argv[4] == "rerank" else SentenceTransformer)(folder, device="cpu", **options)
app = FastAPI()
encoder = ThreadPoolExecutor(max_workers=1)


class Request(BaseModel):
    model: str
    input: str | list[str]


class RerankRequest(BaseModel):
    model: str
    query: str
    documents: list[str]


def encode(texts):
    torch.set_num_threads(threads)
    return model.encode(texts, show_progress_bar=False)


def predict(pairs):
    torch.set_num_threads(threads)
    return model.predict(pairs, show_progress_bar=False)


@app.get("/health")
def health():
    return {}


@app.post("/embeddings")
async def embeddings(request: Request):
    texts = [request.input] if isinstance(request.input, str) else request.input
    vectors = await asyncio.get_running_loop().run_in_executor(encoder, encode, texts)
    data = [{"object": "embedding", "index": index, "embedding": vector.tolist()} for index, vector in enumerate(vectors)]
    return {"object": "list", "model": request.model, "data": data}


@app.post("/rerank")
async def rerank(request: RerankRequest):
    pairs = [(request.query, document) for document in request.documents]
    scores = await asyncio.get_running_loop().run_in_executor(encoder, predict, pairs)
    results = [{"index": index, "relevance_score": float(score)} for index, score in enumerate(scores)]
    return {"model": request.model, "results": sorted(results, key=lambda result: -result["relevance_score"])}


uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)
