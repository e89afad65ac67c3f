"""AITraining Studio's engine: train language models from Python.

from engine import LLMTrainingParams, train

result = train(LLMTrainingParams(trainer="sft", model="starter", data_path="sample:sft"))
print(result.model_path, result.metrics)
"""

from engine.errors import StudioError
from engine.params import LLMTrainingParams
from engine.pipelines.python_api import TrainedPipeline, run_pipeline
from engine.python_api import TrainedModel, train

__all__ = ["LLMTrainingParams", "StudioError", "TrainedModel", "TrainedPipeline", "run_pipeline", "train"]
