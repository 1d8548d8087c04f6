"""Batches of ever other shapes do not make the model on the CPU grow."""

import openvino as ov

from shared.encoders.registry import load_backend
from shared.settings import Embedding


def test_the_model_is_told_to_keep_few_shapes(monkeypatch):
    told = {}
    compile_model = ov.Core.compile_model

    def listening(core, graph, device, settings):
        told.update(settings)
        return compile_model(core, graph, device, settings)

    monkeypatch.setattr(ov.Core, "compile_model", listening)
    vectors = load_backend(Embedding()).run([[101, 2000, 102]])

    assert vectors.shape == (1, 384)
    assert 0 < told["CPU_RUNTIME_CACHE_CAPACITY"] <= 64
