"""AITraining Studio's engine: train language models from Python.

from engine import LLMTrainingParams, train

params = LLMTrainingParams(trainer="sft", model="starter", data_path="sample:neighbours")
result = train(params)
print(result.model_path, result.metrics)

run = start(params)         # does not wait; run.status, run.metrics() (a pandas DataFrame), run.stop(), run.wait()
run.export("elsewhere")     # the run as a program of plain TRL, transformers and peft, and as YAML
"""

from engine.errors import StudioError
from engine.params import LLMTrainingParams
from engine.pipelines.python_api import TrainedPipeline, run_pipeline
from engine.python_api import Run, TrainedModel, start, train

__all__ = ["LLMTrainingParams", "Run", "StudioError", "TrainedModel", "TrainedPipeline", "run_pipeline", "start", "train"]
