import json
import os
import subprocess
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.pipes.client import PipesClientCompletedInvocation

from llm_assets.training.job import TrainingJob, TrainingResult
from llm_assets.training.launch import worker_command
from llm_assets.training.lora import ADAPTER_FILE
from llm_assets.training.reproduce import reproduce
from tests.training.conftest import MakeJob, rows_frame
