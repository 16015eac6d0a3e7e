"""Makes the model from nothing: tokenizer, training, GGUF, fixture. `python make.py [STEPS]`."""

import sys
from pathlib import Path

import export
import fixture
import train
import train_tokenizer

HERE = Path(__file__).parent
BUILD = HERE / "build"
MODEL = HERE.parent.parent / "models" / "tiny-chat" / "tiny-chat-q8_0.gguf"
STEPS = 3300

if __name__ == "__main__":
    train_tokenizer.write(BUILD)
    train.train(BUILD, int(sys.argv[1]) if len(sys.argv) > 1 else STEPS)
    export.export(BUILD, MODEL)
    fixture.write(BUILD, HERE / "fixtures" / "pytorch.json")
