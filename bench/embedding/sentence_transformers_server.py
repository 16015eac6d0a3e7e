"""sentence-transformers behind FastAPI and uvicorn, as one writes it in an afternoon.

    PYTHON sentence_transformers_server.py FOLDER PORT THREADS

`POST /embeddings` as OpenAI's, its vectors lists of numbers. One `encode` at a
time: several at once, which the pool of threads behind `def` would run, have no
more cores to run on.
"""

import sys
from threading import Lock

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

folder, port, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
model = SentenceTransformer(folder, device="cpu")
app = FastAPI()
turn = Lock()


class Request(BaseModel):
    model: str
    input: str | list[str]


@app.get("/health")
def health():
    return {}


@app.post("/embeddings")
def embeddings(request: Request):
    texts = [request.input] if isinstance(request.input, str) else request.input
    with turn:
        vectors = model.encode(texts, show_progress_bar=False)
    data = [{"object": "embedding", "index": index, "embedding": vector.tolist()} for index, vector in enumerate(vectors)]
    return {"object": "list", "model": request.model, "data": data}


uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)
