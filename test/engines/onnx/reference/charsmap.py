"""Writes test/tokenizers/fixtures/charsmap.json: a small table of characters as
SentencePiece compiles it, and what tokenizers makes of texts with it.

    pip install tokenizers==0.23.3 sentencepiece==0.2.3 protobuf==7.36.2
    python test/engines/onnx/reference/charsmap.py

The table that models have (nmt_nfkc) has 300 kB. To compare with that one, give
`--rule nmt_nfkc` and a path to write to.
"""

import argparse
import base64
import json
import tempfile
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import normalizers

ROOT = Path(__file__).resolve().parents[4]
# From, to: as SentencePiece's data/nmt_nfkc.tsv has them.
RULES = {
    "\u0007": "", "\t": " ", "\n": " ", "\r": " ", "\u00a0": " ", "\u200b": " ", "\u3000": " ", "\ufeff": "",
    "Ａ": "A", "ｂ": "b", "ﬁ": "fi", "½": "1⁄2", "…": "...", "e\u0301": "é", "a\u0308": "ä", "か\u3099": "が",
    "\u0340": "\u0300", "\u1112\u1161\u11ab": "한", "㌔": "キロ", "𝒜": "A", "🄰": "A",
}
TEXTS = [
    "", "plain text", "tab\tnew\nline\r\nboth\r", "ring \u0007 bell", "no\u00a0break\u3000wide\u200bzero", "ＡＢｂ ﬁx ½…",
    "e\u0301e\u0301 xe\u0301x e\u0302 é", "na\u0308ive a\u0308\u0301", "か\u3099か か\u3099\u3099", "\u1112\u1161\u11ab\u1112\u1161 한",
    "👩‍👩‍👧‍👦 family", "e" + "\u0301" * 40, "🇳🇴🇩🇪", "㌔𝒜🄰𝒜", "Ａ\u0301 ﬁ\u0301 x\ufeff", "\u0600Ａ1 \u0600x", "nul\u0000Ａ", "a\u0340",
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rule")
    parser.add_argument("--out", type=Path, default=ROOT / "test/tokenizers/fixtures/charsmap.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.tsv"
        codes = lambda text: " ".join(f"{ord(character):X}" for character in text)
        rules.write_text("".join(f"{codes(a)}\t{codes(b)}\n" for a, b in RULES.items()))
        corpus = Path(folder) / "corpus.txt"
        corpus.write_text("a few words are enough for a model that nobody needs\n" * 10)
        rule = {"normalization_rule_name": given.rule} if given.rule else {"normalization_rule_tsv": str(rules)}
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus), model_prefix=f"{folder}/model", vocab_size=30, hard_vocab_limit=False, minloglevel=2, **rule
        )
        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString(Path(f"{folder}/model.model").read_bytes())
    charsmap = model.normalizer_spec.precompiled_charsmap
    normalizer = normalizers.Precompiled(charsmap)
    texts = TEXTS
    if given.rule:
        texts = TEXTS + [f"a{chr(code)}b" for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000]
        texts += json.loads((ROOT / "test/engines/onnx/fixtures/texts.json").read_text())
    cases = [[text, normalizer.normalize_str(text)] for text in texts]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({"charsmap": base64.b64encode(charsmap).decode(), "cases": cases}) + "\n")


main()
