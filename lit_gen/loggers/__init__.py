"""Where figures, pictures and configs go."""

from lit_gen.loggers.metrics_csv import MetricsCSV
from lit_gen.loggers.wandb import WandbRun
