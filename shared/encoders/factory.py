"""Temporary."""
import asyncio, hashlib
import numpy as np
from shared.encoders.models import MINILM, fingerprint
from shared.encoders.files import packaged_folder
from shared.encoders.tokens import ModelTokenizer
from shared.encoders import quantise

def describe(settings):
    if settings.model.startswith("fake-"):
        return settings.model, int(settings.model[5:])
    return fingerprint(MINILM, settings.numeric, quantise.digest(quantise.packaged()) if settings.numeric == "int8" else ""), 384

def load_tokenizer(settings):
    return ModelTokenizer(packaged_folder() / "tokenizer.json", window=256)

class _Fake:
    def __init__(self, s): self.fingerprint, self.dimensions = describe(s)
    async def encode(self, texts, *, alone=False):
        out = np.zeros((len(texts), self.dimensions), np.float32)
        for i, t in enumerate(texts):
            out[i, 0] = .1
            for w in t.lower().split():
                out[i, int.from_bytes(hashlib.sha256(w.encode()).digest()[:4]) % self.dimensions] += 1
        return out / np.linalg.norm(out, axis=1, keepdims=True)

class _Real:
    def __init__(self, s):
        from shared.encoders.openvino import OpenVinoEncoder
        self.b = OpenVinoEncoder(packaged_folder(), numeric=s.numeric)
        self.fingerprint, self.dimensions = self.b.fingerprint, 384
        self.lock = asyncio.Lock()
    def _do(self, texts):
        toks = self.b.tokenize(texts)
        order = sorted(range(len(toks)), key=lambda i: -len(toks[i]))
        out = np.zeros((len(toks), 384), np.float32)
        for k in range(0, len(order), 16):
            some = order[k:k+16]
            out[some] = self.b.run([toks[i] for i in some])
        return out
    async def encode(self, texts, *, alone=False):
        async with self.lock:
            return await asyncio.to_thread(self._do, list(texts))

async def load_encoder(settings, stack=None):
    if settings.model.startswith("fake-"): return _Fake(settings)
    return await asyncio.to_thread(_Real, settings)
