"""AITraining Studio's engine: train language models from Python.

from engine import LLMTrainingParams, train

params = LLMTrainingParams(trainer="sft", model="starter", data_path="sample:neighbours")
result = train(params)
print(result.model_path, result.metrics)

run = start(params)         # does not wait; run.status, run.metrics() (a pandas DataFrame), run.stop(), run.wait()
found = run_sweep(params, {"lr": [1e-4, 3e-4]})  # several values, each a run; found.table() is a DataFrame, found.best a model
run.export("elsewhere")     # the run as a program of plain TRL, transformers and peft, and as YAML
"""

from engine.errors import StudioError
from engine.params import LLMTrainingParams
from engine.pipelines.python_api import TrainedPipeline, run_pipeline
from engine.python_api import Run, TrainedModel, start, train
from engine.sweeps.python_api import SweepRuns, run_sweep, start_sweep

__all__ = [
    "LLMTrainingParams",
    "Run",
    "StudioError",
    "SweepRuns",
    "TrainedModel",
    "TrainedPipeline",
    "run_pipeline",
    "run_sweep",
    "start",
    "start_sweep",
    "train",
]
