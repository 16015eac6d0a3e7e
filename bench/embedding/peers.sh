#!/bin/sh
# Installs what `npm run bench -- embedding` measures against, in two Python 3.11
# environments outside the repository, and writes the models. Some 12 GB.
#
#   sh bench/embedding/peers.sh FOLDER
#
# infinity-emb needs releases of sentence-transformers and transformers that are
# years older, so each has an environment of its own; both have the same PyTorch.
set -eu
folder=${1:?usage: peers.sh FOLDER}
here=$(dirname "$0")
mkdir -p "$folder"
python3 -m venv "$folder/sentence-transformers"
"$folder/sentence-transformers/bin/pip" install torch==2.15.0 sentence-transformers==6.2.0 transformers==5.23.0 \
  fastapi==0.165.0 'uvicorn[standard]==0.54.0'
python3 -m venv "$folder/infinity"
"$folder/infinity/bin/pip" install 'infinity-emb[server,torch,optimum]==0.0.78' torch==2.15.0 \
  sentence-transformers==3.4.1 transformers==4.48.3 optimum==1.24.0 datasets==3.2.0 pyarrow==18.1.0 onnxscript==0.7.2
# With the older releases, whose files the newer ones read too.
"$folder/infinity/bin/python" "$here/make-models.py" "$folder/models"
"$folder/infinity/bin/python" "$here/quantize.py" "$folder/models/minilm" "$folder/models/minilm-int8"
